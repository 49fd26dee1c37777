// The whole way of a call, from the record of the WIT to the record of the answer, with the host's imports faked.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fake, thrown } from "./fake-host.mjs";

await import("../src/prelude.js");
const { defineTool, defineHook, host, text, image, json, error } = await import("../src/index.js");
const { tools } = await import("../src/plugin-entry.js");
const { hooks } = await import("../src/hook-entry.js");

let count = 0;
/** Defines a tool with a handler and calls it. */
async function call(handler, args = {}, more = {}) {
  const name = `t${count++}`;
  defineTool({ name, description: "d", handler, ...more, input: more.input ?? { type: "object" } });
  return tools.callTool({ callId: "c", tool: name, argumentsJson: JSON.stringify(args), deadlineMs: 5000, extras: [["principal", "me"]] });
}
const textOf = (output) => output.content.map((part) => part.val).join("|");

test("answers become the WIT's output", async () => {
  assert.deepEqual(await call(() => "hello"), { content: [{ tag: "text", val: "hello" }], structuredJson: undefined, isError: false, extras: [] });
  assert.deepEqual((await call(() => undefined)).content, []);
  assert.deepEqual((await call(() => ({ a: 1 }))).structuredJson, '{"a":1}');
  assert.equal(textOf(await call(() => ({ a: 1 }))), '{"a":1}');
  assert.equal((await call(() => [1, 2])).structuredJson, '{"result":[1,2]}');
  assert.equal((await call(() => json(7))).structuredJson, '{"result":7}');
  assert.equal((await call(() => ({ content: "x", isError: true }))).isError, true);
  assert.deepEqual((await call(() => ({ content: [], meta: { k: 1 } }))).extras, [["meta", '{"k":1}']]);
  assert.equal((await call(() => error("no"))).isError, true);
  assert.deepEqual((await call(() => [text("a"), image(new Uint8Array([1, 2]))])).content, [
    { tag: "text", val: "a" }, { tag: "image", val: { mimeType: "image/png", data: new Uint8Array([1, 2]) } },
  ]);
  assert.equal((await call(() => ({ type: "resource_link", uri: "x:y", name: "n" }))).content[0].tag, "resource-json");
  assert.deepEqual((await call(() => image("AQI="))).content[0].val.data, new Uint8Array([1, 2]));
});

test("a thrown error is a result that is an error, and its stack goes to the log", async () => {
  fake.lines.length = 0;
  const output = await call(async () => { await null; throw new RangeError("too far"); });
  assert.equal(output.isError, true);
  assert.equal(textOf(output), "too far");
  assert.match(fake.lines.at(-1)[1], /RangeError: too far\n.*at /s);
  assert.equal(textOf(await call(() => { throw "plain"; })), "plain");
});

test("arguments are checked and defaults are filled in", async () => {
  const input = { type: "object", properties: { n: { type: "integer", minimum: 1 }, unit: { enum: ["a", "b"], default: "a" } }, required: ["n"], additionalProperties: false };
  assert.deepEqual((await call((args) => args, { n: 2 }, { input })).structuredJson, '{"n":2,"unit":"a"}');
  await assert.rejects(call(() => 1, { n: 0 }, { input }), { tag: "invalid-arguments", val: "/n must be at least 1, not 0" });
  await assert.rejects(call(() => 1, {}, { input }), { tag: "invalid-arguments", val: "/n is missing" });
  await assert.rejects(call(() => 1, { n: 1, m: 1 }, { input }), (failure) => /\/m is not known; known are n, unit/.test(failure.val));
  await assert.rejects(tools.callTool({ callId: "c", tool: "nothing", argumentsJson: "{}", deadlineMs: 1, extras: [] }), { tag: "unknown-tool", val: "nothing" });
});

