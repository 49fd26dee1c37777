#!/usr/bin/env bash
# The official Python SDK of MCP, server and client with their defaults: a tool that returns a text of 600,000 characters
# works in revision 2026-07-28 and fails in 2025-11-25.
#
# Version:   mcp 2.3.0 (PyPI), Python 3.11 or newer.
# Behaviour: In 2025-11-25 the server answers each POST with an event stream by default. The client refuses every event
#            over 1,048,576 bytes, and the call fails with "Server-sent event exceeded the 1048576 byte limit". A tool that
#            is declared to return `str` has its text twice in the answer, in `content` and in `structuredContent`, so
#            600,000 characters are already too many. In 2026-07-28 the server answers with plain JSON, for which the
#            client has no limit. The server's option `json_response=True` has the same effect for 2025-11-25.
# A good guess, and why it is wrong: "A limit holds for a result, whatever revision or content type carries it", or "both
#            ends of one SDK agree on a size". The limit is one of the reader of events alone, and the sender does not
#            know it.
# Seen:      2025-11-25 events 500000: ok
#            2025-11-25 events 600000: MCPError: SSE stream failed: Server-sent event exceeded the 1048576 byte limit.
#            2026-07-28 default 600000: ok
#            2025-11-25 json 600000: ok
#            2025-11-25 json 1100000: ok
#
# Ends with 0 if this is still so, and with 1 if it has changed. Needs python3 and the packages of PyPI.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0

cat >"$folder/try.py" <<'PYTHON'
import asyncio
import socket
import threading
import time

import uvicorn
from mcp import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("big")


@server.tool()
def text(size: int) -> str:
    """A text of this many characters."""
    return "x" * size


def start(**options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = server.streamable_http_app(**options)
    http = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    threading.Thread(target=http.run, daemon=True).start()
    while not http.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}/mcp"


async def call(url, mode, size):
    try:
        async with Client(url, mode=mode) as client:
            result = await asyncio.wait_for(client.call_tool("text", {"size": size}), 30)
            return "ok" if len(result.content[0].text) == size else "cut"
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return f"{type(error).__name__}: {error}"


async def main():
    default, json = start(), start(json_response=True)
    for label, url, mode, size in [
        ("2025-11-25 events", default, "legacy", 500_000),
        ("2025-11-25 events", default, "legacy", 600_000),
        ("2026-07-28 default", default, "auto", 600_000),
        ("2025-11-25 json", json, "legacy", 600_000),
        ("2025-11-25 json", json, "legacy", 1_100_000),
    ]:
        print(f"{label} {size}: {await call(url, mode, size)}", flush=True)


asyncio.run(main())
PYTHON

cat >"$folder/expected" <<'TEXT'
2025-11-25 events 500000: ok
2025-11-25 events 600000: MCPError: SSE stream failed: Server-sent event exceeded the 1048576 byte limit.
2026-07-28 default 600000: ok
2025-11-25 json 600000: ok
2025-11-25 json 1100000: ok
TEXT

"$folder/venv/bin/python" "$folder/try.py" 2>"$folder/log" >"$folder/seen" || { cat "$folder/log"; exit 1; }
cat "$folder/seen"
diff "$folder/expected" "$folder/seen"
