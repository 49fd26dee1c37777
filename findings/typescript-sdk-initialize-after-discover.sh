#!/usr/bin/env bash
# A server of the official TypeScript SDK of MCP answers `server/discover` and then `initialize` on one pipe, both with
# success, and from then on treats requests of revision 2026-07-28 as requests of 2025-11-25.
#
# Version:   @modelcontextprotocol/server 2.4.0 (npm), Node 20 or newer; mcp 2.3.0 (PyPI) for comparison.
# Behaviour: A client that knows both revisions asks `server/discover` first and falls back to `initialize` if no answer
#            comes in time. If the answer was only late, both requests succeed. A `tools/call` with the `_meta` of
#            2026-07-28, the revision that the server has just confirmed, then gets a result without `resultType`, which
#            2026-07-28 requires, and `server/discover` itself gets "Method not found".
# A good guess, and why it is wrong: "2026-07-28 has no session, so each request is judged by its own `_meta`", or "after
#            `server/discover` the revision of the connection is settled". The second is true of the Python SDK: it
#            refuses such an `initialize` with -32022 and stays with 2026-07-28. The TypeScript SDK lets the first
#            `initialize` decide for the whole connection, and answers the call without a word of it.
# Seen:      typescript, after discover: resultType complete
#            typescript, initialize after discover: ok
#            typescript, after both: no resultType
#            typescript, discover again: error -32601
#            python, after discover: resultType complete
#            python, initialize after discover: error -32022
#            python, after both: resultType complete
#            python, discover again: ok
#
# Ends with 0 if this is still so, and with 1 if it has changed. Needs node, npm and python3.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" @modelcontextprotocol/server@2.4.0 zod@4.6.7 >/dev/null
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0

cat >server.mjs <<'JS'
import { McpServer } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

serveStdio(() => {
  const server = new McpServer({ name: "echo", version: "1" });
  server.registerTool("echo", { description: "Echoes.", inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({
    content: [{ type: "text", text }],
  }));
  return server;
});
JS

cat >server.py <<'PYTHON'
from mcp.server.mcpserver import MCPServer

server = MCPServer("echo")


@server.tool()
def echo(text: str) -> str:
    """Echoes."""
    return text


server.run()
PYTHON

cat >try.py <<'PYTHON'
import json
import subprocess

INFO = {"name": "probe", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": INFO,
}


class Server:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.id = 0

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.id += 1
        self.send({"id": self.id, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.id:
                return answer

    def outcome(self, method, params):
        answer = self.ask(method, params)
        return "ok" if "result" in answer else f"error {answer['error']['code']}"

    def discover(self):
        return self.outcome("server/discover", {"_meta": META})

    def initialize(self):
        outcome = self.outcome("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO})
        if outcome == "ok":
            self.send({"method": "notifications/initialized"})
        return outcome

    def call(self):
        answer = self.ask("tools/call", {"name": "echo", "arguments": {"text": "hi"}, "_meta": META})
        if "error" in answer:
            return f"error {answer['error']['code']}"
        assert answer["result"]["content"][0]["text"] == "hi", answer
        kind = answer["result"].get("resultType")
        return f"resultType {kind}" if kind else "no resultType"

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


for name, command in [("typescript", ["node", "server.mjs"]), ("python", ["venv/bin/python", "server.py"])]:
    server = Server(*command)
    assert server.discover() == "ok"
    print(f"{name}, after discover: {server.call()}")
    server.end()
    server = Server(*command)
    assert server.discover() == "ok"
    print(f"{name}, initialize after discover: {server.initialize()}")
    print(f"{name}, after both: {server.call()}")
    print(f"{name}, discover again: {server.discover()}")
    server.end()
PYTHON

timeout 120 venv/bin/python try.py | tee seen
diff - seen <<'TEXT'
typescript, after discover: resultType complete
typescript, initialize after discover: ok
typescript, after both: no resultType
typescript, discover again: error -32601
python, after discover: resultType complete
python, initialize after discover: error -32022
python, after both: resultType complete
python, discover again: ok
TEXT
