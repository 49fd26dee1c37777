// The TypeScript SDK of the legacy era (`@modelcontextprotocol/sdk`); see job.mjs.

import { Client } from "../tools/node/node_modules/@modelcontextprotocol/sdk/dist/esm/client/index.js";
import { SSEClientTransport } from "../tools/node/node_modules/@modelcontextprotocol/sdk/dist/esm/client/sse.js";
import { StdioClientTransport } from "../tools/node/node_modules/@modelcontextprotocol/sdk/dist/esm/client/stdio.js";
import { StreamableHTTPClientTransport } from "../tools/node/node_modules/@modelcontextprotocol/sdk/dist/esm/client/streamableHttp.js";
import * as types from "../tools/node/node_modules/@modelcontextprotocol/sdk/dist/esm/types.js";
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
const client = new Client({ name: "typescript-v1", version: "1.0.0" }, { capabilities });
for (const [schema, method] of [
  [types.CreateMessageRequestSchema, "sampling/createMessage"],
  [types.ElicitRequestSchema, "elicitation/create"],
  [types.ListRootsRequestSchema, "roots/list"],
]) {
  if (answers[method] === undefined) continue;
  client.setRequestHandler(schema, (request) => {
    asked.push(method);
    return answers[method](request);
  });
}
client.setNotificationHandler(types.ToolListChangedNotificationSchema, toolsChanged);
job.callTool = (client, call, options) => client.callTool(call, undefined, options);
const transport = transports[job.transport]();
await client.connect(transport);
await work(client, transport.protocolVersion ?? transport._protocolVersion, asked);