test("timers run while the host sleeps", async () => {
  const output = await call(async () => {
    const order = [];
    setTimeout(() => order.push("30"), 30);
    setTimeout(() => order.push("5"), 5);
    let ticks = 0;
    const twice = new Promise((resolve) => {
      const repeated = setInterval(() => {
        if (++ticks === 2) {
          clearInterval(repeated);
          resolve();
        }
      }, 3);
    });
    setImmediate(() => order.push("immediate"));
    queueMicrotask(() => order.push("micro"));
    const cleared = setTimeout(() => order.push("never"), 1);
    clearTimeout(cleared);
    await new Promise((resolve) => setTimeout(resolve, 45));
    await twice;
    order.push("end");
    return order.join(" ");
  });
  assert.equal(textOf(output), "micro immediate 5 30 end");
});

test("an error in a timer fails the call", async () => {
  const output = await call(() => new Promise(() => setTimeout(() => { throw new Error("in a timer"); }, 1)));
  assert.equal(output.isError, true);
  assert.equal(textOf(output), "in a timer");
});

test("the context tells who calls, and cancellation", async () => {
  fake.isCancelled = false;
  const output = await call(async (_args, context) => {
    context.progress(1, 2, "half");
    const before = context.signal.aborted;
    fake.isCancelled = true;
    await new Promise((resolve) => setTimeout(resolve, 30));
    return { principal: context.principal, before, after: context.signal.aborted, name: context.signal.reason.name, deadline: context.deadline > new Date() };
  });
  fake.isCancelled = false;
  assert.deepEqual(JSON.parse(output.structuredJson), { principal: "me", before: false, after: true, name: "AbortError", deadline: true });
  assert.deepEqual(fake.reports.at(-1), [1, 2, "half"]);
});

