"""The SDK's last step of a build: what a call does is done some times before the component becomes a snapshot.

Python specialises code that has run, and fills caches of types and of dictionaries as it goes. What is in the snapshot
is there for every sandbox; what is not, every call would make anew, each write of it a page that the kernel has to copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from . import _wit

# Python specialises an instruction after a few runs; the rest is for what follows from it.
_TIMES = 20


def run(make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Runs a call to its end some times."""
    _wit.set_rehearsing(True)
    for _ in range(_TIMES):
        coroutine = make()
        # It ends at once, with StopIteration: no host is there to wait for. One that fails costs nothing but speed.
        with contextlib.suppress(Exception):
            coroutine.send(None)
        coroutine.close()
    _wit.set_rehearsing(False)
