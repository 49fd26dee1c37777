// Percent-encoding as the URL Standard has it.
import { utf8Encode, utf8Decode } from "./encoding.js";

/** A string without lone surrogates. */
export function usv(value) {
  const text = String(value);
  return /[\ud800-\udfff]/.test(text)
    ? text.replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g, (found) => (found.length === 2 ? found : "\ufffd"))
    : text;
}

// A pattern a set: a character that has to be encoded. Everything above U+007E and all controls belong to each.
const set = (chars) => new RegExp(`[\\u0000-\\u001f\\u007f-\\uffff${chars}]`);
const FRAGMENT = " \"<>`";
const PATH = " \"#<>?`{}\\^";
const USERINFO = PATH + "/:;=@\\[\\\\\\]|";
export const C0_SET = set("");
export const FRAGMENT_SET = set(FRAGMENT);
export const QUERY_SET = set(" \"#<>");
export const SPECIAL_QUERY_SET = set(" \"#<>'");
export const PATH_SET = set(PATH);
export const USERINFO_SET = set(USERINFO);
const FORM_SET = set(USERINFO + "$%&+,!'()~");

const HEX = [];
for (let i = 0; i < 256; i++) HEX.push("%" + (i < 16 ? "0" : "") + i.toString(16).toUpperCase());

/** `text` with every character of a set as `%XX` of its UTF-8 bytes. */
export function percentEncode(text, pattern) {
  if (!pattern.test(text)) return text;
  let out = "";
  for (const char of text) {
    if (!pattern.test(char)) out += char;
    else for (const byte of utf8Encode(char)) out += HEX[byte];
  }
  return out;
}

/** The bytes of a text whose `%XX` are undone. */
export function percentDecode(text) {
  const bytes = utf8Encode(text);
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === 0x25 && i + 2 < bytes.length) {
      const high = hex(bytes[i + 1]);
      const low = hex(bytes[i + 2]);
      if (high >= 0 && low >= 0) {
        bytes[at++] = high * 16 + low;
        i += 2;
        continue;
      }
    }
    bytes[at++] = bytes[i];
  }
  return bytes.subarray(0, at);
}

function hex(byte) {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** `application/x-www-form-urlencoded` of pairs. */
export function formEncode(pairs) {
  const encode = (text) => percentEncode(text, FORM_SET).replace(/%20/g, "+");
  return pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");
}

/** Pairs of an `application/x-www-form-urlencoded` text. */
export function formDecode(text) {
  const pairs = [];
  for (const part of text.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? "" : part.slice(equals + 1);
    pairs.push([formPart(name), formPart(value)]);
  }
  return pairs;
}

function formPart(text) {
  const spaced = text.replace(/\+/g, " ");
  if (!spaced.includes("%")) return usv(spaced);
  // Without taking off a BOM: the standard decodes "without BOM handling" here.
  const bytes = percentDecode(spaced);
  const bom = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return (bom ? "\ufeff" : "") + utf8Decode(bytes);
}
