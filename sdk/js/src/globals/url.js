// URL and URLSearchParams over the parser.
import { parseHost } from "./host-parser.js";
import { FRAGMENT_SET, USERINFO_SET, formDecode, formEncode, percentEncode, usv } from "./percent.js";
import {
  SPECIAL_PORTS, encodeQuery, isSpecial, parsePath, parseUrl, serializeHost, serializePath, serializeUrl, setPort, splitPort,
} from "./url-parser.js";

function invalid(input, base) {
  const error = new TypeError("Invalid URL");
  error.code = "ERR_INVALID_URL";
  error.input = input;
  if (base !== undefined) error.base = base;
  return error;
}

function wantArguments(given, wanted) {
  if (given >= wanted.length) return;
  const names = wanted.map((name) => `"${name}"`).join(" and ");
  const error = new TypeError(`The ${names} argument${wanted.length > 1 ? "s" : ""} must be specified`);
  error.code = "ERR_MISSING_ARGS";
  throw error;
}

export class URLSearchParams {
  #pairs = [];
  #changed;
  constructor(init = undefined) {
    if (init === undefined || init === null) return;
    if (typeof init === "object" || typeof init === "function") {
      const iterator = init[Symbol.iterator];
      if (iterator !== undefined && iterator !== null) {
        for (const pair of init) {
          const parts = pair !== null && typeof pair === "object" && Symbol.iterator in pair ? [...pair] : [];
          if (parts.length !== 2) {
            const error = new TypeError("Each query pair must be an iterable [name, value] tuple");
            error.code = "ERR_INVALID_TUPLE";
            throw error;
          }
          this.#pairs.push([usv(parts[0]), usv(parts[1])]);
        }
      } else {
        for (const key of Reflect.ownKeys(init)) {
          if (!Object.getOwnPropertyDescriptor(init, key)?.enumerable) continue;
          const name = usv(key);
          const existing = this.#pairs.find((pair) => pair[0] === name);
          if (existing === undefined) this.#pairs.push([name, usv(init[key])]);
          else existing[1] = usv(init[key]);
        }
      }
      return;
    }
    const text = usv(init);
    this.#pairs = formDecode(text.startsWith("?") ? text.slice(1) : text);
  }
  /** Parameters that tell a URL of every change. */
  static _of(text, changed) {
    const params = new URLSearchParams();
    params.#pairs = formDecode(text);
    params.#changed = changed;
    return params;
  }
  static _refill(params, text) {
    params.#pairs = formDecode(text);
  }
  get size() { return this.#pairs.length; }
  append(name, value) {
    wantArguments(arguments.length, ["name", "value"]);
    this.#pairs.push([usv(name), usv(value)]);
    this.#changed?.();
  }
  delete(name, value) {
    wantArguments(arguments.length, ["name"]);
    const wanted = usv(name);
    const exact = value === undefined ? undefined : usv(value);
    this.#pairs = this.#pairs.filter((pair) => pair[0] !== wanted || (exact !== undefined && pair[1] !== exact));
    this.#changed?.();
  }
  get(name) {
    wantArguments(arguments.length, ["name"]);
    const wanted = usv(name);
    return this.#pairs.find((pair) => pair[0] === wanted)?.[1] ?? null;
  }
  getAll(name) {
    wantArguments(arguments.length, ["name"]);
    const wanted = usv(name);
    return this.#pairs.filter((pair) => pair[0] === wanted).map((pair) => pair[1]);
  }
  has(name, value) {
    wantArguments(arguments.length, ["name"]);
    const wanted = usv(name);
    const exact = value === undefined ? undefined : usv(value);
    return this.#pairs.some((pair) => pair[0] === wanted && (exact === undefined || pair[1] === exact));
  }
  set(name, value) {
    wantArguments(arguments.length, ["name", "value"]);
    const wanted = usv(name);
    const first = this.#pairs.find((pair) => pair[0] === wanted);
    if (first === undefined) {
      this.#pairs.push([wanted, usv(value)]);
    } else {
      first[1] = usv(value);
      this.#pairs = this.#pairs.filter((pair) => pair === first || pair[0] !== wanted);
    }
    this.#changed?.();
  }
  sort() {
    this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#changed?.();
  }
  forEach(callback, thisArg = undefined) {
    if (typeof callback !== "function") {
      const error = new TypeError('The "callback" argument must be of type function.');
      error.code = "ERR_INVALID_ARG_TYPE";
      throw error;
    }
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }
  *entries() { for (let i = 0; i < this.#pairs.length; i++) yield [...this.#pairs[i]]; }
  *keys() { for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][0]; }
  *values() { for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][1]; }
  [Symbol.iterator]() { return this.entries(); }
  toString() { return formEncode(this.#pairs); }
  get [Symbol.toStringTag]() { return "URLSearchParams"; }
}

export class URL {
  #url;
  #params;
  constructor(input, base = undefined) {
    if (arguments.length === 0) wantArguments(0, ["url"]);
    const baseRecord = base === undefined ? undefined : parseUrl(`${base}`, undefined);
    if (baseRecord === null) throw invalid(`${input}`, `${base}`);
    const record = parseUrl(`${input}`, baseRecord);
    if (record === null) throw invalid(`${input}`, base === undefined ? undefined : `${base}`);
    this.#url = record;
  }
  static canParse(input, base = undefined) {
    return URL.parse(input, base) !== null;
  }
  static parse(input, base = undefined) {
    try {
      return new URL(input, base);
    } catch (error) {
      if (error.code === "ERR_INVALID_URL") return null;
      throw error;
    }
  }
  get href() { return serializeUrl(this.#url); }
  set href(value) {
    const record = parseUrl(`${value}`, undefined);
    if (record === null) throw invalid(`${value}`);
    this.#url = record;
    this.#refill();
  }
  get origin() {
    const url = this.#url;
    if (url.scheme === "blob:") {
      const inner = typeof url.path === "string" ? URL.parse(url.path) : null;
      return inner !== null && /^https?:$/.test(inner.protocol) ? inner.origin : "null";
    }
    return isSpecial(url) && url.scheme !== "file:" ? `${url.scheme}//${serializeHost(url)}` : "null";
  }
  get protocol() { return this.#url.scheme; }
  set protocol(value) {
    const found = /^([a-zA-Z][a-zA-Z0-9+\-.]*)(:|$)/.exec(`${value}`.replace(/[\t\n\r]/g, ""));
    if (found === null) return;
    const url = this.#url;
    const scheme = `${found[1].toLowerCase()}:`;
    if (Object.hasOwn(SPECIAL_PORTS, scheme) !== isSpecial(url)) return;
    if (scheme === "file:" && (url.username !== "" || url.password !== "" || url.port !== null)) return;
    if (url.scheme === "file:" && url.host === "") return;
    url.scheme = scheme;
    if (url.port === SPECIAL_PORTS[scheme]) url.port = null;
  }
  get username() { return this.#url.username; }
  set username(value) {
    if (this.#mayHaveCredentials()) this.#url.username = percentEncode(usv(value), USERINFO_SET);
  }
  get password() { return this.#url.password; }
  set password(value) {
    if (this.#mayHaveCredentials()) this.#url.password = percentEncode(usv(value), USERINFO_SET);
  }
  #mayHaveCredentials() {
    const url = this.#url;
    return url.host !== null && url.host !== "" && url.scheme !== "file:";
  }
  get host() { return serializeHost(this.#url); }
  set host(value) { this.#setHost(`${value}`, true); }
  get hostname() { return this.#url.host ?? ""; }
  set hostname(value) { this.#setHost(`${value}`, false); }
  #setHost(value, withPort) {
    const url = this.#url;
    if (typeof url.path === "string") return;
    const text = usv(value).replace(/[\t\n\r]/g, "");
    const end = text.search(isSpecial(url) ? /[/\\?#]/ : /[/?#]/);
    const authority = end < 0 ? text : text.slice(0, end);
    if (authority.includes("@")) return;
    const { name, port } = url.scheme === "file:" ? { name: authority } : splitPort(authority);
    if (port !== undefined && (name === "" || !withPort)) return;
    if (name === "" && (isSpecial(url) ? url.scheme !== "file:" : url.username !== "" || url.password !== "" || url.port !== null)) return;
    const host = name === "" ? "" : parseHost(name, !isSpecial(url));
    if (host === null) return;
    url.host = url.scheme === "file:" && host === "localhost" ? "" : host;
    if (port !== undefined) {
      const digits = /^[0-9]+/.exec(port);
      if (digits !== null) setPort(url, digits[0]);
    }
  }
  get port() { return this.#url.port === null ? "" : String(this.#url.port); }
  set port(value) {
    const url = this.#url;
    if (!this.#mayHaveCredentials()) return;
    const text = `${value}`.replace(/[\t\n\r]/g, "");
    if (text === "") {
      url.port = null;
      return;
    }
    const digits = /^[0-9]+/.exec(text);
    if (digits !== null) setPort(url, digits[0]);
  }
  get pathname() { return serializePath(this.#url); }
  set pathname(value) {
    const url = this.#url;
    if (typeof url.path === "string") return;
    url.path = [];
    const text = usv(value).replace(/[\t\n\r]/g, "");
    if (text === "" && !isSpecial(url)) {
      if (url.host === null) url.path.push("");
      return;
    }
    parsePath(url, text, true);
  }
  get search() { return this.#url.query === null || this.#url.query === "" ? "" : `?${this.#url.query}`; }
  set search(value) {
    const text = usv(value).replace(/[\t\n\r]/g, "");
    this.#url.query = text === "" ? null : encodeQuery(this.#url, text.startsWith("?") ? text.slice(1) : text);
    this.#refill();
  }
  get searchParams() {
    if (this.#params === undefined) {
      this.#params = URLSearchParams._of(this.#url.query ?? "", () => {
        const text = this.#params.toString();
        this.#url.query = text === "" ? null : text;
      });
    }
    return this.#params;
  }
  #refill() {
    if (this.#params !== undefined) URLSearchParams._refill(this.#params, this.#url.query ?? "");
  }
  get hash() { return this.#url.fragment === null || this.#url.fragment === "" ? "" : `#${this.#url.fragment}`; }
  set hash(value) {
    const text = usv(value).replace(/[\t\n\r]/g, "");
    this.#url.fragment = text === "" ? null : percentEncode(text.startsWith("#") ? text.slice(1) : text, FRAGMENT_SET);
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
  get [Symbol.toStringTag]() { return "URL"; }
}

// As on the web platform these accessors are enumerable.
for (const name of ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash", "toString", "toJSON"]) {
  Object.defineProperty(URL.prototype, name, { ...Object.getOwnPropertyDescriptor(URL.prototype, name), enumerable: true });
}
