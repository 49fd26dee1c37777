// atob and btoa, and the same for bytes.
import { DOMException } from "./dom-exception.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

function encode(length, at) {
  const parts = [];
  let text = "";
  for (let i = 0; i < length; i += 3) {
    const left = length - i;
    const word = (at(i) << 16) | ((left > 1 ? at(i + 1) : 0) << 8) | (left > 2 ? at(i + 2) : 0);
    text += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63]
      + (left > 1 ? ALPHABET[(word >> 6) & 63] : "=") + (left > 2 ? ALPHABET[word & 63] : "=");
    if (text.length > 8000) {
      parts.push(text);
      text = "";
    }
  }
  parts.push(text);
  return parts.join("");
}

function wrong() {
  return new DOMException("The string to be decoded is not correctly encoded.", "InvalidCharacterError");
}

// The engine's own functions are many times as fast. Where they refuse, the ones here say why in the platform's form.
const engine = { atob: globalThis.atob, btoa: globalThis.btoa };
function quickly(name, text) {
  if (typeof engine[name] !== "function") return undefined;
  try {
    return engine[name](text);
  } catch {
    return undefined;
  }
}

/** A string with a character for each byte. */
function binary(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 8192) parts.push(String.fromCharCode.apply(null, bytes.subarray(i, i + 8192)));
  return parts.join("");
}

/** Base64 of bytes. */
export function bytesToBase64(bytes) {
  return quickly("btoa", binary(bytes)) ?? encode(bytes.length, (i) => bytes[i]);
}

/** Bytes of a base64 text, by the forgiving rules of `atob`. */
export function base64ToBytes(text) {
  const quick = quickly("atob", String(text));
  if (quick !== undefined) {
    const bytes = new Uint8Array(quick.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = quick.charCodeAt(i);
    return bytes;
  }
  let data = String(text).replace(/[\t\n\f\r ]+/g, "");
  if (data.length % 4 === 0) data = data.replace(/={1,2}$/, "");
  if (data.length % 4 === 1) throw wrong();
  const bytes = new Uint8Array(Math.floor((data.length * 3) / 4));
  let at = 0;
  let word = 0;
  let bits = 0;
  for (let i = 0; i < data.length; i++) {
    const code = data.charCodeAt(i);
    const value = code < 128 ? VALUES[code] : -1;
    if (value < 0) throw wrong();
    word = ((word << 6) | value) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (word >> bits) & 255;
    }
  }
  return bytes;
}

export function btoa(value) {
  if (arguments.length === 0) throw new TypeError('The "data" argument must be specified');
  const text = String(value);
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 255) throw new DOMException("Invalid character", "InvalidCharacterError");
  }
  return quickly("btoa", text) ?? encode(text.length, (i) => text.charCodeAt(i));
}

export function atob(value) {
  if (arguments.length === 0) throw new TypeError('The "data" argument must be specified');
  return quickly("atob", String(value)) ?? binary(base64ToBytes(value));
}
