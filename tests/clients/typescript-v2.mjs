// The TypeScript SDK of both eras (`@modelcontextprotocol/client`); see job.mjs. `era` is "legacy", "auto"
// or "modern".

import {
  Client,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "../tools/node/node_modules/@modelcontextprotocol/client/dist/index.mjs";
import { StdioClientTransport } from "../tools/node/node_modules/@modelcontextprotocol/client/dist/stdio.mjs";
import { answers, capabilities, headers, job, toolsChanged, work } from "./job.mjs";

const transports = {
  http: () => new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers: headers() } }),
  sse: () => new SSEClientTransport(new URL(job.url), { requestInit: { headers: headers() } }),
  stdio: () => {
    const [command, ...args] = job.command;
    return new StdioClientTransport({ command, args, env: { ...process.env, ...job.env }, stderr: "inherit" });
  },
};

const asked = [];
const mode = job.era === "modern" ? { pin: "2026-07-28" } : (job.era ?? "legacy");
const client = new Client(
  { name: "typescript-v2", version: "1.0.0" },
  {
    capabilities,
    versionNegotiation: { mode },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: toolsChanged } },
  },
);
for (const method of Object.keys(answers)) {
  client.setRequestHandler(method, (request) => {
    asked.push(method);
    return answers[method](request);
  });
}
job.listOptions = { cacheMode: "refresh" };
job.callTool = (client, call, options) => client.callTool(call, options);
await client.connect(transports[job.transport]());
await work(client, client.getNegotiatedProtocolVersion(), asked);
