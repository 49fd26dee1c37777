"""`asyncio` inside a component.

The loop of componentize-py knows no clock: `asyncio.sleep` fails in it. As every import of the contract is a plain
function, a tool needs no loop but one of its own, which is asyncio's with a clock and without sockets: tasks, sleep,
timeouts, queues, locks and task groups work, `to_thread` runs in place, and streams and subprocesses do not exist.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.tasks
import time
from collections.abc import Callable, Coroutine
from typing import Any


class Loop(asyncio.BaseEventLoop):
    """asyncio's own loop, which waits by sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def select(self, timeout: float | None) -> tuple[()]:
        """Waits for the next timer. Nothing else can wake the loop."""
        if timeout is None:
            raise RuntimeError("every task waits for another: nothing can go on")
        if timeout > 0:
            time.sleep(timeout)
        return ()

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Runs the function in place: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""


def leave() -> tuple[Any, Any] | None:
    """Leaves the loop that is running, so that another may run within: what `back` wants to know."""
    outer = asyncio.events._get_running_loop()
    if outer is None:
        return None
    task = asyncio.tasks.current_task(outer)
    if task is not None:
        asyncio.tasks._leave_task(outer, task)
    asyncio.events._set_running_loop(None)
    return outer, task


def back(left: tuple[Any, Any] | None) -> None:
    """Goes back to the loop that was left."""
    if left is None:
        return
    outer, task = left
    asyncio.events._set_running_loop(outer)
    if task is not None:
        asyncio.tasks._enter_task(outer, task)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end, and then ends what it left behind."""
    loop = Loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def install() -> None:
    """Makes `asyncio.run` in a tool use this loop. For the inside of a component only."""
    asyncio.events.new_event_loop = Loop
    asyncio.new_event_loop = Loop
