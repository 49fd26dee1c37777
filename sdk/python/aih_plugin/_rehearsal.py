"""The SDK's last step of a build: what a call does is done some times before the component becomes a snapshot.

Python specialises code that has run, and fills caches of types and of dictionaries as it goes. What is in the snapshot
is there for every sandbox; what is not, every call would make anew, each write of it a page that the kernel has to copy.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from . import _wit

# Python specialises an instruction after a few runs; the rest is for what follows from it.
_TIMES = 20


def run(exports: Any, name: str, make: Callable[[], Any]) -> None:
    """Runs a call of the export `name` to its end some times, by the way on which the host's calls come in.

    `make` makes the argument. A call that fails costs nothing but speed.
    """
    engine = importlib.import_module("componentize_py_async_support")
    runtime = engine.componentize_py_runtime
    answer = runtime.call_task_return
    # No host is there to take the answer.
    runtime.call_task_return = lambda *_: None
    _wit.set_rehearsing(True)
    try:
        start = getattr(exports, f"_async_start_{name}")
        for _ in range(_TIMES):
            with contextlib.suppress(Exception):
                start(make(), 0)
    finally:
        _wit.set_rehearsing(False)
        runtime.call_task_return = answer
        engine._loop.exception = None
