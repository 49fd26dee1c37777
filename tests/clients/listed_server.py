"""An MCP server on stdio that says what its first argument, a JSON object, has:

`era` ("legacy" or "modern"), `capabilities`, `instructions`, `info` (its `serverInfo`), the lists `tools`, `prompts`,
`resources` and `resourceTemplates`, `results` (tool to the result of its call) and `reads` (URI to the result). What is
not there is empty. Needs nothing but Python.
"""

import json
import sys

SAID = json.loads(sys.argv[1])
MODERN = SAID.get("era") == "modern"
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
CACHE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if MODERN else {}


def greeting(method, params):
    greeting = {
        "capabilities": SAID.get("capabilities", {"tools": {}, "prompts": {}, "resources": {}}),
        "instructions": SAID.get("instructions", ""),
    }
    info = SAID.get("info", {"name": "listed", "version": "1"})
    if method == "initialize":
        version = params["protocolVersion"]
        return greeting | {"protocolVersion": version, "serverInfo": info}
    meta = {"io.modelcontextprotocol/serverInfo": info}
    return greeting | CACHE | {"supportedVersions": ["2026-07-28"], "_meta": meta}


def answer(method, params):
    if method == ("server/discover" if MODERN else "initialize"):
        return greeting(method, params)
    if method in LISTS:
        return CACHE | {LISTS[method]: SAID.get(LISTS[method], [])}
    if method == "tools/call":
        return SAID.get("results", {}).get(params["name"])
    if method == "resources/read":
        return SAID.get("reads", {}).get(params["uri"])
    return {} if method == "ping" else None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    result = answer(message["method"], message.get("params") or {})
    told = {"result": result} if result is not None else {"error": {"code": -32601, "message": "there is no such thing"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"]} | told), flush=True)