test("fetch sends what the standard says and answers a Response", async () => {
  let sent;
  fake.http.send = (request) => {
    sent = request;
    return { status: 201, url: "https://x.example/end", headers: [["content-type", "application/json"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-bad", "\u20ac"]], body: new TextEncoder().encode('{"ok":true}') };
  };
  const output = await call(async () => {
    const response = await fetch("https://x.example/start#frag", { method: "post", headers: { "X-A": "1" }, body: new URLSearchParams({ a: "b c" }), redirect: "manual" });
    const copy = response.clone();
    return { status: response.status, ok: response.ok, url: response.url, redirected: response.redirected, cookies: response.headers.getSetCookie(), body: await response.json(), text: await copy.text(), used: response.bodyUsed };
  });
  assert.deepEqual(JSON.parse(output.structuredJson), { status: 201, ok: true, url: "https://x.example/end", redirected: true, cookies: ["a=1", "b=2"], body: { ok: true }, text: '{"ok":true}', used: true });
  assert.equal(sent.method, "POST");
  assert.equal(sent.url, "https://x.example/start");
  assert.equal(new TextDecoder().decode(sent.body), "a=b+c");
  assert.deepEqual(sent.headers, [["content-type", "application/x-www-form-urlencoded;charset=UTF-8"], ["x-a", "1"], ["aih-redirect", "manual"]]);
});

test("what the host refuses says why", async () => {
  fake.http.send = () => { throw thrown("not-granted", "https://y.example:443 is not in grants.http"); };
  assert.match(textOf(await call(() => fetch("https://y.example/"))), /^fetch failed: https:\/\/y\.example\/ is not granted to this plugin: .*grants\.http/);
  fake.http.send = () => { throw thrown("timed-out"); };
  const output = await call(async () => {
    try {
      await fetch("https://y.example/", { signal: AbortSignal.timeout(1) });
      return "no";
    } catch (problem) {
      return problem.name;
    }
  });
  assert.equal(textOf(output), "TimeoutError");
  assert.equal(textOf(await call(() => host.secrets.get("nope"))), 'secret "nope" is not granted: the operator adds it to grants.secrets');
  assert.equal(textOf(await call(() => host.secrets.get("known"))), "s3cret");
  assert.equal(textOf(await call(() => fetch("file:///etc/passwd"))), "fetch failed: fetch knows no file: addresses");
});

test("state, configuration, MCPs and the client", async () => {
  fake.configured.depth = 3;
  const output = await call(async () => {
    await host.state.set("k", { n: 1 });
    await host.state.update("k", (value) => ({ n: value.n + 1 }));
    const wrong = await host.state.set("k", 0, { expect: 9 }).catch((problem) => problem.code);
    await host.state.setBytes("k2", new Uint8Array([1]));
    return {
      value: await host.state.get("k"), wrong, keys: await host.state.keys("k", { limit: 5 }), none: await host.state.get("x") ?? null,
      depth: host.config.get("depth"), fallback: host.config.get("y", "z"),
      mcp: (await host.mcp.callTool("gh", "t", { a: 1 })).content[0].text, roots: await host.client.roots(), elicited: (await host.client.elicit("ok?")).action,
    };
  });
  assert.deepEqual(JSON.parse(output.structuredJson), {
    value: { n: 2 }, wrong: "conflict", keys: ["k", "k2"], none: null, depth: 3, fallback: "z", mcp: 'gh/t/{"a":1}', roots: [{ uri: "file:///x" }], elicited: "decline",
  });
});

test("tools are listed as they were defined", () => {
  defineTool({ name: "listed", title: "T", description: "D", input: { properties: { a: {} } }, output: { type: "object" }, annotations: { readOnlyHint: true }, handler: () => "" });
  const tool = tools.listTools().find((entry) => entry.name === "listed");
  assert.deepEqual(tool, { name: "listed", title: "T", description: "D", inputSchema: '{"type":"object","properties":{"a":{}}}', outputSchema: '{"type":"object"}', annotationsJson: '{"readOnlyHint":true}', extras: [] });
  assert.throws(() => defineTool({ name: "a b", description: "d", handler() {} }), /is no name/);
  assert.throws(() => defineTool({ name: "x", description: "", handler() {} }), /no description/);
  assert.throws(() => defineTool({ name: "listed", description: "d", handler() {} }), /defined twice/);
});

test("hooks decide", async () => {
  defineHook({ on: "tool.before", handler: (event) => (event.payload.bad ? { deny: "bad" } : { replace: { ...event.payload, seen: event.attempt } }) });
  defineHook({ on: "http.trigger", handler: async () => ({ result: [1] }) });
  defineHook({ on: "boom", handler: () => { throw new Error("broken"); } });
  const event = (name, payload) => hooks.onEvent({ id: "1", name, payloadJson: JSON.stringify(payload), extras: [["attempt", "2"]] });
  assert.deepEqual(await event("tool.before", { bad: true }), { decision: { tag: "deny", val: "bad" }, eventResultJson: undefined });
  assert.deepEqual(await event("tool.before", { a: 1 }), { decision: { tag: "replace", val: '{"a":1,"seen":2}' }, eventResultJson: undefined });
  assert.deepEqual(await event("http.trigger", {}), { decision: { tag: "proceed" }, eventResultJson: "[1]" });
  assert.deepEqual(await event("other", {}), { decision: { tag: "proceed" }, eventResultJson: undefined });
  await assert.rejects(event("boom", {}), { tag: "other", val: "broken" });
});

test("console writes to the log", async () => {
  fake.lines.length = 0;
  await call(() => {
    console.log("%s is %d", "a", 1, { b: [1] });
    console.group("g");
    console.warn("inner\nline");
    console.groupEnd();
    console.assert(1 === 2, "sum");
    console.table([{ a: 1, b: "x" }]);
    const { error: bare } = console;
    bare("bare");
  });
  assert.deepEqual(fake.lines.slice(0, 4).map((line) => line.slice(0, 2)), [["info", "a is 1 { b: [ 1 ] }"], ["info", "g"], ["warn", "  inner\n  line"], ["error", "Assertion failed: sum"]]);
  assert.equal(fake.lines[4][1], "┌─────────┬───┬─────┐\n│ (index) │ a │  b  │\n├─────────┼───┼─────┤\n│    0    │ 1 │ 'x' │\n└─────────┴───┴─────┘");
  assert.deepEqual(fake.lines[5].slice(0, 2), ["error", "bare"]);
});
