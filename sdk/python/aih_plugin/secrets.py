"""Secrets that `grants.secrets` names. Keep them out of results and logs."""

from __future__ import annotations

from . import _wit
from ._errors import HostError, NotGranted, NotSet

__all__ = ["get"]


def get(name: str) -> str:
    """A secret's value. Raises `NotGranted`, `NotSet`, or `HostError` where its provider does not answer."""
    try:
        value: str = _wit.host("config").secret(name)
        return value
    except _wit.err_type() as error:
        case = getattr(getattr(error, "value", None), "name", "")
        if case == "NOT_GRANTED":
            raise NotGranted(f"the secret {name!r} is not granted; `grants.secrets` must name it") from None
        if case == "NOT_SET":
            raise NotSet(f"the secret {name!r} has no value") from None
        raise HostError(f"the secret {name!r} cannot be had now: its provider did not answer") from None
