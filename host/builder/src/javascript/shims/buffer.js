// Node's Buffer, as far as packages use it: a Uint8Array with text encodings.
const encoder = () => new globalThis.TextEncoder();

function encoding(name) {
  const known = { utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", latin1: "latin1", binary: "latin1", ascii: "ascii", ucs2: "utf16le", "ucs-2": "utf16le", utf16le: "utf16le", "utf-16le": "utf16le" };
  const found = known[String(name ?? "utf8").toLowerCase()];
  if (found === undefined) throw new TypeError(`Unknown encoding: ${name}`);
  return found;
}

const latin1 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
};

function encode(text, name) {
  switch (encoding(name)) {
    case "hex": {
      const digits = text.match(/^(?:[0-9a-f]{2})*/i)[0];
      return Uint8Array.from({ length: digits.length / 2 }, (_, at) => parseInt(digits.slice(2 * at, 2 * at + 2), 16));
    }
    case "base64":
    case "base64url": {
      const plain = text.replaceAll("-", "+").replaceAll("_", "/").replace(/[^A-Za-z0-9+/]/g, "");
      const whole = plain.length % 4 === 1 ? plain.slice(0, -1) : plain;
      return Uint8Array.from(globalThis.atob(whole.padEnd(Math.ceil(whole.length / 4) * 4, "=")), (one) => one.charCodeAt(0));
    }
    case "latin1":
    case "ascii":
      return Uint8Array.from(text, (one) => one.charCodeAt(0) & 255);
    case "utf16le": {
      const bytes = new Uint8Array(text.length * 2);
      for (let at = 0; at < text.length; at += 1) bytes.set([text.charCodeAt(at) & 255, text.charCodeAt(at) >> 8], 2 * at);
      return bytes;
    }
    default:
      return encoder().encode(text);
  }
}

function decode(bytes, name) {
  switch (encoding(name)) {
    case "hex":
      return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    case "base64":
      return globalThis.btoa(latin1(bytes));
    case "base64url":
      return globalThis.btoa(latin1(bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    case "latin1":
      return latin1(bytes);
    case "ascii":
      return latin1(bytes.map((byte) => byte & 127));
    case "utf16le":
      return new globalThis.TextDecoder("utf-16le").decode(bytes);
    default:
      return new globalThis.TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }
}

const own = (bytes) => new Buffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const bytesOf = (value, name) => (typeof value === "string" ? encode(value, name) : value);

export class Buffer extends Uint8Array {
  static poolSize = 8192;

  static from(value, second, third) {
    if (typeof value === "string") return own(encode(value, second));
    if (value instanceof ArrayBuffer) return new Buffer(value, second, third);
    if (value?.type === "Buffer" && Array.isArray(value.data)) return own(Uint8Array.from(value.data));
    if (value !== null && typeof value === "object") return own(Uint8Array.from(value));
    throw new TypeError("a Buffer is made of text, of bytes or of a list");
  }
  static alloc(size, fill, name) {
    const buffer = new Buffer(size);
    return fill === undefined || size === 0 ? buffer : buffer.fill(fill, name);
  }
  static allocUnsafe(size) { return new Buffer(size); }
  static allocUnsafeSlow(size) { return new Buffer(size); }
  static isBuffer(value) { return value instanceof Buffer; }
  static isEncoding(name) {
    try {
      encoding(name);
      return typeof name === "string";
    } catch {
      return false;
    }
  }
  static byteLength(value, name) { return typeof value === "string" ? encode(value, name).length : value.byteLength; }
  static concat(list, length = list.reduce((sum, one) => sum + one.length, 0)) {
    const buffer = new Buffer(length);
    let at = 0;
    for (const one of list) {
      if (at >= length) break;
      buffer.set(one.subarray(0, length - at), at);
      at += one.length;
    }
    return buffer;
  }
  static compare(a, b) {
    const common = Math.min(a.length, b.length);
    for (let at = 0; at < common; at += 1) {
      if (a[at] !== b[at]) return a[at] < b[at] ? -1 : 1;
    }
    return Math.sign(a.length - b.length);
  }

  toString(name, start = 0, end = this.length) { return decode(this.subarray(Math.max(0, start), end), name); }
  toJSON() { return { type: "Buffer", data: [...this] }; }
  equals(other) { return Buffer.compare(this, other) === 0; }
  compare(other) { return Buffer.compare(this, other); }
  slice(start, end) { return this.subarray(start, end); }
  copy(target, at = 0, start = 0, end = this.length) {
    const part = this.subarray(start, Math.min(end, start + Math.max(0, target.length - at)));
    target.set(part, at);
    return part.length;
  }
  write(text, at = 0, length, name) {
    if (typeof at === "string") return this.write(text, 0, undefined, at);
    if (typeof length === "string") return this.write(text, at, undefined, length);
    const bytes = encode(text, name).subarray(0, Math.min(length ?? Infinity, this.length - at));
    this.set(bytes, at);
    return bytes.length;
  }
  fill(value, start = 0, end = this.length, name) {
    if (typeof start === "string") return this.fill(value, 0, this.length, start);
    if (typeof value === "number") return super.fill(value, start, end);
    const bytes = bytesOf(value, name);
    for (let at = start; at < end && bytes.length > 0; at += 1) this[at] = bytes[(at - start) % bytes.length];
    return this;
  }
  indexOf(value, from = 0, name) {
    if (typeof value === "number") return super.indexOf(value, from);
    const bytes = bytesOf(value, name);
    for (let at = Math.max(0, from < 0 ? this.length + from : from); at + bytes.length <= this.length; at += 1) {
      if (bytes.every((byte, index) => this[at + index] === byte)) return at;
    }
    return -1;
  }
  includes(value, from, name) { return this.indexOf(value, from, name) >= 0; }
}

const view = (buffer) => new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
for (const [name, kind, size] of [["Int8", "Int8", 1], ["UInt8", "Uint8", 1], ["Int16", "Int16", 2], ["UInt16", "Uint16", 2], ["Int32", "Int32", 4], ["UInt32", "Uint32", 4], ["BigInt64", "BigInt64", 8], ["BigUInt64", "BigUint64", 8], ["Float", "Float32", 4], ["Double", "Float64", 8]]) {
  for (const end of size === 1 ? [""] : ["LE", "BE"]) {
    const read = function (at = 0) { return view(this)[`get${kind}`](at, end === "LE"); };
    const write = function (value, at = 0) {
      view(this)[`set${kind}`](at, value, end === "LE");
      return at + size;
    };
    for (const alias of new Set([name, name.replace("UInt", "Uint")])) {
      Object.defineProperty(Buffer.prototype, `read${alias}${end}`, { value: read, writable: true, configurable: true });
      Object.defineProperty(Buffer.prototype, `write${alias}${end}`, { value: write, writable: true, configurable: true });
    }
  }
}

export const constants = { MAX_LENGTH: 2 ** 31 - 1, MAX_STRING_LENGTH: 2 ** 29 };
export const kMaxLength = constants.MAX_LENGTH;
const { Blob, File, atob, btoa } = globalThis;
export { Blob, File, atob, btoa };
export default { Buffer, Blob, File, atob, btoa, constants, kMaxLength };
