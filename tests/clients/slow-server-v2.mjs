// A server of the TypeScript SDK of both eras (`@modelcontextprotocol/server`) on stdio, with the one tool `pid`. It
// reads its input only after as many milliseconds as its first argument says, as a server does that has much to load.

import { McpServer } from "../tools/node/node_modules/@modelcontextprotocol/server/dist/index.mjs";
import { serveStdio } from "../tools/node/node_modules/@modelcontextprotocol/server/dist/stdio.mjs";

await new Promise((resolve) => setTimeout(resolve, Number(process.argv[2])));
serveStdio(() => {
  const server = new McpServer({ name: "slow", version: "1.0.0" }, { capabilities: { tools: {} } });
  server.registerTool("pid", { description: "The process" }, async () => ({
    content: [{ type: "text", text: String(process.pid) }],
  }));
  return server;
});
