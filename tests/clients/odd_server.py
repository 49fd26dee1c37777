"""An old server on stdio with habits, as its environment says.

SLOW: how many seconds it needs before it reads its input. RECORD: the file to which it writes its process id and each
method that it gets. SILENT: it never answers a method that it does not know, as servers of Python's `mcp` 1.6 do.
BROKEN: while this file is there, its list of tools cannot be read. It has the tools `pid`, and `switch_on`, which adds
the tool `late` in this process alone.
"""

import json
import os
import sys
import time

time.sleep(float(os.environ.get("SLOW", "0")))
names = ["pid", "switch_on"]


def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def result(message):
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": n, "inputSchema": {"type": "object", "properties": {}}} for n in names]}
    if method == "tools/call" and params["name"] in names:
        if params["name"] == "switch_on" and "late" not in names:
            names.append("late")
            say({"method": "notifications/tools/list_changed"})
        return {"content": [{"type": "text", "text": str(os.getpid())}]}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "RECORD" in os.environ:
        with open(os.environ["RECORD"], "a") as file:
            file.write(json.dumps({"pid": os.getpid(), "method": message.get("method")}) + "\n")
    if "id" not in message or "method" not in message:
        continue
    broken = message["method"] == "tools/list" and os.path.exists(os.environ.get("BROKEN", ""))
    found = None if broken else result(message)
    if found is not None:
        say({"id": message["id"], "result": found})
    elif broken:
        say({"id": message["id"], "error": {"code": -32603, "message": "the vendor is away"}})
    elif "SILENT" not in os.environ:
        say({"id": message["id"], "error": {"code": -32601, "message": "unknown"}})
