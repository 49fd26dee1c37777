// One attack for each way of the tool `attack`. What comes back tells how far it got.
import { defineTool, host, image, log, resourceLink } from "aih-plugin";

const ways = {
  endless_loop() {
    for (;;) {}
  },
  endless_promises() {
    const again = () => Promise.resolve().then(again);
    return again();
  },
  endless_timers() {
    return new Promise(() => setInterval(() => {}, 0));
  },
  endless_pattern: () => String(/^(a+)+$/.test(`${"a".repeat(60)}b`)),
  never: () => new Promise(() => {}),
  sleep: () => new Promise((done) => setTimeout(done, 2e9)),
  memory_bomb() {
    const kept = [];
    for (;;) kept.push(new Uint8Array(4 << 20).fill(1));
  },
  text_bomb() {
    let text = "x";
    for (;;) text += text;
  },
  deep_recursion() {
    const down = (n) => down(n + 1) + 1;
    return String(down(0));
  },
  deep_value() {
    let value = [];
    for (let n = 0; n < 100_000; n++) value = [value];
    return { deep: value };
  },
  output_1gb: () => "x".repeat(1 << 20).repeat(1024),
  output_4mb: () => "x".repeat(4 << 20),
  async log_flood() {
    const line = "flood ".repeat(1_700);
    for (let n = 0; n < 2_000; n++) {
      log.error(line, { n });
      console.log(line);
    }
    return "logged";
  },
  async state_flood() {
    const value = new Uint8Array(1 << 20);
    for (let n = 0; ; n++) await host.state.setBytes(`flood/${n}`, value);
  },
  unhandled_rejection() {
    Promise.reject(new Error("nobody listens"));
    return "came back";
  },
  throw_text() {
    throw "a text";
  },
  throw_null() {
    throw null;
  },
  throw_nothing() {
    throw undefined;
  },
  throw_trap() {
    throw {
      get message() {
        throw new Error("no message");
      },
      toString() {
        throw new Error("no text");
      },
    };
  },
  reject_symbol: () => Promise.reject(Symbol("x")),
  async fetch({ arg }) {
    return (await fetch(arg)).text();
  },
  secret: ({ arg }) => host.secrets.get(arg),
  exit() {
    process.exit(3);
  },
  environment: () => JSON.stringify([{ ...process.env }, typeof process.exit, typeof process.binding, typeof require, typeof Deno, typeof std, typeof os]),
  async read_path({ arg }) {
    const fs = await import("fs");
    return fs.readFileSync(arg, "utf8");
  },
  async self_call({ arg }) {
    const result = await host.mcp.callTool(arg, "attack", { how: "self_call", arg });
    return `below: ${JSON.stringify(result.content)}`;
  },
  async reenter({ arg }) {
    const result = await host.mcp.callTool(arg, "attack", { how: "count" });
    return `${result.content[0].text} ${ways.count()}`;
  },
  count: () => String((globalThis.counted = (globalThis.counted ?? 0) + 1)),
  bad_mime: () => image(new Uint8Array(3), "image/png\r\nx-injected: yes"),
  html_image: () => image(new Uint8Array(3), "text/html"),
  bad_link: () => resourceLink("javascript:alert(1)", "harmless"),
  no_link: () => resourceLink("not a uri", "harmless"),
};

defineTool({
  name: "attack",
  description: "Attacks",
  input: {
    type: "object",
    properties: { how: { type: "string" }, arg: { type: "string" } },
    required: ["how"],
  },
  handler: (args) => ways[args.how](args),
});

defineTool({
  name: "promise",
  description: "Answers with something else than it says",
  input: { type: "object", properties: {} },
  output: { type: "object", properties: { n: { type: "integer" } }, required: ["n"] },
  handler: () => ({ n: "no number" }),
});
