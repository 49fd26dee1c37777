"""Plugins and hooks for the AI Infrastructure Hub in Python.

A plugin is a file with functions under `@tool`; the hub builds a WebAssembly component of it, and runs each call in
a sandbox of its own, which can do what the operator's configuration grants and nothing else.
"""

from __future__ import annotations

from . import client, config, context, http, log, mcp, progress, secrets, state
from ._content import Audio, Content, Image, Output, Resource, ResourceLink, Text
from ._errors import (
    AihError, Cancelled, Conflict, ConnectionFailed, Denied, DepthExceeded, HostError, InvalidArguments,
    InvalidRequest, NotFound, NotGranted, NotSet, QuotaExceeded, TimedOut, TooLarge, ToolError, Unavailable,
    Unsupported, UpstreamError,
)
from ._field import Field
from ._hook import Decision, Deny, Event, Replace, Result, hook
from ._tool import tool

__all__ = [
    "AihError", "Audio", "Cancelled", "Conflict", "ConnectionFailed", "Content", "Decision", "Denied", "Deny",
    "DepthExceeded", "Event", "Field", "HostError", "Image", "InvalidArguments", "InvalidRequest", "NotFound",
    "NotGranted", "NotSet", "Output", "QuotaExceeded", "Replace", "Resource", "ResourceLink", "Result", "Text",
    "TimedOut", "TooLarge", "ToolError", "Unavailable", "Unsupported", "UpstreamError", "client", "config", "context",
    "hook", "http", "log", "mcp", "progress", "secrets", "state", "tool",
]
__version__ = "1.0.0"
