// The package `aih-plugin`: what a plugin or a hook imports.
import * as raw from "./host.js";
import { writeLog } from "./globals/console.js";
import { utf8Decode, utf8Encode, viewBytes } from "./globals/encoding.js";

export { HostError } from "./host.js";
export { defineHook, definePlugin, defineTool } from "./define.js";
export { audio, error, image, json, resource, resourceLink, text } from "./content.js";
export { format, inspect } from "./globals/inspect.js";
export { base64ToBytes, bytesToBase64 } from "./globals/base64.js";

/** Lines for the operator's log, with fields beside the text. */
export const log = Object.freeze({
  trace: (message, fields) => writeLog("trace", String(message), fields),
  debug: (message, fields) => writeLog("debug", String(message), fields),
  info: (message, fields) => writeLog("info", String(message), fields),
  warn: (message, fields) => writeLog("warn", String(message), fields),
  error: (message, fields) => writeLog("error", String(message), fields),
});

const config = Object.freeze({
  /** A value of the `config:` map that the operator wrote, or `fallback`. */
  get(key, fallback = undefined) {
    const value = raw.hostCall(`config "${key}"`, () => raw.config.get(String(key)));
    return value === undefined || value === null ? fallback : JSON.parse(value);
  },
});

const secrets = Object.freeze({
  /** A secret that `grants.secrets` names. Throws a `HostError` where it is not granted, not set or unavailable. */
  get(name) {
    const key = String(name);
    try {
      return raw.hostCall(`secret "${key}"`, () => raw.config.secret(key));
    } catch (error) {
      if (error.code === "not-granted") error.message = `secret "${key}" is not granted: the operator adds it to grants.secrets`;
      if (error.code === "not-set") error.message = `secret "${key}" is granted and has no value`;
      if (error.code === "unavailable") error.message = `secret "${key}": its provider did not answer`;
      throw error;
    }
  },
});

const MOST_TRIES = 100;

function bytesOf(entry) {
  return entry === undefined || entry === null ? undefined : { value: Uint8Array.from(entry.value), version: Number(entry.version) };
}

function valueOf(entry) {
  return entry === undefined ? undefined : { value: JSON.parse(utf8Decode(entry.value)), version: entry.version };
}

const state = Object.freeze({
  /** The value of a key as JSON, or `undefined`. */
  async get(key) {
    return (await state.entry(key))?.value;
  },
  /** The value of a key as JSON with its version, or `undefined`. */
  async entry(key) {
    return valueOf(await state.entryBytes(key));
  },
  /** The same as bytes. */
  async entryBytes(key) {
    return bytesOf(raw.hostCall(`state "${key}"`, () => raw.state.get(String(key))));
  },
  async getBytes(key) {
    return (await state.entryBytes(key))?.value;
  },
  /** Writes a value that JSON can hold and answers its version. `expect`: the version that must be there, 0 for none. */
  async set(key, value, { expect } = {}) {
    const json = JSON.stringify(value);
    if (json === undefined) throw new TypeError(`state "${key}": the value cannot be written as JSON`);
    return state.setBytes(key, utf8Encode(json), { expect });
  },
  async setBytes(key, value, { expect } = {}) {
    return Number(raw.hostCall(`state "${key}"`, () => raw.state.set(String(key), viewBytes(value).slice(), expect)));
  },
  /**
   * Reads, changes and writes a value. Calls take turns at a key, within their time; where another call was faster all the
   * same, because it wrote without this function or `change` took longer than a second, it begins again.
   */
  async update(key, change) {
    for (let tries = 1; ; tries++) {
      const entry = valueOf(bytesOf(raw.hostCall(`state "${key}"`, () => raw.state.getForUpdate(String(key)))));
      const value = await change(entry?.value);
      try {
        await state.set(key, value, { expect: entry?.version ?? 0 });
        return value;
      } catch (error) {
        if (error.code !== "conflict" || tries >= MOST_TRIES) throw error;
      }
    }
  },
  async delete(key) {
    raw.hostCall(`state "${key}"`, () => raw.state.delete(String(key)));
  },
  /** The keys that begin with a prefix, in order. */
  async keys(prefix = "", { limit = Infinity } = {}) {
    const found = [];
    let cursor;
    do {
      const [page, next] = raw.hostCall("state keys", () => raw.state.keys(String(prefix), cursor, Math.min(1000, limit - found.length)));
      found.push(...page);
      cursor = next ?? undefined;
    } while (cursor !== undefined && found.length < limit);
    return found;
  },
});

const mcp = Object.freeze({
  /** The tools of a server behind the hub that this plugin may call. */
  async listTools(server) {
    return JSON.parse(raw.hostCall(`MCP "${server}"`, () => raw.mcp.listTools(String(server))));
  },
  /** Calls a tool and answers MCP's result: `{ content, structuredContent, isError }`. */
  async callTool(server, name, args = {}) {
    return JSON.parse(raw.hostCall(`MCP "${server}", tool "${name}"`, () => raw.mcp.callTool(String(server), String(name), JSON.stringify(args))));
  },
});

const progress = Object.freeze({
  /** Tells the client how far the call is, if it asked. */
  report(done, total, message) {
    raw.hostCall("progress", () => raw.progress.report(Number(done), total === undefined || total === null ? undefined : Number(total), message === undefined || message === null ? undefined : String(message)));
  },
  /** Whether the client gave up on the call. */
  cancelled() {
    return raw.hostCall("progress", () => raw.progress.cancelled());
  },
});

const client = Object.freeze({
  /** Asks the person at the client. Takes MCP's `elicitation/create` parameters, or a message and a schema. */
  async elicit(message, requestedSchema) {
    const params = typeof message === "string" ? { message, requestedSchema: requestedSchema ?? { type: "object", properties: {} } } : message;
    return JSON.parse(raw.hostCall("elicitation", () => raw.client.elicit(JSON.stringify(params))));
  },
  /** Asks the client's model. Takes MCP's `sampling/createMessage` parameters, or a text. */
  async sample(params) {
    const full = typeof params === "string" ? { messages: [{ role: "user", content: { type: "text", text: params } }], maxTokens: 1024 } : params;
    return JSON.parse(raw.hostCall("sampling", () => raw.client.sample(JSON.stringify(full))));
  },
  /** The client's roots: `[{ uri, name }]`. */
  async roots() {
    return JSON.parse(raw.hostCall("roots", () => raw.client.roots())).roots;
  },
});

/** What the hub offers. */
export const host = Object.freeze({ config, secrets, state, mcp, progress, client, log });
