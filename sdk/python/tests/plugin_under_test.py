"""A plugin with a tool for each thing that is tested."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from aih_plugin import (
    Audio, Denied, Deny, Event, Field, Image, InvalidArguments, Output, Replace, Resource, ResourceLink, Result, Text,
    ToolError, Unavailable, client, config, context, hook, http, log, mcp, progress, secrets, state, tool,
)


@dataclass
class Sum:
    total: int
    parts: list[int]


class Named(TypedDict):
    name: str


@tool
def add(a: int, b: Annotated[int, Field(ge=0)] = 1) -> Sum:
    """Adds.

    Args:
        a: The first.
        b: The second.
    """
    return Sum(a + b, [a, b])


@tool("re-named", title="A title", read_only=True, open_world=False)
async def nap(seconds: float = 0.0, /) -> str:
    """Naps."""
    order: list[str] = []

    async def one(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        order.append(name)

    async with asyncio.timeout(5):
        await asyncio.gather(one("late", 0.02 + seconds), one("soon", 0.001))
    order.append(await asyncio.to_thread(lambda: "thread"))
    return " ".join(order)


@tool
def wrong_output() -> Named:
    return {"nam": "x"}  # type: ignore[typeddict-item]


@tool
async def stuck() -> None:
    await asyncio.get_running_loop().create_future()


@tool
def give(what: str) -> Any:
    return {
        "none": None, "text": "text", "number": 3, "dict": {"a": 1}, "list": [1, 2], "bytes": b"x", "nan": float("nan"),
        "image": Image(b"\x89PNG...."), "contents": ["a", Text("b"), Audio(b"RIFF"), Image(b"x", "image/x")],
        "resource": Resource("file:///a.txt", text="hi"), "link": ResourceLink("https://example.com", "n", size=3),
        "output": Output("failed", structured={"a": 1}, is_error=True, meta={"k": 1}),
        "structured": Output(structured=[1]), "object": object(), "dates": {"set": {2, 1}, "bytes": b"hi"},
    }[what]


@tool
def fail(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    raise {"value": ValueError("bad value"), "tool": ToolError("expected"), "denied": Denied("no"),
           "unavailable": Unavailable("later"), "arguments": InvalidArguments("how: not so"),
           "empty": KeyError()}[how]


@tool
def use(what: str) -> Any:
    match what:
        case "context":
            now = context.current()
            return {"id": now.call_id, "principal": now.principal, "left": (now.remaining() or 0) > 50}
        case "config":
            return [config.get("limit"), config.get("nothing", 7)]
        case "secret":
            return secrets.get("TOKEN")
        case "count":
            return state.update_json("count", lambda n: n + 1, default=0)
        case "state":
            state.set("a", "1", expect=0)
            state.set_json("b", {"x": 1})
            first = state.entry("a")
            assert first is not None
            state.delete("zz")
            return [first.text, first.version, state.get("none"), state.get_json("b"), list(state.keys())]
        case "conflict":
            return state.set("a", b"2", expect=9)
        case "http":
            got = http.post("https://example.com/x?y=1#f", params={"q": ["a", "b c"]}, json={"k": "é"}, timeout=1.5)
            return [got.status, got.text, got.json(), got.headers["X-A"], got.ok]
        case "form":
            return http.post("https://example.com", data={"a": "b c"}).raise_for_status().text
        case "mcp":
            result = mcp.call("github", "get_issue", number=7)
            return [result.text, result.structured, result.is_error]
        case "progress":
            progress.report(1, 2, "half")
            progress.check()
        case "elicit":
            answer = client.elicit("How many?", Sum)
            return [answer.action, answer.content]
        case "sample":
            return client.sample("hi", system="s").text
        case "roots":
            return [root.uri for root in client.roots()]
        case "log":
            log.info("said", key=1)
            logging.getLogger("my.logger").warning("warned %d", 3)
            print("printed")
    return None


@hook("tool.before")
def guard(event: Event) -> Any:
    if event["tool"] == "forbidden":
        return Deny("it is forbidden")
    if event["tool"] == "raises":
        raise ValueError("bad hook")
    return Replace(event.payload | {"seen": event.attempt}) if event.get("replace") else None


@hook("tool.*", "manual")
async def after(event: Event) -> Any:
    if event.name == "manual":
        return Result({"payload": event.payload})
    return Replace(event.payload | {"twice": True}) if event.get("seen") else None
