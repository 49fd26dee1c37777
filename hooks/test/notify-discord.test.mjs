import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { PATH, discord } from "./discord.mjs";
import { exchange } from "./http.mjs";
import { fake, send, thrown } from "./run.mjs";

await import("../notify-discord.js");

const base = await discord();
const encode = (value) => new TextEncoder().encode(JSON.stringify(value));
const ask = (path, body) => JSON.parse(new TextDecoder().decode(exchange({ method: body ? "POST" : "GET", url: base + path, headers: [], body: body && encode(body) }).body));
const messages = () => ask("/test/messages");
let requests = 0;
fake.http.send = (request) => {
  requests++;
  const answer = exchange(request);
  if (answer.error !== undefined) throw thrown("connection", `${answer.error} at ${request.url}`);
  return answer;
};
let secret;
fake.config.secret = (name) => {
  if (name !== "DISCORD_WEBHOOK_URL") throw thrown("not-granted");
  if (secret === undefined) throw thrown("not-set");
  return secret;
};

const failure = (message, more) => ({ principal: "cursor", server: "github", tool: "get_issue", arguments: { password: "in-the-arguments" }, error: { code: -32000, message }, ...more });
const post = (id, event, more) => send("tool.error", event, { id, ...more });

beforeEach(async () => {
  fake.configured = { base };
  secret = `https://discord.com${PATH}`;
  ask("/test/answers", []);
  messages();
  for (const key of fake.state.keys("", undefined, 1000)[0]) fake.state.delete(key);
  requests = 0;
});

test("a failure is one message, within the limits, without mentions", async () => {
  const { result, tag } = await post("e1", failure("@everyone it is broken"));
  assert.equal(tag, "proceed");
  assert.equal(result.posted, true);
  const [message, ...others] = messages();
  assert.equal(others.length, 0);
  assert.deepEqual(message.allowed_mentions, { parse: [] });
  assert.equal(message.content, "**github/get\\_issue** failed");
  assert.match(message.embeds[0].description, /@everyone it is broken/);
  assert.match(message.embeds[0].footer.text, /^my-ai-hub · e1$/);
  assert.doesNotMatch(JSON.stringify(message), /in-the-arguments/);
  assert.equal(result.message, "1001");
});

test("the same failure again is counted, and told when its window is over", async () => {
  await post("e1", failure("timeout after 30015 ms, request 3f2a9c1b77"));
  assert.deepEqual((await post("e2", failure("timeout after 30992 ms, request 99ab01cd22"))).result, { posted: false, count: 2 });
  assert.deepEqual((await post("e2", failure("timeout after 30992 ms, request 99ab01cd22"))).result, { posted: false, count: 2 }, "one event counts once");
  assert.equal((await post("e3", failure("timeout after 30001 ms, request 0011223344"))).result.count, 3);
  assert.equal((await post("e4", failure("timeout", { tool: "other" }))).result.posted, true);
  assert.equal(messages().length, 2);
  fake.configured = { base, window_minutes: 0 };
  await post("e5", failure("timeout after 31234 ms, request 5566778899"));
  const [message] = messages();
  assert.match(message.embeds[0].fields.find(({ name }) => name === "Repeated").value, /^2 more before this, last <t:\d+:R>$/);
});

test("an event that comes again after it was posted is not posted again", async () => {
  await post("e1", failure("x"));
  assert.equal((await post("e1", failure("x"), { attempt: 2 })).result.posted, false);
  assert.equal(messages().length, 1);
});

test("two at once: one posts, one counts", async () => {
  // Between this one's reading and writing another call writes.
  const { get, set } = fake.state;
  let first = true;
  fake.state.set = (key, value, expect) => {
    if (first && key.startsWith("group:")) {
      first = false;
      const now = Date.now();
      set(key, encode({ id: "other", lastId: "other", count: 1, first: now, last: now }), expect);
    }
    return set(key, value, expect);
  };
  assert.deepEqual((await post("e1", failure("race"))).result, { posted: false, count: 2 });
  Object.assign(fake.state, { get, set });
  assert.equal(messages().length, 0);
});

