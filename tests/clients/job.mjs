// What both TypeScript clients do: a job from the command line, one line of JSON as the answer.
//
// A job: {transport: "http" | "sse" | "stdio", url, key, command: [program, …arguments], era,
//         calls: [{name, arguments}], reads: [uri], prompts: [{name, arguments}]}.
// The answer: {version, tools, resources, prompts, calls, reads, got, asked, progress, logs}; `asked` is what
// the server asked of this client, `progress` and `logs` count what it told.

export const job = JSON.parse(process.argv[2]);

export const capabilities = {
  sampling: {},
  elicitation: {},
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

export function headers() {
  return job.key ? { Authorization: `Bearer ${job.key}` } : {};
}

/** Runs the job with a connected client. */
export async function work(client, version, asked, told) {
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
  const answer = { version, asked, calls: [], reads: [], got: [], progress: 0 };
  answer.tools = has.tools ? (await all((p) => client.listTools(p), "tools")).map((t) => t.name) : [];
  answer.resources = has.resources ? (await all((p) => client.listResources(p), "resources")).map((r) => r.uri) : [];
  answer.prompts = has.prompts ? (await all((p) => client.listPrompts(p), "prompts")).map((p) => p.name) : [];
  const options = { timeout: 30_000, onprogress: () => answer.progress++ };
  for (const call of job.calls ?? []) answer.calls.push(await job.callTool(client, call, options));
  for (const uri of job.reads ?? []) answer.reads.push(await client.readResource({ uri }));
  for (const prompt of job.prompts ?? []) answer.got.push(await client.getPrompt(prompt));
  await client.close();
  process.stdout.write(`${JSON.stringify({ ...answer, logs: told.logs })}\n`);
  process.exit(0);
}
