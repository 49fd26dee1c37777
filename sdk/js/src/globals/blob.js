// Blob, File and FormData, with multipart/form-data in both directions.
import { utf8Decode, utf8Encode, viewBytes } from "./encoding.js";
import { usv } from "./percent.js";
import { byteStream } from "./stream.js";

export function concatBytes(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export class Blob {
  #bytes;
  #type;
  constructor(parts = [], options = {}) {
    if (parts === null || typeof parts !== "object" || typeof parts[Symbol.iterator] !== "function") {
      throw new TypeError("A Blob is made of a list of parts");
    }
    const pieces = [];
    for (const part of parts) {
      if (part instanceof Blob) pieces.push(part.#bytes);
      else if (ArrayBuffer.isView(part) || part instanceof ArrayBuffer) pieces.push(viewBytes(part));
      else pieces.push(utf8Encode(usv(part)));
    }
    this.#bytes = concatBytes(pieces);
    const type = String(options?.type ?? "");
    this.#type = /[^\x20-\x7e]/.test(type) ? "" : type.toLowerCase();
  }
  static _bytes(blob) { return blob.#bytes; }
  get size() { return this.#bytes.length; }
  get type() { return this.#type; }
  slice(start = 0, end = this.#bytes.length, type = "") {
    return new Blob([this.#bytes.slice(start, end)], { type });
  }
  async arrayBuffer() { return this.#bytes.slice().buffer; }
  async bytes() { return this.#bytes.slice(); }
  async text() { return utf8Decode(this.#bytes); }
  stream() { return byteStream(this.#bytes.slice()); }
  get [Symbol.toStringTag]() { return "Blob"; }
}

export class File extends Blob {
  #name;
  #lastModified;
  constructor(parts, name, options = {}) {
    if (arguments.length < 2) throw new TypeError("A File has parts and a name");
    super(parts, options);
    this.#name = usv(name);
    this.#lastModified = options?.lastModified === undefined ? Date.now() : Math.trunc(Number(options.lastModified)) || 0;
  }
  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  get webkitRelativePath() { return ""; }
  get [Symbol.toStringTag]() { return "File"; }
}

export class FormData {
  #entries = [];
  constructor(form = undefined) {
    if (form !== undefined) throw new TypeError("There is no HTML form here: FormData takes no argument");
  }
  #value(value, filename, given) {
    if (value instanceof Blob) {
      if (value instanceof File && !given) return value;
      return new File([value], given ? usv(filename) : value instanceof File ? value.name : "blob", { type: value.type, lastModified: value.lastModified });
    }
    if (given) throw new TypeError("A file name goes with a Blob");
    return usv(value);
  }
  append(name, value, filename) { this.#entries.push([usv(name), this.#value(value, filename, arguments.length > 2)]); }
  set(name, value, filename) {
    const key = usv(name);
    const entry = [key, this.#value(value, filename, arguments.length > 2)];
    const index = this.#entries.findIndex((other) => other[0] === key);
    if (index < 0) this.#entries.push(entry);
    else this.#entries = this.#entries.flatMap((other, i) => (i === index ? [entry] : other[0] === key ? [] : [other]));
  }
  delete(name) { this.#entries = this.#entries.filter((entry) => entry[0] !== usv(name)); }
  get(name) { return this.#entries.find((entry) => entry[0] === usv(name))?.[1] ?? null; }
  getAll(name) { return this.#entries.filter((entry) => entry[0] === usv(name)).map((entry) => entry[1]); }
  has(name) { return this.#entries.some((entry) => entry[0] === usv(name)); }
  forEach(callback, thisArg = undefined) {
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }
  *entries() { for (const entry of this.#entries) yield [...entry]; }
  *keys() { for (const [name] of this.#entries) yield name; }
  *values() { for (const [, value] of this.#entries) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  get [Symbol.toStringTag]() { return "FormData"; }
}

const escapeName = (text) => text.replace(/\r\n?|\n/g, "\r\n").replace(/\r/g, "%0D").replace(/\n/g, "%0A").replace(/"/g, "%22");

/** `multipart/form-data` of a form. */
export function encodeMultipart(form, boundary) {
  const parts = [];
  for (const [name, value] of form) {
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(name)}"`;
    if (value instanceof Blob) {
      head += `; filename="${escapeName(value.name)}"\r\nContent-Type: ${value.type || "application/octet-stream"}`;
    }
    parts.push(utf8Encode(`${head}\r\n\r\n`), value instanceof Blob ? Blob._bytes(value) : utf8Encode(value.replace(/\r\n?|\n/g, "\r\n")), utf8Encode("\r\n"));
  }
  parts.push(utf8Encode(`--${boundary}--\r\n`));
  return concatBytes(parts);
}

function find(bytes, wanted, from) {
  outer: for (let i = from; i <= bytes.length - wanted.length; i++) {
    for (let j = 0; j < wanted.length; j++) if (bytes[i + j] !== wanted[j]) continue outer;
    return i;
  }
  return -1;
}

/** The form in a `multipart/form-data` body. Throws where it is malformed. */
export function decodeMultipart(bytes, boundary) {
  const form = new FormData();
  const wrong = () => new TypeError("The body is not valid multipart/form-data");
  const rule = utf8Encode(`--${boundary}`);
  let at = find(bytes, rule, 0);
  if (at < 0) throw wrong();
  for (;;) {
    at += rule.length;
    if (bytes[at] === 0x2d && bytes[at + 1] === 0x2d) return form;
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) throw wrong();
    const head = find(bytes, [13, 10, 13, 10], at);
    const end = find(bytes, [13, 10, ...rule], head < 0 ? at : head + 2);
    if (head < 0 || end < 0) throw wrong();
    const lines = utf8Decode(bytes.subarray(at + 2, head)).split("\r\n");
    const header = (name) => lines.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim();
    const disposition = header("content-disposition") ?? "";
    const parameter = (name) => new RegExp(`[;\\s]${name}="([^"]*)"`).exec(disposition)?.[1].replace(/%22/g, '"').replace(/%0D/gi, "\r").replace(/%0A/gi, "\n");
    const name = parameter("name");
    if (!/^form-data/i.test(disposition) || name === undefined) throw wrong();
    const filename = parameter("filename");
    const body = bytes.slice(head + 4, Math.max(end, head + 4));
    form.append(name, filename === undefined ? utf8Decode(body) : new File([body], filename, { type: header("content-type") ?? "text/plain" }));
    at = end + 2;
  }
}