test("a short 429 is waited for, a long one is left to the queue and holds back the others", async () => {
  ask("/test/answers", [{ seconds: 0.05 }, { seconds: 0.02, inBody: true }]);
  assert.equal((await post("e1", failure("short"))).result.posted, true);
  assert.equal(requests, 3);
  assert.equal(messages().length, 1);

  ask("/test/answers", [{ seconds: 60 }]);
  await assert.rejects(post("e2", failure("long")), /Discord wants 60 s of silence/);
  assert.equal(requests, 4);
  await assert.rejects(post("e3", failure("another")), /Discord wants (59|60) s of silence/);
  assert.equal(requests, 4, "nothing is sent meanwhile");
  fake.state.delete("paused-until");
  assert.equal((await post("e2", failure("long"), { attempt: 2 })).result.posted, true);
  assert.equal(messages().length, 1);
});

test("what Discord refuses fails without the address", async () => {
  ask("/test/answers", [{ status: 500 }, { status: 302, headers: { location: "https://elsewhere.example/" } }]);
  await assert.rejects(post("e1", failure("x")), (error) => /Discord answered 500: upstream trouble/.test(error.message));
  await assert.rejects(post("e1", failure("x")), /Discord answered 302/);
  fake.configured = { base: "http://127.0.0.1:9" };
  await assert.rejects(post("e1", failure("x")), (error) => /could not be reached/.test(error.message) && !error.message.includes("abcDEF"));
  assert.doesNotMatch(JSON.stringify(fake.lines), /abcDEF/);
});

test("secrets in messages are masked, and long ones cut", async () => {
  // Put together here, so that no scanner takes them for real.
  const secrets = ["ghp_" + "a1B2".repeat(9), "sk-ant-" + "x9".repeat(20), "eyJhbGciOi" + "JIUzI1NiJ9.eyJzdWIi", "hunter2hunter2", "0123456789abcdef0123456789abcdef"];
  const text = `A ${secrets[0]} B ${secrets[1]} C ${secrets[2]} password=${secrets[3]} D ${secrets[4]} https://me:pa55word@db.example/ Authorization: Bearer abcdefgh12 ordinary words stay`;
  await post("e1", failure(text));
  const described = messages()[0].embeds[0].description;
  for (const secret of [...secrets, "pa55word", "abcdefgh12"]) assert.ok(!described.includes(secret), `${secret} in ${described}`);
  assert.match(described, /ordinary words stay/);

  await post("e2", failure("```😀".repeat(20_000), { server: "s".repeat(64), tool: "_".repeat(3000) }));
  assert.equal(messages().length, 1);
  await post("e3", { server: "s", tool: "t", arguments: {}, result: { isError: true, content: [{ type: "text", text: "the tool said no" }, { type: "image", data: "" }] } });
  assert.match(messages()[0].embeds[0].description, /the tool said no/);
});

test("old groups are forgotten, and it can be tried by hand", async () => {
  fake.state.set("group:old", encode({ id: "x", count: 1, first: 0, last: 0 }));
  const { result } = await send("manual", { payload: { error: { message: "a test" } }, by: "cli" }, { id: "m1" });
  assert.equal(result.posted, true);
  assert.equal(fake.state.get("group:old"), null);
});

test("it waits for its secret, and says what is wrong with one without showing it", async () => {
  secret = undefined;
  assert.deepEqual((await post("e1", failure("x"))).result, { posted: false, why: "DISCORD_WEBHOOK_URL has no value" });
  secret = "not-an-address";
  await assert.rejects(post("e1", failure("x")), (error) => /is no address/.test(error.message) && !error.message.includes("not-an"));
  secret = "https://discord.com/channels/1234";
  await assert.rejects(post("e1", failure("x")), (error) => /no address of a Discord webhook/.test(error.message) && !error.message.includes("1234"));
  secret = `https://discord.com${PATH}`;
  assert.equal((await post("e1", failure("x"))).result.posted, true);
});
