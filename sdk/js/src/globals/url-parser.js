// The URL Standard's basic parser. A record is a plain object:
// { scheme, username, password, host, port, path, query, fragment }, with `host`, `port`, `query` and `fragment` null
// where they are missing, and `path` a list of segments or, for an opaque path, a string.
import { parseHost } from "./host-parser.js";
import {
  C0_SET, FRAGMENT_SET, PATH_SET, QUERY_SET, SPECIAL_QUERY_SET, USERINFO_SET, percentEncode, usv,
} from "./percent.js";

export const SPECIAL_PORTS = { "http:": 80, "https:": 443, "ws:": 80, "wss:": 443, "ftp:": 21, "file:": null };
export const isSpecial = (url) => Object.hasOwn(SPECIAL_PORTS, url.scheme);

const isSingleDot = (segment) => /^(\.|%2e)$/i.test(segment);
const isDoubleDot = (segment) => /^(\.|%2e)(\.|%2e)$/i.test(segment);
const isDriveLetter = (text) => /^[a-zA-Z][:|]$/.test(text);
const startsWithDriveLetter = (text) => /^[a-zA-Z][:|]([/\\?#]|$)/.test(text);

function emptyRecord() {
  return { scheme: "", username: "", password: "", host: null, port: null, path: [], query: null, fragment: null };
}

function shorten(url) {
  if (url.scheme === "file:" && url.path.length === 1 && /^[a-zA-Z]:$/.test(url.path[0])) return;
  url.path.pop();
}

/** Parses against an optional base record. Answers a record, or `null` where the input is not a URL. */
export function parseUrl(input, base) {
  // eslint-disable-next-line no-control-regex
  const text = usv(input).replace(/^[\0-\x20]+|[\0-\x20]+$/g, "").replace(/[\t\n\r]/g, "");
  const url = emptyRecord();
  const scheme = /^[a-zA-Z][a-zA-Z0-9+\-.]*:/.exec(text);
  if (scheme !== null) {
    url.scheme = scheme[0].toLowerCase();
    const rest = text.slice(scheme[0].length);
    if (url.scheme === "file:") return parseFile(url, rest, base?.scheme === "file:" ? base : undefined);
    if (isSpecial(url)) {
      // "http:relative" resolves against a base of the same scheme; with slashes, or without a base, it has a host.
      if (base !== undefined && base.scheme === url.scheme && !rest.startsWith("//")) return parseRelative(url, rest, base);
      return parseAuthority(url, rest.replace(/^[/\\]*/, ""));
    }
    if (rest.startsWith("//")) return parseAuthority(url, rest.slice(2));
    if (rest.startsWith("/")) return parsePathStart(url, rest);
    return parseOpaque(url, rest);
  }
  if (base === undefined) return null;
  if (typeof base.path === "string") {
    if (!text.startsWith("#")) return null;
    return { ...base, fragment: percentEncode(text.slice(1), FRAGMENT_SET) };
  }
  url.scheme = base.scheme;
  return base.scheme === "file:" ? parseFile(url, text, base) : parseRelative(url, text, base);
}

function parseRelative(url, rest, base) {
  const slash = isSpecial(url) ? /^[/\\]/ : /^\//;
  if (slash.test(rest)) {
    if (slash.test(rest.slice(1))) {
      return parseAuthority(url, isSpecial(url) ? rest.replace(/^[/\\]*/, "") : rest.slice(2));
    }
    Object.assign(url, { username: base.username, password: base.password, host: base.host, port: base.port });
    return parsePathStart(url, rest);
  }
  Object.assign(url, { username: base.username, password: base.password, host: base.host, port: base.port });
  url.path = [...base.path];
  url.query = base.query;
  if (rest === "") return url;
  if (rest[0] === "?" || rest[0] === "#") {
    if (rest[0] === "?") url.query = null;
    return parseTail(url, rest);
  }
  url.query = null;
  shorten(url);
  return parsePath(url, rest);
}

function parseAuthority(url, rest) {
  const end = rest.search(isSpecial(url) ? /[/\\?#]/ : /[/?#]/);
  let authority = end < 0 ? rest : rest.slice(0, end);
  const tail = end < 0 ? "" : rest.slice(end);
  const at = authority.lastIndexOf("@");
  if (at >= 0) {
    const credentials = authority.slice(0, at);
    const colon = credentials.indexOf(":");
    url.username = percentEncode(colon < 0 ? credentials : credentials.slice(0, colon), USERINFO_SET);
    url.password = colon < 0 ? "" : percentEncode(credentials.slice(colon + 1), USERINFO_SET);
    authority = authority.slice(at + 1);
    if (authority === "") return null;
  }
  const { name, port } = splitPort(authority);
  if (name === "" && (isSpecial(url) || port !== undefined)) return null;
  if (port !== undefined && port !== "" && !setPort(url, port)) return null;
  const host = name === "" ? "" : parseHost(name, !isSpecial(url));
  if (host === null) return null;
  url.host = host;
  return parsePathStart(url, tail);
}

/** A host and what stands behind its colon; colons in brackets belong to the host. */
export function splitPort(authority) {
  const bracket = authority.lastIndexOf("]");
  const colon = authority.indexOf(":", bracket < 0 || !authority.startsWith("[") ? 0 : bracket);
  return colon < 0 ? { name: authority, port: undefined } : { name: authority.slice(0, colon), port: authority.slice(colon + 1) };
}

/** Sets a port of digits, or says that it is none. */
export function setPort(url, text) {
  if (!/^[0-9]+$/.test(text) || Number(text) > 65535) return false;
  url.port = Number(text) === SPECIAL_PORTS[url.scheme] ? null : Number(text);
  return true;
}

function parseFile(url, rest, base) {
  url.host = "";
  const slash = /^[/\\]/;
  if (slash.test(rest)) {
    if (slash.test(rest.slice(1))) return parseFileHost(url, rest.slice(2));
    if (base !== undefined) {
      url.host = base.host;
      if (!startsWithDriveLetter(rest.slice(1)) && /^[a-zA-Z]:$/.test(base.path[0] ?? "")) url.path.push(base.path[0]);
    }
    return parsePath(url, rest);
  }
  if (base === undefined) return parsePath(url, rest);
  url.host = base.host;
  url.path = [...base.path];
  url.query = base.query;
  if (rest === "") return url;
  if (rest[0] === "?" || rest[0] === "#") {
    if (rest[0] === "?") url.query = null;
    return parseTail(url, rest);
  }
  url.query = null;
  if (startsWithDriveLetter(rest)) url.path = [];
  else shorten(url);
  return parsePath(url, rest);
}

function parseFileHost(url, rest) {
  const end = rest.search(/[/\\?#]/);
  const name = end < 0 ? rest : rest.slice(0, end);
  if (isDriveLetter(name)) return parsePath(url, rest);
  if (name !== "") {
    const host = parseHost(name, false);
    if (host === null) return null;
    url.host = host === "localhost" ? "" : host;
  }
  return parsePathStart(url, end < 0 ? "" : rest.slice(end));
}

function parsePathStart(url, rest) {
  if (isSpecial(url)) return parsePath(url, rest);
  if (rest === "" || rest[0] === "?" || rest[0] === "#") return parseTail(url, rest);
  return parsePath(url, rest);
}

/** The path state: `rest` with or without a leading slash, then the query and the fragment. */
export function parsePath(url, rest, only = false) {
  const end = only ? -1 : rest.search(/[?#]/);
  let path = end < 0 ? rest : rest.slice(0, end);
  if (isSpecial(url)) path = path.replace(/\\/g, "/");
  if (only) path = path.replace(/[?#]/g, (char) => (char === "?" ? "%3F" : "%23"));
  if (path.startsWith("/")) path = path.slice(1);
  const segments = path.split("/");
  segments.forEach((raw, index) => {
    const last = index === segments.length - 1;
    let segment = percentEncode(raw, PATH_SET);
    if (isDoubleDot(segment)) {
      shorten(url);
      if (last) url.path.push("");
    } else if (isSingleDot(segment)) {
      if (last) url.path.push("");
    } else {
      if (url.scheme === "file:" && url.path.length === 0 && isDriveLetter(segment)) segment = `${segment[0]}:`;
      url.path.push(segment);
    }
  });
  return end < 0 ? url : parseTail(url, rest.slice(end));
}

function parseOpaque(url, rest) {
  const end = rest.search(/[?#]/);
  url.path = percentEncode(end < 0 ? rest : rest.slice(0, end), C0_SET);
  return end < 0 ? url : parseTail(url, rest.slice(end));
}

/** `?query#fragment`. */
function parseTail(url, rest) {
  if (rest === "") return url;
  const hash = rest.indexOf("#");
  const query = hash < 0 ? rest : rest.slice(0, hash);
  if (query.startsWith("?")) url.query = encodeQuery(url, query.slice(1));
  if (hash >= 0) url.fragment = percentEncode(rest.slice(hash + 1), FRAGMENT_SET);
  return url;
}

export function encodeQuery(url, text) {
  return percentEncode(text, isSpecial(url) ? SPECIAL_QUERY_SET : QUERY_SET);
}

export function serializePath(url) {
  return typeof url.path === "string" ? url.path : url.path.map((segment) => `/${segment}`).join("");
}

export function serializeHost(url) {
  if (url.host === null) return "";
  return url.port === null ? url.host : `${url.host}:${url.port}`;
}

export function serializeUrl(url, withFragment = true) {
  let out = url.scheme;
  if (url.host !== null) {
    out += "//";
    if (url.username !== "" || url.password !== "") {
      out += url.username + (url.password === "" ? "" : `:${url.password}`) + "@";
    }
    out += serializeHost(url);
  } else if (typeof url.path !== "string" && url.path.length > 1 && url.path[0] === "") {
    out += "/.";
  }
  out += serializePath(url);
  if (url.query !== null) out += `?${url.query}`;
  if (withFragment && url.fragment !== null) out += `#${url.fragment}`;
  return out;
}
