"""`@hook`: a function is run on events of the hub."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from typing import Union as _Union

__all__ = ["Decision", "Deny", "Event", "Replace", "Result", "hook"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Event:
    """What happened. `event["tool"]` is short for `event.payload["tool"]`."""

    id: str
    name: str
    payload: Any
    #: From 1; more when a background event is tried again.
    attempt: int = 1

    def __getitem__(self, key: str) -> Any:
        return self.payload[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A part of the payload, or `default` where it is not there."""
        return self.payload.get(key, default) if isinstance(self.payload, dict) else default


@dataclass(frozen=True)
class Replace:
    """Puts `value` in the place of what the event carries."""

    value: Any


@dataclass(frozen=True)
class Deny:
    """Stops what the event announces. The model sees the reason."""

    reason: str


@dataclass(frozen=True)
class Result:
    """Goes on, and answers `value` to whoever triggered the hook by hand."""

    value: Any
    decision: Replace | Deny | None = None


Decision: TypeAlias = _Union[None, Replace, Deny, Result]
"""What a hook may return. `None` goes on."""


@dataclass
class Handler:
    """A hook as it is registered."""

    patterns: tuple[str, ...]
    function: Callable[..., Any]

    def wants(self, name: str) -> bool:
        """Whether the event is one of its own."""
        if name in self.patterns or "*" in self.patterns:
            return True
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)


registry: list[Handler] = []


def hook(*triggers: str) -> Callable[[F], F]:
    """Runs a function, sync or async, on the named events; `tool.*` and `*` name several.

    The function takes an `Event`. Several hooks of one event run in the order in which they stand; what one
    replaces the next one sees, and the first `Deny` ends it.
    """
    if not triggers or not all(isinstance(trigger, str) for trigger in triggers):
        raise TypeError('@hook wants the names of events: @hook("tool.before")')

    def register(function: F) -> F:
        registry.append(Handler(triggers, function))
        return function

    return register
