"""The module that is given to componentize-py for the world `hook`."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

from . import _hook, _rehearsal, _run, _start, _wit  # noqa: F401
from ._errors import Denied, Unavailable
from ._values import dumps

try:
    from wit_world.exports import Hooks as _Base  # type: ignore[import-not-found]
    from wit_world.exports import hooks as _types
except ModuleNotFoundError:  # In tests.
    _Base, _types = object, _wit.types("hooks")

if not _hook.registry:
    raise RuntimeError('the hook runs on nothing: put @hook("tool.before"), or another event, above a function')


class Hooks(_Base):  # type: ignore[misc]
    """The exports of `aih:plugin/hooks`."""

    async def on_event(self, event: Any) -> Any:
        """Runs the functions that want the event, in order."""
        # The generated `Err` is a frozen dataclass: `contextlib` cannot carry it out, so it is raised at the very end.
        failed = ("Other", "the hook did not end")
        with _run.call(event.id, event.name, None, event.extras):
            try:
                return _run_all(event)
            except Denied as error:
                return _types.Outcome(_types.Decision_Deny(str(error)), None)
            except Unavailable as error:
                failed = ("Unavailable", str(error))
            except BaseException as error:
                _run.log_traceback(f"hook on {event.name}", error)
                failed = ("Other", _run.describe(error))
        raise _wit.failure(*failed)


def _run_all(event: Any) -> Any:
    extras = dict(event.extras)
    attempt = int(extras["attempt"]) if extras.get("attempt", "").isdigit() else 1
    payload = json.loads(event.payload_json or "null")
    decision: Any = _types.Decision_Proceed()
    answer: str | None = None
    for handler in _hook.registry:
        if not handler.wants(event.name):
            continue
        said = _run.invoke(handler.function, [_hook.Event(event.id, event.name, payload, attempt)], {})
        if isinstance(said, _hook.Result):
            answer, said = dumps(said.value), said.decision
        match said:
            case None:
                pass
            case _hook.Replace():
                text = dumps(said.value)
                payload, decision = json.loads(text), _types.Decision_Replace(text)
            case _hook.Deny():
                return _types.Outcome(_types.Decision_Deny(said.reason), answer)
            case _:
                raise TypeError(f"the hook `{getattr(handler.function, '__name__', '?')}` returned "
                                f"{type(said).__name__}; it may return None, Replace, Deny or Result")
    return _types.Outcome(decision, answer)


# An event as the hub sends them.
_REHEARSAL = json.dumps({
    "id": "e", "version": 1, "trigger": "tool.before", "at": "2026-01-01T00:00:00.000Z", "hub": "h", "principal": "p",
    "client": {"info": {"name": "c", "version": "1"}, "protocol": "2026-07-28", "era": "modern"}, "trail": [],
    "server": "s", "tool": "t", "arguments": {"text": "a"},
})


def _rehearse() -> None:
    answers = itertools.cycle([None, _hook.Result("t")])

    def rehearsal(event: _hook.Event) -> _hook.Result | None:
        return next(answers) if event.get("tool") else None

    def event() -> Any:
        return _types.Event("e", "rehearsal", _REHEARSAL, [("attempt", "1")])

    registered = _hook.registry[:]
    _hook.registry[:] = [_hook.Handler(("rehearsal",), rehearsal)]
    try:
        _rehearsal.run(Hooks(), "on_event", event)
    finally:
        _hook.registry[:] = registered


if sys.platform == "wasi":
    _rehearse()
