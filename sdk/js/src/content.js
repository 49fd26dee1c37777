// Content blocks and results: what a handler may answer, and how it becomes the record of the WIT.
import { base64ToBytes } from "./globals/base64.js";
import { Blob } from "./globals/blob.js";
import { viewBytes } from "./globals/encoding.js";

const BLOCK = Symbol.for("aih-plugin.block");
const RESULT = Symbol.for("aih-plugin.result");

function block(fields) {
  return Object.defineProperty(fields, BLOCK, { value: true });
}

/** A text block. */
export function text(value) {
  return block({ type: "text", text: String(value) });
}
/** An image block; `data` is bytes, or base64. */
export function image(data, mimeType = "image/png") {
  return block({ type: "image", data, mimeType });
}
/** An audio block; `data` is bytes, or base64. */
export function audio(data, mimeType = "audio/wav") {
  return block({ type: "audio", data, mimeType });
}
/** A link to a resource, as MCP's `resource_link`. */
export function resourceLink(uri, name, more = {}) {
  return block({ type: "resource_link", uri, name, ...more });
}
/** A resource inside the answer, as MCP's `resource`: `{ uri, mimeType, text }` or `{ uri, mimeType, blob }`. */
export function resource(contents) {
  return block({ type: "resource", resource: contents });
}
/** A JSON value: structured content, and the same as text. */
export function json(value) {
  return Object.defineProperty({ structured: value }, RESULT, { value: true });
}
/** A result that the model sees as an error. */
export function error(message) {
  return Object.defineProperty({ content: [text(message)], isError: true }, RESULT, { value: true });
}

const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const TYPES = { text: "text", image: "data", audio: "data", resource: "resource", resource_link: "uri" };

function isBlock(value) {
  if (!isPlain(value)) return false;
  if (value[BLOCK] === true) return true;
  return typeof value.type === "string" && Object.hasOwn(TYPES, value.type) && value[TYPES[value.type]] !== undefined;
}

const RESULT_KEYS = ["content", "structured", "isError", "meta"];
function isResult(value) {
  if (!isPlain(value)) return false;
  if (value[RESULT] === true) return true;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every((key) => RESULT_KEYS.includes(key)) && (Object.hasOwn(value, "content") || Object.hasOwn(value, "structured"));
}

async function bytesOf(data) {
  if (typeof data === "string") return base64ToBytes(data.replace(/^data:[^,]*,/, ""));
  if (data instanceof Blob) return data.bytes();
  return viewBytes(data).slice();
}

async function lowerBlock(value) {
  if (typeof value === "string") return { tag: "text", val: value };
  if (!isBlock(value)) {
    throw new TypeError("content is made of strings and content blocks, such as text(…) and image(…)");
  }
  const extra = value.annotations !== undefined || value._meta !== undefined;
  if (value.type === "text" && !extra) return { tag: "text", val: String(value.text) };
  if ((value.type === "image" || value.type === "audio") && !extra) {
    return { tag: value.type, val: { mimeType: String(value.mimeType ?? (value.type === "image" ? "image/png" : "audio/wav")), data: await bytesOf(value.data) } };
  }
  if (value.type === "resource" || value.type === "resource_link") return { tag: "resource-json", val: stringify(value, "a resource") };
  return { tag: "other", val: stringify(value, "a block") };
}

function stringify(value, what) {
  let made;
  try {
    made = JSON.stringify(value);
  } catch (problem) {
    throw new TypeError(`${what} cannot be written as JSON: ${problem.message}`);
  }
  if (made === undefined) throw new TypeError(`${what} cannot be written as JSON`);
  // Half a surrogate pair is written as an escape that no other language can read.
  if (/\\ud[89a-f]/i.test(made)) made = JSON.stringify(wellFormed(JSON.parse(made)));
  return made;
}

function wellFormed(value) {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.toWellFormed(), wellFormed(item)]));
}

/** The WIT's `output` of whatever a handler answered. */
export async function lowerResult(answer) {
  if (answer === undefined) return output([]);
  if (typeof answer === "string") return output([{ tag: "text", val: answer }]);
  if (isBlock(answer)) return output([await lowerBlock(answer)]);
  if (Array.isArray(answer) && answer.length > 0 && answer.every(isBlock)) return output(await Promise.all(answer.map(lowerBlock)));
  const result = isResult(answer) ? answer : { structured: answer };
  const structured = result.structured === undefined ? undefined : stringify(result.structured, "the structured result");
  const given = result.content === undefined ? [] : Array.isArray(result.content) ? result.content : [result.content];
  const content = await Promise.all(given.map(lowerBlock));
  // Clients that do not know structured content read the text.
  if (result.content === undefined && structured !== undefined) content.push({ tag: "text", val: structured });
  // MCP's structured content is an object; another value stands in one.
  const wrapped = structured === undefined || isPlain(result.structured) ? structured : `{"result":${structured}}`;
  return output(content, wrapped, Boolean(result.isError), result.meta);
}

function output(content, structuredJson = undefined, isError = false, meta = undefined) {
  return { content, structuredJson, isError, extras: meta === undefined ? [] : [["meta", stringify(meta, "the result's meta")]] };
}
