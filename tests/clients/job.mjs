// What both TypeScript clients do: a job from the command line, one line of JSON as the answer.
//
// A job: {transport: "http" | "sse" | "stdio", url, key, command: [program, …arguments], era,
//         until: name, calls: [{name, arguments} | {pause: file}], reads: [uri], prompts: [{name, arguments}],
//         elicit: ["accept" | "decline"] | "none"}.
// With `until`, tools are listed again whenever the server says that they changed, until that one is there.
// With `elicit` the client's person answers so, one question after the other and "accept" from then on, or the client
// cannot ask anybody.
// At a pause the client makes FILE.waits, and goes on when FILE is there.
// The answer: {version, instructions, tools, resources, prompts, calls, reads, got, asked, progress}; `asked` is what the
// server asked of this client, `progress` counts what it told.

import { existsSync, writeFileSync } from "node:fs";

export const job = JSON.parse(process.argv[2]);

export const capabilities = {
  sampling: {},
  ...(job.elicit === "none" ? {} : { elicitation: {} }),
  roots: { listChanged: true },
};

/** What this client answers to whatever a server asks. */
export const answers = {
  "sampling/createMessage": () => ({
    role: "assistant",
    model: "the-test-model",
    stopReason: "endTurn",
    content: { type: "text", text: "sampled by the test" },
  }),
  "elicitation/create": (request) => {
    const action = job.elicit?.shift() ?? "accept";
    if (action !== "accept") return { action };
    const content = {};
    const properties = request.params.requestedSchema?.properties ?? {};
    for (const name of request.params.requestedSchema?.required ?? []) {
      const { type, format } = properties[name] ?? {};
      if (type === "boolean") content[name] = true;
      else if (type === "number" || type === "integer") content[name] = 42;
      else if (format === "email") content[name] = "test@example.com";
      else content[name] = "elicited by the test";
    }
    return { action: "accept", content };
  },
  "roots/list": () => ({ roots: [{ uri: "file:///root-of-the-test", name: "root of the test" }] }),
};

let marks = 0;
let wake = () => {};

if (job.elicit === "none") delete answers["elicitation/create"];

/** To be called when the server says that its tools changed. */
export function toolsChanged() {
  marks++;
  wake();
}

/** Waits for the next change of the tools, or returns at once for one that was not waited for yet. */
async function changed() {
  if (marks === 0) await new Promise((resolve) => (wake = resolve));
  marks = 0;
}

/** Waits until this file is there. */
async function pause(file) {
  writeFileSync(`${file}.waits`, "");
  while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 50));
}

export function headers() {
  return job.key ? { Authorization: `Bearer ${job.key}` } : {};
}

/** Runs the job with a connected client. */
export async function work(client, version, asked) {
  const has = client.getServerCapabilities() ?? {};
  const all = async (list, member) => {
    const found = [];
    let cursor;
    do {
      const page = await list(cursor ? { cursor } : {});
      found.push(...page[member]);
      cursor = page.nextCursor;
    } while (cursor);
    return found;
  };
  const answer = { version, instructions: client.getInstructions(), asked, calls: [], reads: [], got: [], progress: 0 };
  const tools = async () => (await all((p) => client.listTools(p, job.listOptions), "tools")).map((t) => t.name);
  answer.tools = has.tools ? await tools() : [];
  while (job.until && !answer.tools.includes(job.until)) {
    await changed();
    answer.tools = await tools();
  }
  const options = { timeout: 30_000, onprogress: () => answer.progress++ };
  for (const call of job.calls ?? []) {
    if (call.pause) await pause(call.pause);
    else answer.calls.push(await job.callTool(client, call, options));
  }
  // A server that is starting hands its lists over one by one: tools may be there before these.
  answer.resources = has.resources ? (await all((p) => client.listResources(p), "resources")).map((r) => r.uri) : [];
  answer.prompts = has.prompts ? (await all((p) => client.listPrompts(p), "prompts")).map((p) => p.name) : [];
  for (const uri of job.reads ?? []) answer.reads.push(await client.readResource({ uri }));
  for (const prompt of job.prompts ?? []) answer.got.push(await client.getPrompt(prompt));
  await client.close();
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  process.exit(0);
}
