// Headers, by the Fetch Standard with one of its guards: those of a server's answer cannot be changed. No header of a
// request is forbidden here, the host has the last word.
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function checkedName(name) {
  const text = String(name);
  if (!NAME.test(text)) throw new TypeError(`Headers: "${text}" is not a valid header name`);
  return text.toLowerCase();
}
function checkedValue(value) {
  const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  // eslint-disable-next-line no-control-regex
  if (/[\0\n\r]/.test(text) || /[^\0-\xff]/.test(text)) throw new TypeError(`Headers: "${text}" is not a valid header value`);
  return text;
}

export class Headers {
  // Lower-case name → the values in their order; `set-cookie` is the one that is never joined.
  #list = new Map();
  #immutable = false;
  constructor(init = undefined) {
    if (init === undefined || init === null) {
      if (init === null) throw new TypeError("Headers wants pairs or an object");
      return;
    }
    if (typeof init !== "object") throw new TypeError("Headers wants pairs or an object");
    if (init instanceof Headers) {
      for (const [name, values] of init.#list) this.#list.set(name, [...values]);
    } else if (typeof init[Symbol.iterator] === "function") {
      for (const pair of init) {
        const parts = [...pair];
        if (parts.length !== 2) throw new TypeError("Headers: each pair has a name and a value");
        this.append(parts[0], parts[1]);
      }
    } else {
      for (const name of Reflect.ownKeys(init)) {
        if (Object.getOwnPropertyDescriptor(init, name)?.enumerable) this.append(name, init[name]);
      }
    }
  }
  _fix() { this.#immutable = true; }
  #change() {
    if (this.#immutable) throw new TypeError("Headers: those of an answer cannot be changed; copy them with new Headers(…)");
    return this.#list;
  }
  append(name, value) {
    const key = checkedName(name);
    const text = checkedValue(value);
    const values = this.#list.get(key);
    const list = this.#change();
    if (values === undefined) list.set(key, [text]);
    else values.push(text);
  }
  delete(name) {
    const key = checkedName(name);
    this.#change().delete(key);
  }
  get(name) { return this.#list.get(checkedName(name))?.join(", ") ?? null; }
  getSetCookie() { return [...(this.#list.get("set-cookie") ?? [])]; }
  has(name) { return this.#list.has(checkedName(name)); }
  set(name, value) {
    const [key, text] = [checkedName(name), checkedValue(value)];
    this.#change().set(key, [text]);
  }
  forEach(callback, thisArg = undefined) {
    if (typeof callback !== "function") throw new TypeError("Headers.forEach wants a function");
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }
  *entries() {
    for (const name of [...this.#list.keys()].sort()) {
      const values = this.#list.get(name);
      if (values === undefined) continue;
      if (name === "set-cookie") for (const value of values) yield [name, value];
      else yield [name, values.join(", ")];
    }
  }
  *keys() { for (const [name] of this.entries()) yield name; }
  *values() { for (const [, value] of this.entries()) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  get [Symbol.toStringTag]() { return "Headers"; }
}
