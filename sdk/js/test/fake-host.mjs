// The host's imports, in Node. A test sets `fake.http.send` and the like; `thrown` gives an import's error its form.
import { randomFillSync } from "node:crypto";

export function thrown(tag, val) {
  return Object.assign(new Error(String(tag)), { payload: val === undefined ? tag : { tag, val } });
}

const stored = new Map();
const wait = new Int32Array(new SharedArrayBuffer(4));

export const fake = {
  lines: [],
  reports: [],
  isCancelled: false,
  configured: {},
  log: { write: (level, message, fields) => fake.lines.push([level, message, fields]) },
  config: {
    get: (key) => (key in fake.configured ? JSON.stringify(fake.configured[key]) : null),
    secret: (name) => {
      if (name === "known") return "s3cret";
      throw thrown(name === "empty" ? "not-set" : "not-granted");
    },
  },
  state: {
    get: (key) => stored.get(key) ?? null,
    getForUpdate: (key) => stored.get(key) ?? null,
    set: (key, value, expect) => {
      const version = stored.get(key)?.version ?? 0;
      if (expect !== undefined && expect !== version) throw thrown("conflict", version);
      stored.set(key, { value, version: version + 1 });
      return version + 1;
    },
    delete: (key) => void stored.delete(key),
    keys: (prefix, cursor, limit) => {
      const all = [...stored.keys()].filter((key) => key.startsWith(prefix) && (cursor === undefined || key > cursor)).sort();
      return [all.slice(0, limit), all.length > limit ? all[limit - 1] : null];
    },
  },
  mcp: {
    listTools: () => JSON.stringify([{ name: "t" }]),
    callTool: (server, name, args) => JSON.stringify({ content: [{ type: "text", text: `${server}/${name}/${args}` }] }),
  },
  http: { send: () => { throw thrown("not-granted", "nothing is granted"); } },
  progress: { report: (...args) => fake.reports.push(args), cancelled: () => fake.isCancelled },
  client: { elicit: () => JSON.stringify({ action: "decline" }), sample: (json) => json, roots: () => '{"roots":[{"uri":"file:///x"}]}' },
  system: {
    sleep: (ms) => void Atomics.wait(wait, 0, 0, Number(ms)),
    random: (count) => randomFillSync(new Uint8Array(count)),
  },
};
