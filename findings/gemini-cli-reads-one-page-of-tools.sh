#!/usr/bin/env bash
# Gemini CLI offers its model the tools of the first page of `tools/list` only, and says nothing of the others.
#
# Version:   @google/gemini-cli 0.61.0 (npm), Node 20 or newer.
# Behaviour: A server lists five tools in pages of two, as the specification of MCP allows. The client asks for one page,
#            does not follow `nextCursor`, and gives the model two tools. Neither the run nor standard error says that
#            there are more.
# A good guess, and why it is wrong: "A client that is connected to a server offers all tools of the server": the same
#            server shows all five in clients that follow `nextCursor`, such as Claude Code 2.1.197. And "the client can
#            be asked": `gemini mcp list` says Connected.
# Seen:      pages that were asked for: 1
#            tools at the model: mcp_paged_tool_0, mcp_paged_tool_1
#
# Ends with 0 if this is still so, and with 1 if it has changed. Needs node, npm and python3. The model is a script of
# this file that speaks the documented Gemini API on the loopback interface: nothing is sent to a provider.
set -euo pipefail

folder=$(mktemp -d)
model=
trap '[ -z "$model" ] || kill "$model" 2>/dev/null || true; rm -rf "$folder"' EXIT
mkdir -p "$folder/home/.gemini" "$folder/project"
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder/npm" @google/gemini-cli@0.61.0 >/dev/null

cat >server.py <<'PYTHON'
"""An MCP server of five tools in pages of two, over stdio."""
import json
import sys

TOOLS = [{"name": f"tool_{n}", "description": f"Tool {n}.", "inputSchema": {"type": "object"}} for n in range(5)]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "paged", "version": "1"},
        }
    elif method == "tools/list":
        with open(sys.argv[1], "a") as log:
            log.write("page\n")
        begin = int(params.get("cursor") or 0)
        result = {"tools": TOOLS[begin : begin + 2]}
        if begin + 2 < len(TOOLS):
            result["nextCursor"] = str(begin + 2)
    elif method == "ping":
        result = {}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
PYTHON

cat >model.py <<'PYTHON'
"""A model that says "done", behind the documented protocol of the Gemini API; it keeps the names of the tools."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMES = set()


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for tool in request.get("tools", []):
            NAMES.update(f["name"] for f in tool.get("functionDeclarations", []) if "paged" in f["name"])
        with open(sys.argv[2], "w") as log:
            log.write(", ".join(sorted(NAMES)))
        candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": "done"}]}, "finishReason": "STOP"}
        body = json.dumps({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 1}})
        stream = "stream" in self.path
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.end_headers()
        self.wfile.write((f"data: {body}\n\n" if stream else body).encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
with open(sys.argv[1], "w") as port:
    port.write(str(server.server_address[1]))
server.serve_forever()
PYTHON

python3 model.py port names &
model=$!
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
cat >home/.gemini/settings.json <<JSON
{
  "security": { "auth": { "selectedType": "gemini-api-key" } },
  "general": { "enableAutoUpdate": false },
  "privacy": { "usageStatisticsEnabled": false },
  "mcpServers": { "paged": { "command": "python3", "args": ["$folder/server.py", "$folder/pages"], "trust": true } }
}
JSON
cd project
env -i HOME="$folder/home" PATH="$PATH" NO_COLOR=1 GEMINI_API_KEY=none GEMINI_CLI_TRUST_WORKSPACE=true \
  GOOGLE_GEMINI_BASE_URL="http://127.0.0.1:$(cat ../port)" \
  timeout 120 node "$folder/npm/node_modules/@google/gemini-cli/bundle/gemini.js" \
  --model gemini-2.5-pro --yolo --prompt hello >../said 2>&1 || { cat ../said; exit 1; }
cd ..
grep --quiet done said
{
  echo "pages that were asked for: $(wc -l <pages | tr -d ' ')"
  echo "tools at the model: $(cat names)"
} | tee seen
diff - seen <<'TEXT'
pages that were asked for: 1
tools at the model: mcp_paged_tool_0, mcp_paged_tool_1
TEXT
