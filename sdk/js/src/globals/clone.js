// structuredClone, by the HTML standard's algorithm for what exists here.
import { DOMException } from "./dom-exception.js";
import { inspect } from "./inspect.js";

const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

function refuse(value) {
  const shown = typeof value === "function" ? Function.prototype.toString.call(value) : typeof value === "symbol" ? String(value) : value?.[Symbol.toStringTag] ? `#<${value[Symbol.toStringTag]}>` : inspect(value, { depth: 0 });
  return new DOMException(`${shown} could not be cloned.`, "DataCloneError");
}

function copy(value, seen) {
  if (typeof value === "symbol" || typeof value === "function") throw refuse(value);
  if (value === null || typeof value !== "object") return value;
  const known = seen.get(value);
  if (known !== undefined) return known;
  const keep = (clone) => {
    seen.set(value, clone);
    return clone;
  };
  if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) return keep(Object(value.valueOf()));
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) {
    const buffer = copy(value.buffer, seen);
    return keep(new value.constructor(buffer, value.byteOffset, value instanceof DataView ? value.byteLength : value.length));
  }
  if (value instanceof Map) {
    const clone = keep(new Map());
    for (const [key, inner] of [...value]) clone.set(copy(key, seen), copy(inner, seen));
    return clone;
  }
  if (value instanceof Set) {
    const clone = keep(new Set());
    for (const inner of [...value]) clone.add(copy(inner, seen));
    return clone;
  }
  if (value instanceof Error && !(value instanceof DOMException)) {
    const Kind = Object.hasOwn(ERRORS, value.name) ? ERRORS[value.name] : Error;
    const message = Object.getOwnPropertyDescriptor(value, "message");
    const clone = keep(Object.create(Kind.prototype) instanceof Error ? new Kind() : new Error());
    if (message !== undefined && "value" in message) hidden(clone, "message", String(message.value));
    if (typeof value.stack === "string") hidden(clone, "stack", value.stack);
    if (Object.hasOwn(value, "cause")) hidden(clone, "cause", copy(value.cause, seen));
    return clone;
  }
  if (value instanceof DOMException) return keep(new DOMException(value.message, value.name));
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) throw refuse(value);
  if (Array.isArray(value)) {
    const clone = keep(new Array(value.length));
    for (const key of Object.keys(value)) clone[key] = copy(value[key], seen);
    return clone;
  }
  const clone = keep({});
  for (const key of Object.keys(value)) clone[key] = copy(value[key], seen);
  return clone;
}

function hidden(target, name, value) {
  Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
}

export function structuredClone(value, options = {}) {
  if (arguments.length === 0) throw new TypeError("The \"value\" argument must be specified");
  const seen = new Map();
  for (const buffer of options?.transfer ?? []) {
    if (!(buffer instanceof ArrayBuffer)) throw new DOMException("Value not transferable", "DataCloneError");
    seen.set(buffer, buffer.slice(0));
  }
  const clone = copy(value, seen);
  // Where the engine can detach a buffer the original is gone, as after a move.
  for (const buffer of options?.transfer ?? []) buffer.transfer?.();
  return clone;
}
