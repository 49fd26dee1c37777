// fetch, Request and Response over the host's one-call HTTP.
import * as host from "../host.js";
import { base64ToBytes } from "./base64.js";
import { Blob, FormData, decodeMultipart, encodeMultipart } from "./blob.js";
import { randomBytes } from "./crypto.js";
import { DOMException } from "./dom-exception.js";
import { utf8Decode, utf8Encode, viewBytes } from "./encoding.js";
import { AbortSignal } from "./events.js";
import { Headers } from "./headers.js";
import { formDecode, percentDecode, usv } from "./percent.js";
import { byteStream } from "./stream.js";
import { URL, URLSearchParams } from "./url.js";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const STATUS_WITHOUT_BODY = new Set([101, 103, 204, 205, 304]);

/** The bytes of what can be a body, and the content type that goes with it. */
function extractBody(body) {
  if (body === undefined || body === null) return { bytes: null, type: null };
  if (body instanceof URLSearchParams) return { bytes: utf8Encode(body.toString()), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  if (body instanceof FormData) {
    const boundary = `----formdata-aih-${Array.from(randomBytes(12), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    return { bytes: encodeMultipart(body, boundary), type: `multipart/form-data; boundary=${boundary}` };
  }
  if (body instanceof Blob) return { bytes: Blob._bytes(body), type: body.type || null };
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return { bytes: viewBytes(body).slice(), type: null };
  return { bytes: utf8Encode(usv(body)), type: "text/plain;charset=UTF-8" };
}

class Body {
  #bytes = null;
  #used = false;
  #stream;
  _setBody(bytes) { this.#bytes = bytes; }
  _peekBody() { return this.#bytes; }
  #take() {
    if (this.bodyUsed) throw new TypeError("Body is unusable: Body has already been read");
    if (this.#stream?.locked) throw new TypeError("Body is unusable: its stream is locked");
    if (this.#bytes !== null) this.#used = true;
    return this.#bytes ?? new Uint8Array(0);
  }
  get bodyUsed() { return this.#used; }
  get body() {
    if (this.#bytes === null) return null;
    this.#stream ??= byteStream(this.#bytes, () => { this.#used = true; });
    return this.#stream;
  }
  async text() { return utf8Decode(this.#take()); }
  async json() { return JSON.parse(utf8Decode(this.#take())); }
  async bytes() { return this.#take().slice(); }
  async arrayBuffer() { return this.#take().slice().buffer; }
  async blob() { return new Blob([this.#take()], { type: this.headers.get("content-type") ?? "" }); }
  async formData() {
    const type = this.headers.get("content-type") ?? "";
    const bytes = this.#take();
    if (/^application\/x-www-form-urlencoded\b/i.test(type)) {
      const form = new FormData();
      for (const [name, value] of formDecode(utf8Decode(bytes))) form.append(name, value);
      return form;
    }
    const boundary = /^multipart\/form-data\b.*?;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type);
    if (boundary === null) throw new TypeError("The body's content type is not a form");
    return decodeMultipart(bytes, boundary[1] ?? boundary[2]);
  }
  _cloneBody(into) {
    if (this.bodyUsed) throw new TypeError("Response.clone: Body has already been consumed.");
    into._setBody(this.#bytes);
    return into;
  }
}
for (const name of ["_setBody", "_peekBody", "_cloneBody"]) Object.defineProperty(Body.prototype, name, { enumerable: false });

export class Request extends Body {
  #url;
  #method;
  #headers;
  #redirect;
  #signal;
  constructor(input, init = {}) {
    super();
    if (arguments.length === 0) throw new TypeError("Request wants a URL or a Request");
    const from = input instanceof Request ? input : undefined;
    if (from === undefined) {
      const url = URL.parse(`${input}`);
      if (url === null) throw Object.assign(new TypeError(`Failed to parse URL from ${input}`), { cause: Object.assign(new TypeError("Invalid URL"), { code: "ERR_INVALID_URL" }) });
      if (url.username !== "" || url.password !== "") throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${input}`);
      this.#url = url;
    } else {
      this.#url = new URL(from.url);
    }
    const method = String(init?.method ?? from?.method ?? "GET");
    if (!TOKEN.test(method)) throw new TypeError(`'${method}' is not a valid HTTP method.`);
    if (/^(connect|trace|track)$/i.test(method)) throw new TypeError(`'${method}' HTTP method is unsupported.`);
    this.#method = /^(delete|get|head|options|post|put)$/i.test(method) ? method.toUpperCase() : method;
    this.#headers = new Headers(init?.headers ?? from?.headers);
    this.#redirect = init?.redirect ?? from?.redirect ?? "follow";
    if (!["follow", "manual", "error"].includes(this.#redirect)) throw new TypeError(`Request: "${this.#redirect}" is not a redirect mode`);
    const signal = init?.signal === undefined ? from?.signal : init.signal;
    if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal)) throw new TypeError("Request: signal is not an AbortSignal");
    this.#signal = AbortSignal.any(signal ? [signal] : []);
    const given = init?.body;
    if (given !== undefined && given !== null) {
      if (this.#method === "GET" || this.#method === "HEAD") throw new TypeError("Request with GET/HEAD method cannot have body.");
      const { bytes, type } = extractBody(given);
      this._setBody(bytes);
      if (type !== null && !this.#headers.has("content-type")) this.#headers.set("content-type", type);
    } else if (from !== undefined) {
      if (from.bodyUsed) throw new TypeError("Cannot construct a Request with a Request object that has already been used.");
      this._setBody(from._peekBody());
    }
  }
  get url() { return this.#url.href; }
  get method() { return this.#method; }
  get headers() { return this.#headers; }
  get redirect() { return this.#redirect; }
  get signal() { return this.#signal; }
  get mode() { return "cors"; }
  get credentials() { return "same-origin"; }
  get cache() { return "default"; }
  get referrer() { return "about:client"; }
  get integrity() { return ""; }
  get keepalive() { return false; }
  get duplex() { return "half"; }
  clone() { return new Request(this); }
  get [Symbol.toStringTag]() { return "Request"; }
}

export class Response extends Body {
  #status;
  #statusText;
  #headers;
  #type = "default";
  #url = "";
  #redirected = false;
  constructor(body = null, init = {}) {
    super();
    const status = init?.status === undefined ? 200 : Math.trunc(Number(init.status));
    if (!(status >= 200 && status <= 599)) throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.');
    this.#status = status;
    this.#statusText = String(init?.statusText ?? "");
    this.#headers = new Headers(init?.headers);
    if (body !== null && body !== undefined) {
      if (STATUS_WITHOUT_BODY.has(status)) throw new TypeError(`Response constructor: Invalid response status code ${status}`);
      const { bytes, type } = extractBody(body);
      this._setBody(bytes);
      if (type !== null && !this.#headers.has("content-type")) this.#headers.set("content-type", type);
    }
  }
  static _of(status, url, headers, bytes, redirected) {
    const response = new Response(null);
    for (const [name, value] of headers instanceof Array ? headers : Object.entries(headers)) {
      // A server may send what the standard does not allow in a header: that one is left out, not the answer.
      try {
        response.#headers.append(name, value);
      } catch {
        continue;
      }
    }
    response.#headers._fix();
    response.#status = status;
    response.#statusText = REASONS[status] ?? "";
    response.#url = url;
    response.#type = "basic";
    response.#redirected = redirected;
    response._setBody(STATUS_WITHOUT_BODY.has(status) ? null : bytes);
    return response;
  }
  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    return response;
  }
  static json(data, init = {}) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Value is not JSON serializable");
    const headers = new Headers(init?.headers);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(text, { ...init, headers });
  }
  static redirect(url, status = 302) {
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`Invalid status code ${status}`);
    const response = new Response(null, { headers: { location: new URL(url).href } });
    response.#status = status;
    return response;
  }
  get status() { return this.#status; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get statusText() { return this.#statusText; }
  get headers() { return this.#headers; }
  get type() { return this.#type; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  clone() {
    const response = new Response(null, { headers: this.#headers });
    response.#status = this.#status;
    response.#statusText = this.#statusText;
    response.#url = this.#url;
    response.#type = this.#type;
    response.#redirected = this.#redirected;
    return this._cloneBody(response);
  }
  get [Symbol.toStringTag]() { return "Response"; }
}

const REASONS = {
  200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently",
  302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect",
  400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
  406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Payload Too Large",
  415: "Unsupported Media Type", 418: "I'm a Teapot", 422: "Unprocessable Entity", 429: "Too Many Requests",
  500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
};

/** A failed fetch, in the platform's form: a TypeError whose cause says what happened. */
function failed(code, text) {
  const cause = new Error(text);
  cause.code = code;
  return Object.assign(new TypeError(`fetch failed: ${text}`), { cause });
}

function sayWhy(failure, url) {
  const detail = typeof failure.detail === "string" ? failure.detail : "";
  switch (failure.code) {
    case "not-granted": return `${url} is not granted to this plugin${detail ? `: ${detail}` : ""}`;
    case "timed-out": return `${url} did not answer in time`;
    case "too-large": return `the answer of ${url} is larger than the ${failure.detail} bytes that are allowed`;
    case "invalid": return `the request to ${url} is not valid${detail ? `: ${detail}` : ""}`;
    default: return detail ? `${url}: ${detail}` : `${url} could not be reached`;
  }
}

function dataUrl(request) {
  const found = /^data:([^,]*?)(;\s*base64)?,([^#]*)/is.exec(request.url);
  if (found === null) throw failed("invalid", "the data: URL is not valid");
  const raw = percentDecode(found[3]);
  const bytes = found[2] ? base64ToBytes(utf8Decode(raw)) : raw.slice();
  const type = found[1] === "" || found[1].startsWith(";") ? `text/plain${found[1] || ";charset=US-ASCII"}` : found[1];
  return Response._of(200, request.url, { "content-type": type }, bytes, false);
}

// Not async itself: as elsewhere, it is an ordinary function that answers with a promise.
export function fetch(input, init = undefined) {
  return exchange(input, init);
}

async function exchange(input, init) {
  const request = new Request(input, init ?? {});
  request.signal.throwIfAborted();
  const url = new URL(request.url);
  if (url.protocol === "data:") return dataUrl(request);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw failed("invalid", `fetch knows no ${url.protocol} addresses`);
  url.hash = "";
  host.requireHost("fetch");
  const headers = [...request.headers];
  if (request.redirect !== "follow") headers.push(["aih-redirect", "manual"]);
  const deadline = request.signal._deadline;
  let answer;
  try {
    answer = host.http.send({
      method: request.method,
      url: url.href,
      headers,
      body: request._peekBody() ?? undefined,
      timeoutMs: deadline === undefined ? undefined : Math.min(Math.max(1, Math.ceil(deadline - Date.now())), 0x7fffffff),
    });
  } catch (thrown) {
    const failure = host.hostFailure(thrown);
    if (failure === undefined) throw thrown;
    request.signal.throwIfAborted();
    if (failure.code === "timed-out" && deadline !== undefined) {
      throw new DOMException("The operation was aborted due to timeout", "TimeoutError");
    }
    throw failed(failure.code, sayWhy(failure, url.href));
  }
  request.signal.throwIfAborted();
  const location = answer.headers.some(([name]) => name.toLowerCase() === "location");
  if (request.redirect === "error" && location && [301, 302, 303, 307, 308].includes(answer.status)) {
    throw failed("redirect", `${url.href} redirects, and the request forbids redirects`);
  }
  const bytes = answer.body instanceof Uint8Array ? answer.body : Uint8Array.from(answer.body);
  const bare = request.method === "HEAD" ? null : bytes;
  return Response._of(answer.status, answer.url, answer.headers, bare, answer.url !== url.href);
}
