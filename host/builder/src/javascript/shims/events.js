// Node's EventEmitter. A function and not a class, since packages also write `EventEmitter.call(this)`.
const listenersOf = new WeakMap();

function all(emitter) {
  if (!listenersOf.has(emitter)) listenersOf.set(emitter, new Map());
  return listenersOf.get(emitter);
}

function add(emitter, name, listener, once, first) {
  if (typeof listener !== "function") throw new TypeError("the listener has to be a function");
  if (all(emitter).has("newListener")) emitter.emit("newListener", name, listener);
  const call = once
    ? (...args) => {
        emitter.removeListener(name, listener);
        return listener.apply(emitter, args);
      }
    : listener;
  const before = all(emitter).get(name) ?? [];
  all(emitter).set(name, first ? [{ listener, call }, ...before] : [...before, { listener, call }]);
  return emitter;
}

export function EventEmitter() {}

Object.assign(EventEmitter.prototype, {
  on(name, listener) { return add(this, name, listener, false, false); },
  once(name, listener) { return add(this, name, listener, true, false); },
  prependListener(name, listener) { return add(this, name, listener, false, true); },
  prependOnceListener(name, listener) { return add(this, name, listener, true, true); },
  removeListener(name, listener) {
    const before = all(this).get(name) ?? [];
    const at = before.findLastIndex((one) => one.listener === listener);
    if (at >= 0) {
      const after = before.toSpliced(at, 1);
      if (after.length > 0) all(this).set(name, after);
      else all(this).delete(name);
      if (all(this).has("removeListener")) this.emit("removeListener", name, listener);
    }
    return this;
  },
  removeAllListeners(name) {
    if (name === undefined) all(this).clear();
    else all(this).delete(name);
    return this;
  },
  emit(name, ...args) {
    const calls = all(this).get(name) ?? [];
    if (calls.length === 0) {
      if (name === "error") throw args[0] instanceof Error ? args[0] : new Error(`an error that nobody handles: ${args[0]}`);
      return false;
    }
    for (const { call } of calls) call.apply(this, args);
    return true;
  },
  listeners(name) { return (all(this).get(name) ?? []).map(({ listener }) => listener); },
  rawListeners(name) { return (all(this).get(name) ?? []).map(({ call }) => call); },
  listenerCount(name) { return (all(this).get(name) ?? []).length; },
  eventNames() { return [...all(this).keys()]; },
  setMaxListeners() { return this; },
  getMaxListeners() { return EventEmitter.defaultMaxListeners; },
});
EventEmitter.prototype.addListener = EventEmitter.prototype.on;
EventEmitter.prototype.off = EventEmitter.prototype.removeListener;
for (const name of Object.keys(EventEmitter.prototype)) {
  Object.defineProperty(EventEmitter.prototype, name, { enumerable: false });
}

export function once(emitter, name) {
  return new Promise((resolve, reject) => {
    const failed = (error) => {
      emitter.removeListener(name, done);
      reject(error);
    };
    const done = (...args) => {
      emitter.removeListener("error", failed);
      resolve(args);
    };
    emitter.once(name, done);
    if (name !== "error") emitter.once("error", failed);
  });
}

export const defaultMaxListeners = 10;
EventEmitter.defaultMaxListeners = defaultMaxListeners;
EventEmitter.EventEmitter = EventEmitter;
EventEmitter.once = once;
export default EventEmitter;
