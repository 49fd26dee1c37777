"""The call that is going on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

__all__ = ["Context", "current"]


@dataclass(frozen=True)
class Context:
    """A call, as the hub describes it."""

    #: Unique in this hub; the same in its logs.
    call_id: str
    #: The tool, or the event of a hook.
    name: str
    #: When the call is stopped, on the clock of `time.monotonic`. `None` where the hub does not say.
    deadline: float | None = None
    #: What else the hub says.
    extras: dict[str, str] = field(default_factory=dict)

    @property
    def principal(self) -> str | None:
        """The name of the key that calls."""
        return self.extras.get("principal")

    def remaining(self) -> float | None:
        """Seconds until the call is stopped; never less than 0."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_current: Context | None = None


def current() -> Context:
    """The call that is going on. A `RuntimeError` outside one."""
    if _current is None:
        raise RuntimeError("there is no call: use the context only inside of a tool or a hook")
    return _current


def _set(value: Context | None) -> None:
    global _current
    _current = value
