"""Every error that this package raises, and those that a tool raises to say how it failed."""

from __future__ import annotations

__all__ = [
    "AihError", "Cancelled", "Conflict", "ConnectionFailed", "Denied", "DepthExceeded", "HostError",
    "InvalidArguments", "InvalidRequest", "NotFound", "NotGranted", "NotSet", "QuotaExceeded", "TimedOut",
    "TooLarge", "ToolError", "Unavailable", "Unsupported", "UpstreamError",
]


class AihError(Exception):
    """The base of all errors here."""


class ToolError(AihError):
    """The tool ran and what it was asked to do failed: the model sees the message as an error.

    For failures that are expected. Nothing is written to the log.
    """


class Denied(AihError):
    """The caller may not do this."""


class Unavailable(AihError):
    """Something that the tool needs does not answer now: trying again later may help."""


class InvalidArguments(AihError):
    """The arguments are wrong in a way that the type hints cannot say."""


class HostError(AihError):
    """The hub did not do what was asked of it. The subclasses say why."""


class NotGranted(HostError):
    """The operator's configuration does not grant this to the plugin."""


class NotSet(HostError):
    """The secret is granted and has no value."""


class NotFound(HostError):
    """There is no such server or tool."""


class InvalidRequest(HostError):
    """The request itself is wrong."""


class TimedOut(HostError):
    """There was no answer in time."""


class Cancelled(HostError):
    """The client gave up on the call."""


class Conflict(HostError):
    """Another call changed the key of the state first. `version` is the one that it has now."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class QuotaExceeded(HostError):
    """The value does not fit in what is granted."""


class TooLarge(HostError):
    """The response is larger than allowed. `limit` is in bytes."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ConnectionFailed(HostError):
    """The server of the address could not be reached."""


class Unsupported(HostError):
    """The client did not declare this capability, or there is no client."""


class DepthExceeded(HostError):
    """A plugin called a plugin called a plugin: too deep."""


class UpstreamError(HostError):
    """The other server answered with an error: its text."""
