"""The MCP servers behind the hub, and the other plugins."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import _wit
from ._errors import (
    Cancelled, DepthExceeded, HostError, InvalidRequest, NotFound, NotGranted, TimedOut, ToolError, UpstreamError,
)
from ._values import dumps

__all__ = ["CallResult", "call", "call_with", "list_tools"]

_KINDS: dict[str, type[HostError]] = {
    "NotGranted": NotGranted, "NotFound": NotFound, "InvalidArguments": InvalidRequest, "TimedOut": TimedOut,
    "Cancelled": Cancelled, "DepthExceeded": DepthExceeded, "Upstream": UpstreamError,
}


@dataclass(frozen=True)
class CallResult:
    """MCP's `CallToolResult`, unchanged in `raw`."""

    raw: dict[str, Any]

    @property
    def content(self) -> list[dict[str, Any]]:
        """The content blocks."""
        blocks: list[dict[str, Any]] = self.raw.get("content") or []
        return blocks

    @property
    def structured(self) -> Any:
        """`structuredContent`, or `None`."""
        return self.raw.get("structuredContent")

    @property
    def is_error(self) -> bool:
        """Whether the tool says that it failed."""
        return bool(self.raw.get("isError"))

    @property
    def text(self) -> str:
        """All texts, joined by line breaks."""
        return "\n".join(block.get("text", "") for block in self.content if block.get("type") == "text")

    @property
    def images(self) -> list[bytes]:
        """The data of all pictures."""
        return [base64.b64decode(block["data"]) for block in self.content if block.get("type") == "image"]

    def raise_for_error(self) -> CallResult:
        """Answers itself, or raises `ToolError` with the text where the tool failed."""
        if self.is_error:
            raise ToolError(self.text or "the tool failed and said no more")
        return self


def call(server: str, tool: str, /, **arguments: Any) -> CallResult:
    """Calls a tool of another server: `mcp.call("github", "get_issue", number=7)`."""
    return call_with(server, tool, arguments)


def call_with(server: str, tool: str, arguments: Mapping[str, Any]) -> CallResult:
    """Like `call`, for arguments whose names are not valid in Python.

    Raises `NotGranted`, `NotFound`, `InvalidRequest`, `TimedOut`, `Cancelled`, `DepthExceeded` or `UpstreamError`.
    A result that says that the tool failed is a result: see `CallResult.raise_for_error`.
    """
    host = _wit.host("mcp")
    try:
        return CallResult(json.loads(host.call_tool(server, tool, dumps(dict(arguments)))))
    except _wit.err_type() as error:
        result: CallResult = _wit.raise_host_error(f"mcp: {server}/{tool}", error, _KINDS)
        return result


def list_tools(server: str) -> list[dict[str, Any]]:
    """The tools of a server that may be called, as MCP lists them."""
    host = _wit.host("mcp")
    try:
        tools: list[dict[str, Any]] = json.loads(host.list_tools(server))
        return tools
    except _wit.err_type() as error:
        nothing: list[dict[str, Any]] = _wit.raise_host_error(f"mcp: {server}", error, _KINDS)
        return nothing
