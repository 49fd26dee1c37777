// Event, EventTarget, CustomEvent, AbortController and AbortSignal.
import { DOMException } from "./dom-exception.js";

export class Event {
  #type;
  #cancelable;
  #bubbles;
  #prevented = false;
  #timeStamp = Date.now();
  _stop = false;
  _target = null;
  _passive = false;
  constructor(type, options = {}) {
    if (arguments.length === 0) throw new TypeError("The type of an event is missing");
    this.#type = String(type);
    this.#bubbles = Boolean(options?.bubbles);
    this.#cancelable = Boolean(options?.cancelable);
    for (const key of ["_stop", "_target", "_passive"]) {
      Object.defineProperty(this, key, { value: this[key], writable: true, enumerable: false });
    }
  }
  get type() { return this.#type; }
  get target() { return this._target; }
  get currentTarget() { return this._target; }
  get srcElement() { return this._target; }
  get bubbles() { return this.#bubbles; }
  get cancelable() { return this.#cancelable; }
  get composed() { return false; }
  get eventPhase() { return this._target === null ? 0 : 2; }
  get defaultPrevented() { return this.#prevented; }
  get returnValue() { return !this.#prevented; }
  get timeStamp() { return this.#timeStamp; }
  get isTrusted() { return false; }
  composedPath() { return this._target === null ? [] : [this._target]; }
  preventDefault() { if (this.#cancelable && !this._passive) this.#prevented = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this._stop = true; }
  get [Symbol.toStringTag]() { return "Event"; }
}

export class CustomEvent extends Event {
  #detail;
  constructor(type, options = {}) {
    super(type, options);
    this.#detail = options?.detail ?? null;
  }
  get detail() { return this.#detail; }
  get [Symbol.toStringTag]() { return "CustomEvent"; }
}

export class EventTarget {
  #listeners = new Map();
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    if (typeof listener !== "function" && typeof listener !== "object") {
      throw new TypeError("A listener is a function or an object with handleEvent");
    }
    const wanted = typeof options === "object" && options !== null ? options : { capture: Boolean(options) };
    if (wanted.signal?.aborted) return;
    const list = this.#listeners.get(String(type)) ?? [];
    const capture = Boolean(wanted.capture);
    if (list.some((entry) => entry.listener === listener && entry.capture === capture)) return;
    list.push({ listener, capture, once: Boolean(wanted.once), passive: Boolean(wanted.passive), gone: false });
    this.#listeners.set(String(type), list);
    wanted.signal?.addEventListener("abort", () => this.removeEventListener(type, listener, { capture }), { once: true });
  }
  removeEventListener(type, listener, options) {
    const list = this.#listeners.get(String(type));
    if (list === undefined) return;
    const capture = typeof options === "object" && options !== null ? Boolean(options.capture) : Boolean(options);
    const index = list.findIndex((entry) => entry.listener === listener && entry.capture === capture);
    if (index >= 0) list.splice(index, 1)[0].gone = true;
  }
  dispatchEvent(event) {
    if (!(event instanceof Event)) throw new TypeError("dispatchEvent wants an Event");
    event._target = this;
    const handler = this[`on${event.type}`];
    const list = [...(this.#listeners.get(event.type) ?? [])];
    if (typeof handler === "function") list.unshift({ listener: handler, once: false, passive: false, gone: false });
    for (const entry of list) {
      if (entry.gone) continue;
      if (entry.once) this.removeEventListener(event.type, entry.listener, { capture: entry.capture });
      event._passive = entry.passive;
      try {
        if (typeof entry.listener === "function") entry.listener.call(this, event);
        else entry.listener.handleEvent(event);
      } catch (error) {
        // As on the web platform a listener's error does not reach the one who dispatches.
        globalThis.console?.error(error);
      }
      event._passive = false;
      if (event._stop) break;
    }
    return !event.defaultPrevented;
  }
  get [Symbol.toStringTag]() { return "EventTarget"; }
}

const INTERNAL = Symbol("internal");

export class AbortSignal extends EventTarget {
  #reason;
  #aborted = false;
  #deadline;
  #followers = [];
  #ask;
  constructor(token) {
    super();
    if (token !== INTERNAL) throw new TypeError("Illegal constructor");
    Object.defineProperty(this, "onabort", { value: null, writable: true, enumerable: false, configurable: true });
  }
  get aborted() {
    if (!this.#aborted) this.#look();
    return this.#aborted;
  }
  get reason() {
    if (!this.#aborted) this.#look();
    return this.#reason;
  }
  throwIfAborted() {
    if (this.aborted) throw this.#reason;
  }
  // A signal of the clock or of the host is also true when nobody gave its timer the chance to run.
  #look() {
    if (this.#deadline !== undefined && Date.now() >= this.#deadline) {
      this._abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"));
    } else if (this.#ask !== undefined) {
      const reason = this.#ask();
      if (reason !== undefined) this._abort(reason);
    }
  }
  /** When this signal fires by the clock, in milliseconds since 1970. Not part of the standard: `fetch` needs it. */
  get _deadline() { return this.#deadline; }
  _abort(reason) {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const followers = this.#followers;
    this.#followers = [];
    this.dispatchEvent(new Event("abort"));
    for (const follower of followers) follower._abort(reason);
  }
  static _make(ask) {
    const signal = new AbortSignal(INTERNAL);
    signal.#ask = ask;
    return signal;
  }
  static abort(reason = new DOMException("This operation was aborted", "AbortError")) {
    const signal = AbortSignal._make();
    signal.#aborted = true;
    signal.#reason = reason;
    return signal;
  }
  static timeout(milliseconds) {
    const wait = Number(milliseconds);
    if (!Number.isFinite(wait) || wait < 0) throw new RangeError("AbortSignal.timeout wants milliseconds, 0 or more");
    const signal = AbortSignal._make();
    signal.#deadline = Date.now() + wait;
    const timer = setTimeout(() => signal._abort(new DOMException("The operation was aborted due to timeout", "TimeoutError")), wait);
    timer.unref?.();
    return signal;
  }
  static any(signals) {
    const joint = AbortSignal._make();
    const sources = [...signals];
    for (const source of sources) {
      if (!(source instanceof AbortSignal)) throw new TypeError("AbortSignal.any wants signals");
    }
    for (const source of sources) {
      if (source.aborted) {
        joint.#aborted = true;
        joint.#reason = source.reason;
        return joint;
      }
    }
    const asks = [];
    for (const source of sources) {
      source.#followers.push(joint);
      if (source.#deadline !== undefined) joint.#deadline = Math.min(source.#deadline, joint.#deadline ?? Infinity);
      if (source.#ask !== undefined) asks.push(source.#ask);
    }
    if (asks.length > 0) {
      joint.#ask = () => {
        for (const ask of asks) {
          const reason = ask();
          if (reason !== undefined) return reason;
        }
        return undefined;
      };
    }
    return joint;
  }
  get [Symbol.toStringTag]() { return "AbortSignal"; }
}
Object.defineProperties(AbortSignal.prototype, { _deadline: { enumerable: false }, _abort: { enumerable: false } });

export class AbortController {
  #signal = AbortSignal._make();
  get signal() { return this.#signal; }
  abort(reason = new DOMException("This operation was aborted", "AbortError")) { this.#signal._abort(reason); }
  get [Symbol.toStringTag]() { return "AbortController"; }
}
