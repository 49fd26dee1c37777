"""The Python SDK (`mcp`), with the jobs and answers of job.mjs."""

import asyncio
import json
import pathlib
import sys

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

JOB = json.loads(sys.argv[1])
ASKED: list[str] = []
TOLD = {"progress": 0}
CHANGED = asyncio.Event()


async def sample(_context, _params):
    ASKED.append("sampling/createMessage")
    return types.CreateMessageResult(
        role="assistant",
        model="the-test-model",
        stop_reason="endTurn",
        content=types.TextContent(type="text", text="sampled by the test"),
    )


async def elicit(_context, params):
    ASKED.append("elicitation/create")
    if JOB.get("elicit"):
        action = JOB["elicit"].pop(0)
        if action != "accept":
            return types.ElicitResult(action=action)
    schema = getattr(params, "requested_schema", None) or {}
    content = {}
    for name in schema.get("required", []):
        property = schema.get("properties", {}).get(name, {})
        if property.get("type") == "boolean":
            content[name] = True
        elif property.get("type") in ("number", "integer"):
            content[name] = 42
        elif property.get("format") == "email":
            content[name] = "test@example.com"
        else:
            content[name] = "elicited by the test"
    return types.ElicitResult(action="accept", content=content)


async def roots(_context):
    ASKED.append("roots/list")
    return types.ListRootsResult(roots=[types.Root(uri="file:///root-of-the-test", name="root of the test")])


async def progress(_done, _total, _message):
    TOLD["progress"] += 1


async def message(message):
    if isinstance(message, types.ToolListChangedNotification):
        CHANGED.set()


async def tools_of(client):
    """The tools; with `until`, once that one is among them."""
    wanted = JOB.get("until")

    async def names():
        return [t.name for t in await every(client.list_tools, "tools")]

    found = await names()
    if not wanted or wanted in found:
        return found
    if client.protocol_version < "2026":
        while wanted not in found:
            await CHANGED.wait()
            CHANGED.clear()
            found = await names()
        return found
    async with client.listen(tools_list_changed=True) as changes:
        found = await names()
        if wanted in found:
            return found
        async for _ in changes:
            found = await names()
            if wanted in found:
                return found
    raise RuntimeError(f"{wanted} never came")


async def every(list_page, member):
    found, cursor = [], None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if not cursor:
            return found


async def pause(file):
    """Waits until this file is there."""
    file.with_name(f"{file.name}.waits").touch()
    while not file.exists():
        await asyncio.sleep(0.05)


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    headers = {"Authorization": f"Bearer {JOB['key']}"} if JOB.get("key") else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        if JOB["transport"] == "http":
            server = streamable_http_client(JOB["url"], http_client=http)
        elif JOB["transport"] == "sse":
            server = sse_client(JOB["url"], headers=headers)
        else:
            server = StdioServerParameters(
                command=JOB["command"][0], args=JOB["command"][1:], env=JOB.get("env")
            )
        era = {"legacy": "legacy", "modern": "2026-07-28"}.get(JOB.get("era", "auto"), "auto")
        async with Client(
            server,
            mode=era,
            read_timeout_seconds=30,
            sampling_callback=sample,
            elicitation_callback=None if JOB.get("elicit") == "none" else elicit,
            list_roots_callback=roots,
            message_handler=message,
        ) as client:
            has = client.server_capabilities
            # A pinned version is taken on trust: capabilities are not known then.
            blind = JOB.get("era") == "modern"
            answer = {"version": client.protocol_version, "instructions": client.instructions, "calls": [], "reads": [], "got": []}
            answer["tools"] = await tools_of(client) if blind or has.tools else []
            for call in JOB.get("calls", []):
                if "pause" in call:
                    await pause(pathlib.Path(call["pause"]))
                    continue
                result = await client.call_tool(call["name"], call.get("arguments", {}), progress_callback=progress)
                answer["calls"].append(plain(result))
            # A server that is starting hands its lists over one by one: tools may be there before these.
            answer["resources"] = (
                [str(r.uri) for r in await every(client.list_resources, "resources")] if blind or has.resources else []
            )
            answer["prompts"] = (
                [p.name for p in await every(client.list_prompts, "prompts")] if blind or has.prompts else []
            )
            for uri in JOB.get("reads", []):
                answer["reads"].append(plain(await client.read_resource(uri)))
            for prompt in JOB.get("prompts", []):
                answer["got"].append(plain(await client.get_prompt(prompt["name"], prompt.get("arguments", {}))))
    print(json.dumps({**answer, **TOLD, "asked": ASKED}), flush=True)


asyncio.run(main())
