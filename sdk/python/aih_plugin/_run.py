"""What happens around each call."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

from . import _loop, _wit, context, log


class call:  # noqa: N801
    """The frame of a call: the host may be asked, chance is fresh, `print` is on its way at the end.

    A class: a generator with a decorator runs more of Python, each object of which is one more page to copy in a sandbox
    that starts from a snapshot.
    """

    __slots__ = ("_context", "_left")

    def __init__(self, call_id: str, name: str, deadline_ms: int | None, extras: list[tuple[str, str]]) -> None:
        deadline = None if deadline_ms is None else time.monotonic() + deadline_ms / 1000
        self._context = context.Context(call_id, name, deadline, dict(extras))
        self._left: tuple[Any, Any] | None = None

    def __enter__(self) -> None:
        _fresh_chance()
        _wit.set_active(True)
        context._set(self._context)
        self._left = _loop.leave()

    def __exit__(self, *_: object) -> None:
        _loop.back(self._left)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: S110
                pass
        context._set(None)
        _wit.set_active(False)


def _fresh_chance() -> None:
    """The component is a snapshot of a process: without this every sandbox would draw the same numbers from it."""
    random.seed(int.from_bytes(os.urandom(32), "big"))
    # Names of temporary files, and the node of `uuid1`, come from generators and values of their own.
    tempfile._name_sequence = None  # type: ignore[attr-defined]
    uuid._node = None  # type: ignore[attr-defined]


def invoke(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Calls a function, sync or async."""
    result = function(*args, **kwargs)
    return _loop.run(_await(result)) if inspect.isawaitable(result) else result


async def _await(awaitable: Any) -> Any:
    return await awaitable


def describe(error: BaseException) -> str:
    """An exception in one line, for the model."""
    said = str(error).strip()
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def log_traceback(what: str, error: BaseException) -> None:
    """Writes the traceback to the operator's log, and never fails."""
    with contextlib.suppress(Exception):
        lines = traceback.format_exception(error)
        log.error(f"{what}: {describe(error)}", traceback="".join(lines))
