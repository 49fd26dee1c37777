// setTimeout and its family: a list of what is due when. The loop in ../loop.js runs it.
let nextId = 1;
let sequence = 0;
const timers = new Map();
let immediates = [];

// The engine's own monotonic clock, where there is one, taken before the global is replaced. Its zero is of no use:
// it stems from the machine that built the plugin.
const monotonic = typeof globalThis.performance?.now === "function"
  ? globalThis.performance.now.bind(globalThis.performance)
  : Date.now;

/** Milliseconds of a clock that never goes back, from an arbitrary zero. */
export function now() {
  return monotonic();
}

class Timer {
  constructor(callback, args, delay, repeat) {
    this.id = nextId++;
    this.callback = callback;
    this.args = args;
    this.delay = delay;
    this.repeat = repeat;
    this.holds = true;
    this.schedule();
  }
  schedule() {
    this.due = now() + this.delay;
    this.sequence = sequence++;
    timers.set(this.id, this);
  }
}

/** What `setTimeout` answers: a number where one is wanted, and Node's methods besides. */
class Timeout {
  #timer;
  constructor(timer) { this.#timer = timer; }
  ref() { this.#timer.holds = true; return this; }
  unref() { this.#timer.holds = false; return this; }
  hasRef() { return this.#timer.holds; }
  refresh() { this.#timer.schedule(); return this; }
  close() { timers.delete(this.#timer.id); return this; }
  [Symbol.toPrimitive]() { return this.#timer.id; }
}

function delayOf(value) {
  const delay = Number(value);
  // As in Node: less than 1, more than 2^31-1 and what is not a number are 1 ms.
  return delay >= 1 && delay <= 2147483647 ? Math.trunc(delay) : 1;
}

function wantFunction(callback) {
  if (typeof callback !== "function") {
    const error = new TypeError(`The "callback" argument must be of type function. Received ${callback === null ? "null" : typeof callback}`);
    error.code = "ERR_INVALID_ARG_TYPE";
    throw error;
  }
}

export function setTimeout(callback, delay, ...args) {
  wantFunction(callback);
  return new Timeout(new Timer(callback, args, delayOf(delay), false));
}
export function setInterval(callback, delay, ...args) {
  wantFunction(callback);
  return new Timeout(new Timer(callback, args, delayOf(delay), true));
}
export function clearTimeout(timeout) {
  if (timeout === undefined || timeout === null) return;
  timers.delete(Number(timeout));
}
export const clearInterval = (timeout) => clearTimeout(timeout);

class Immediate {
  #callback;
  #args;
  #cleared = false;
  constructor(callback, args) {
    this.#callback = callback;
    this.#args = args;
  }
  static clear(immediate) {
    immediate.#cleared = true;
  }
  static run(immediate) {
    if (!immediate.#cleared) run(immediate.#callback, immediate.#args);
  }
  ref() { return this; }
  unref() { return this; }
  hasRef() { return true; }
}
export function setImmediate(callback, ...args) {
  wantFunction(callback);
  const immediate = new Immediate(callback, args);
  immediates.push(immediate);
  return immediate;
}
export function clearImmediate(immediate) {
  if (immediate instanceof Immediate) Immediate.clear(immediate);
}

/** Runs one immediate if it was not cleared. */
export function runImmediate(immediate) {
  Immediate.run(immediate);
}

export function queueMicrotask(callback) {
  wantFunction(callback);
  Promise.resolve().then(() => {
    try {
      callback();
    } catch (error) {
      failures.push(error);
    }
  });
}

/** Errors that left a callback. The loop fails the call with the first. */
export const failures = [];

/** Forgets everything that is scheduled. */
export function clearAll() {
  timers.clear();
  immediates = [];
  failures.length = 0;
}

/** When the next timer is due on the clock of `now`, or `undefined`. */
export function nextDue() {
  let due;
  for (const timer of timers.values()) {
    if (due === undefined || timer.due < due) due = timer.due;
  }
  return due;
}

/** The timers that are due at `time`, the earliest first. */
export function dueTimers(time) {
  return [...timers.values()]
    .filter((timer) => timer.due <= time)
    .sort((a, b) => a.due - b.due || a.sequence - b.sequence);
}

/** Runs one timer if it was not cleared meanwhile. */
export function fire(timer) {
  if (timers.get(timer.id) !== timer) return false;
  if (timer.repeat) timer.schedule();
  else timers.delete(timer.id);
  run(timer.callback, timer.args);
  return true;
}

/** Takes the immediates that are waiting; those that they add wait for the next round. */
export function takeImmediates() {
  const taken = immediates;
  immediates = [];
  return taken;
}
export function hasImmediates() {
  return immediates.length > 0;
}

export function run(callback, args) {
  try {
    callback(...args);
  } catch (error) {
    failures.push(error);
  }
}
