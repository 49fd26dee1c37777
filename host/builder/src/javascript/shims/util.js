// Node's `util`, as far as packages use it at run time.
const { TextDecoder, TextEncoder } = globalThis;
export { TextDecoder, TextEncoder };

export function inspect(value) {
  if (typeof value === "string") return `'${value}'`;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  if (value === null || typeof value !== "object") return typeof value === "function" ? `[Function ${value.name}]` : String(value);
  const seen = new WeakSet();
  return JSON.stringify(value, (_, one) => {
    if (typeof one === "bigint") return `${one}n`;
    if (typeof one === "function") return `[Function ${one.name}]`;
    if (one instanceof Map) return Object.fromEntries(one);
    if (one instanceof Set) return [...one];
    if (one !== null && typeof one === "object") {
      if (seen.has(one)) return "[Circular]";
      seen.add(one);
    }
    return one;
  });
}
inspect.custom = Symbol.for("nodejs.util.inspect.custom");

export function format(first, ...rest) {
  const show = (value) => (typeof value === "string" ? value : inspect(value));
  if (typeof first !== "string") return [first, ...rest].map(show).join(" ");
  const text = first.replace(/%[sdifjoOc%]/g, (code) => {
    if (code === "%%") return "%";
    if (rest.length === 0) return code;
    const value = rest.shift();
    switch (code) {
      case "%s": return show(value);
      case "%d": return String(Number(value));
      case "%i": return String(parseInt(value, 10));
      case "%f": return String(parseFloat(value));
      case "%j": return JSON.stringify(value);
      case "%c": return "";
      default: return inspect(value);
    }
  });
  return [text, ...rest.map(show)].join(" ");
}

export function inherits(constructor, parent) {
  Object.defineProperty(constructor, "super_", { value: parent, writable: true, configurable: true });
  Object.setPrototypeOf(constructor.prototype, parent.prototype);
}

export function promisify(job) {
  if (job[promisify.custom]) return job[promisify.custom];
  return function (...args) {
    return new Promise((resolve, reject) => {
      job.call(this, ...args, (error, value) => (error ? reject(error) : resolve(value)));
    });
  };
}
promisify.custom = Symbol.for("nodejs.util.promisify.custom");

export function callbackify(job) {
  return function (...args) {
    const done = args.pop();
    job.apply(this, args).then((value) => done(null, value), (error) => done(error));
  };
}

export const deprecate = (job) => job;
export const debuglog = () => Object.assign(() => {}, { enabled: false });
export { debuglog as debug };
export const stripVTControlCharacters = (text) => text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, "");
export const isArray = Array.isArray;

export function isDeepStrictEqual(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Map || a instanceof Set) {
    return a.size === b.size && isDeepStrictEqual([...a], [...b]);
  }
  const keys = Reflect.ownKeys(a);
  return keys.length === Reflect.ownKeys(b).length && keys.every((key) => Object.hasOwn(b, key) && isDeepStrictEqual(a[key], b[key]));
}

const tag = (value) => Object.prototype.toString.call(value).slice(8, -1);
export const types = {
  isDate: (value) => tag(value) === "Date",
  isRegExp: (value) => tag(value) === "RegExp",
  isMap: (value) => value instanceof Map,
  isSet: (value) => value instanceof Set,
  isPromise: (value) => value instanceof Promise,
  isNativeError: (value) => value instanceof Error,
  isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView),
  isUint8Array: (value) => value instanceof Uint8Array,
  isArrayBuffer: (value) => value instanceof ArrayBuffer,
  isAnyArrayBuffer: (value) => value instanceof ArrayBuffer,
  isArrayBufferView: ArrayBuffer.isView,
  isAsyncFunction: (value) => tag(value) === "AsyncFunction",
  isGeneratorFunction: (value) => tag(value) === "GeneratorFunction",
  isProxy: () => false,
};

export default {
  TextDecoder, TextEncoder, inspect, format, inherits, promisify, callbackify, deprecate, debuglog, debug: debuglog,
  stripVTControlCharacters, isArray, isDeepStrictEqual, types,
};
