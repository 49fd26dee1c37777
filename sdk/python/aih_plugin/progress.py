"""How far the call is, and whether anybody still waits for it."""

from __future__ import annotations

from . import _wit
from ._errors import Cancelled

__all__ = ["cancelled", "check", "report"]


def report(progress: float, total: float | None = None, message: str | None = None) -> None:
    """Tells the client, if it asked for progress. Reports that come too fast are merged."""
    _wit.host("progress").report(float(progress), None if total is None else float(total), message)


def cancelled() -> bool:
    """Whether the client gave up on the call."""
    gave_up: bool = _wit.host("progress").cancelled()
    return gave_up


def check() -> None:
    """Raises `Cancelled` where the client gave up. For loops that take long."""
    if cancelled():
        raise Cancelled("the client gave up on the call")
