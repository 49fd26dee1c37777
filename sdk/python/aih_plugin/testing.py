"""Tests of a plugin without a hub: a host in memory, and calls that go the way of real ones.

>>> import aih_plugin.testing as testing
>>> import my_plugin
>>> with testing.Host(config={"limit": 3}) as host:
...     result = host.call("search", {"query": "x"})
...     assert result.text == "…"
"""

from __future__ import annotations

import asyncio
import enum
import importlib
import json
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, cast

from . import _hook, _tool, _wit

__all__ = ["CallFailed", "Host", "ToolResult"]


@dataclass(frozen=True)
class Err(Exception):  # noqa: N818
    """As componentize-py makes it."""

    value: Any


class CallFailed(Exception):  # noqa: N818
    """The call ended in a failure. `kind` is as in the contract: `invalid-arguments`, `denied` and so on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


@dataclass
class ToolResult:
    """What a call answered."""

    content: list[Any]
    structured: Any
    is_error: bool
    meta: Any

    @property
    def text(self) -> str:
        """All texts, joined by line breaks."""
        return "\n".join(block.value for block in self.content if type(block).__name__ == "Content_Text")


def _cases(prefix: str, cases: Mapping[str, bool]) -> dict[str, Any]:
    return {f"{prefix}_{case}": make_dataclass(f"{prefix}_{case}", ["value"] if holds else [])
            for case, holds in cases.items()}


def _record(name: str, *fields: str) -> dict[str, Any]:
    return {name: make_dataclass(name, fields)}


_ERRORS: dict[str, dict[str, bool]] = {
    "state": {"NotGranted": False, "Conflict": True, "Quota": True, "Other": True},
    "http": {"NotGranted": True, "Invalid": True, "TimedOut": False, "TooLarge": True, "Connection": True, "Other": True},
    "mcp": {"NotGranted": True, "NotFound": True, "InvalidArguments": True, "TimedOut": False, "Cancelled": False,
            "DepthExceeded": False, "Upstream": True, "Other": True},
    "client": {"NotGranted": True, "Unsupported": True, "Invalid": True, "TimedOut": False, "Cancelled": False,
               "Other": True},
    "types": {}, "log": {}, "config": {}, "progress": {}, "hooks": {},
}


def _modules() -> dict[str, Any]:
    table: dict[str, Any] = {name: types.SimpleNamespace(**_cases("Error", cases)) for name, cases in _ERRORS.items()}
    add: dict[str, dict[str, Any]] = {
        "types": _cases("Content", dict.fromkeys(("Text", "Image", "Audio", "ResourceJson", "Other"), True))
        | _cases("Failure", dict.fromkeys(("UnknownTool", "InvalidArguments", "Denied", "Unavailable", "Other"), True))
        | _record("Blob", "mime_type", "data")
        | _record("Output", "content", "structured_json", "is_error", "extras")
        | _record("Call", "call_id", "tool", "arguments_json", "deadline_ms", "extras")
        | _record("Tool", "name", "title", "description", "input_schema", "output_schema", "annotations_json", "extras"),
        "hooks": _cases("Decision", {"Proceed": False, "Replace": True, "Deny": True})
        | _record("Outcome", "decision", "event_result_json")
        | _record("Event", "id", "name", "payload_json", "extras"),
        "http": _record("Request", "method", "url", "headers", "body", "timeout_ms")
        | _record("Response", "status", "url", "headers", "body"),
        "state": _record("Entry", "value", "version"),
        "log": {"Level": enum.Enum("Level", "TRACE DEBUG INFO WARN ERROR", start=0)},
        "config": {"SecretError": enum.Enum("SecretError", "NOT_GRANTED NOT_SET UNAVAILABLE", start=0)},
    }
    for name, members in add.items():
        vars(table[name]).update(members)
    return table


@dataclass
class Host:
    """The hub's side, in memory. Without a value for it, everything answers that it is not granted.

    `http`, `mcp`, `elicit` and `sample` are functions: of (method, url, headers, body) to (status, headers, body),
    of (server, tool, arguments) to MCP's `CallToolResult`, of the parameters to MCP's result. They may raise `Err`
    with one of the contract's errors: `host.error("http", "TimedOut")`.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    state: dict[str, tuple[bytes, int]] | None = field(default_factory=dict)
    http: Callable[..., tuple[int, Mapping[str, str], bytes]] | None = None
    mcp: Callable[[str, str, Any], Mapping[str, Any]] | None = None
    elicit: Callable[[Any], Mapping[str, Any]] | None = None
    sample: Callable[[Any], Mapping[str, Any]] | None = None
    roots: list[Mapping[str, str]] | None = None
    cancelled: bool = False
    principal: str = "test"
    logs: list[tuple[str, str, Any]] = field(default_factory=list)
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)

    def __enter__(self) -> Host:
        self._table = _modules()
        self._connect()
        self._before = _wit.install(self._table, Err)
        sys.modules.setdefault("_aih_user", types.ModuleType("_aih_user"))
        return self

    def __exit__(self, *_: object) -> None:
        _wit.restore(self._before)

    def error(self, interface: str, case: str, *value: Any) -> Err:
        """One of the contract's errors, to raise."""
        return Err(getattr(self._table[interface], f"Error_{case}")(*value))

    def tools(self) -> list[dict[str, Any]]:
        """The tools as the hub lists them."""
        return [vars(tool) | {"input_schema": json.loads(tool.input_schema),
                              "output_schema": json.loads(tool.output_schema) if tool.output_schema else None,
                              "annotations": json.loads(tool.annotations_json) if tool.annotations_json else {}}
                for tool in self._entry("plugin").Tools().list_tools()]

    def call(self, tool: str, arguments: Any = None) -> ToolResult:
        """Calls a tool. A failure raises `CallFailed`."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments if arguments is not None else {})
        call = self._table["types"].Call("test-call", tool, text, 60_000, [("principal", self.principal)])
        output = self._await(self._entry("plugin").Tools().call_tool(call))
        meta = dict(output.extras).get("meta")
        structured = None if output.structured_json is None else json.loads(output.structured_json)
        return ToolResult(output.content, structured, output.is_error, meta and json.loads(meta))

    def event(self, name: str, payload: Any, **extras: str) -> tuple[str, Any, Any]:
        """Sends an event: the decision (`proceed`, `replace`, `deny`), its value, and the event's result."""
        event = self._table["hooks"].Event("test-event", name, json.dumps(payload), list(extras.items()))
        outcome = self._await(self._entry("hook").Hooks().on_event(event))
        kind = type(outcome.decision).__name__.removeprefix("Decision_").lower()
        value = getattr(outcome.decision, "value", None)
        answer = None if outcome.event_result_json is None else json.loads(outcome.event_result_json)
        return kind, json.loads(str(value)) if kind == "replace" else value, answer

    def _entry(self, which: str) -> Any:
        if which == "plugin" and not _tool.registry or which == "hook" and not _hook.registry:
            raise RuntimeError(f"no {which} is there: import the module that is to be tested first")
        name = f"aih_plugin._{which}_entry"
        module = sys.modules.get(name)
        if module is None or (which == "hook" and module._types is not self._table["hooks"]):
            module = importlib.import_module(name)
            if which == "hook":
                cast(Any, module)._types = self._table["hooks"]
        return module

    def _await(self, coroutine: Any) -> Any:
        try:
            return asyncio.run(coroutine, debug=False)
        except Err as error:
            kind = type(error.value).__name__.removeprefix("Failure_")
            dashed = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")
            raise CallFailed(dashed, error.value.value) from None

    def _connect(self) -> None:
        table = self._table
        table["log"].write = lambda level, message, fields: self.logs.append(
            (level.name.lower(), message, fields and json.loads(fields)))
        table["config"].get = lambda key: json.dumps(self.config[key]) if key in self.config else None
        table["config"].secret = self._secret
        table["progress"].report = lambda *report: self.progress.append(report)
        table["progress"].cancelled = lambda: self.cancelled
        table["http"].send = self._send
        table["mcp"].call_tool = lambda server, tool, text: self._answer("mcp", self.mcp, server, tool, json.loads(text))
        table["mcp"].list_tools = lambda server: self._answer("mcp", None)
        table["client"].elicit = lambda text: self._answer("client", self.elicit, json.loads(text))
        table["client"].sample = lambda text: self._answer("client", self.sample, json.loads(text))
        table["client"].roots = lambda: self._answer(
            "client", None if self.roots is None else lambda: {"roots": self.roots})
        for name in ("get", "set", "delete", "keys"):
            setattr(table["state"], name, getattr(self, f"_state_{name}"))
        table["state"].get_for_update = self._state_get

    def _answer(self, interface: str, function: Callable[..., Any] | None, *args: Any) -> str:
        if function is None:
            raise self.error(interface, "NotGranted", "by the test's host")
        return json.dumps(function(*args))

    def _secret(self, name: str) -> str:
        if name not in self.secrets:
            raise Err(self._table["config"].SecretError.NOT_GRANTED)
        return self.secrets[name]

    def _send(self, request: Any) -> Any:
        if self.http is None:
            raise self.error("http", "NotGranted", request.url)
        status, headers, body = self.http(request.method, request.url, dict(request.headers), request.body)
        return self._table["http"].Response(status, request.url, list(headers.items()), body)

    def _store(self) -> dict[str, tuple[bytes, int]]:
        if self.state is None:
            raise self.error("state", "NotGranted")
        return self.state

    def _state_get(self, key: str) -> Any:
        found = self._store().get(key)
        return None if found is None else self._table["state"].Entry(*found)

    def _state_set(self, key: str, value: bytes, expect: int | None) -> int:
        version = self._store().get(key, (b"", 0))[1]
        if expect is not None and expect != version:
            raise self.error("state", "Conflict", version)
        self._store()[key] = (value, version + 1)
        return version + 1

    def _state_delete(self, key: str) -> None:
        self._store().pop(key, None)

    def _state_keys(self, prefix: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        names = sorted(key for key in self._store() if key.startswith(prefix) and key > (cursor or ""))
        return names[:limit], names[limit - 1] if len(names) > limit else None
