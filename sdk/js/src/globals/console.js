// console, over the hub's log.
import * as host from "../host.js";
import { format, inspect } from "./inspect.js";
import { now } from "./timers.js";

const MOST_EARLY_LINES = 50;
/** Lines written while the module was built: the host could not take them then. */
const early = [];

/** Writes a line to the log, or keeps it until there is one. */
export function writeLog(level, message, fields) {
  const json = fields === undefined ? undefined : JSON.stringify(fields);
  if (host.isRunning()) host.log.write(level, message, json);
  else if (early.length < MOST_EARLY_LINES) early.push([level, message, json]);
}

/** Writes the lines of the build, or forgets them: every sandbox begins with the same ones. */
export function flushEarlyLines(write) {
  for (const line of early.splice(0)) {
    if (write) host.log.write(...line);
  }
}

class Console {
  #indent = "";
  #counts = new Map();
  #clocks = new Map();
  #line(level, args) {
    const text = format(...args);
    writeLog(level, this.#indent === "" ? text : text.replace(/^/gm, this.#indent));
  }
  constructor() {
    // Methods work without their object: `const { log } = console`.
    for (const name of Object.getOwnPropertyNames(Console.prototype)) {
      if (name !== "constructor") Object.defineProperty(this, name, { value: this[name].bind(this), writable: true, configurable: true, enumerable: true });
    }
  }
  log(...args) { this.#line("info", args); }
  info(...args) { this.#line("info", args); }
  warn(...args) { this.#line("warn", args); }
  error(...args) { this.#line("error", args); }
  debug(...args) { this.#line("debug", args); }
  trace(...args) {
    const stack = (new Error().stack ?? "").trimEnd();
    this.#line("trace", [`Trace${args.length > 0 ? `: ${format(...args)}` : ""}\n${stack}`]);
  }
  assert(condition, ...args) {
    if (condition) return;
    if (typeof args[0] === "string") this.#line("error", [`Assertion failed: ${args[0]}`, ...args.slice(1)]);
    else this.#line("error", ["Assertion failed", ...args]);
  }
  dir(value, options) { this.#line("info", [inspect(value, options)]); }
  dirxml(...args) { this.#line("info", args); }
  table(rows, columns) {
    this.#line("info", [rows !== null && typeof rows === "object" ? table(rows, columns) : rows]);
  }
  group(...args) {
    if (args.length > 0) this.#line("info", args);
    this.#indent += "  ";
  }
  groupCollapsed(...args) { this.group(...args); }
  groupEnd() { this.#indent = this.#indent.slice(2); }
  count(label = "default") {
    const count = (this.#counts.get(`${label}`) ?? 0) + 1;
    this.#counts.set(`${label}`, count);
    this.#line("info", [`${label}: ${count}`]);
  }
  countReset(label = "default") { this.#counts.delete(`${label}`); }
  time(label = "default") {
    if (!this.#clocks.has(`${label}`)) this.#clocks.set(`${label}`, now());
  }
  timeLog(label = "default", ...args) {
    const start = this.#clocks.get(`${label}`);
    if (start !== undefined) this.#line("info", [`${label}: ${duration(now() - start)}`, ...args]);
  }
  timeEnd(label = "default") {
    this.timeLog(label);
    this.#clocks.delete(`${label}`);
  }
  clear() {}
}

const duration = (milliseconds) => (milliseconds >= 1000 ? `${(milliseconds / 1000).toFixed(3)}s` : `${Number(milliseconds.toFixed(3))}ms`);

/** A table drawn with lines, as Node draws it. */
export function table(rows, columns) {
  const names = new Map();
  const lines = [];
  let values = false;
  const keyed = rows instanceof Map || rows instanceof Set ? [...rows.values()].map((row, i) => [i, row]) : Object.entries(rows);
  for (const [key, row] of keyed) {
    const cells = new Map();
    if (row !== null && typeof row === "object") {
      for (const name of columns ?? Object.keys(row)) {
        names.set(name, true);
        if (Object.hasOwn(row, name)) cells.set(name, inspect(row[name], { depth: 0 }));
      }
    } else {
      values = true;
      cells.set(VALUES, inspect(row));
    }
    lines.push([String(key), cells]);
  }
  const heads = ["(index)", ...names.keys(), ...(values ? ["Values"] : [])];
  const grid = lines.map(([key, cells]) => [key, ...[...names.keys()].map((name) => cells.get(name) ?? ""), ...(values ? [cells.get(VALUES) ?? ""] : [])]);
  const widths = heads.map((head, i) => Math.max(head.length, ...grid.map((row) => row[i].length)) + 2);
  const centre = (text, width) => " ".repeat(Math.floor((width - text.length) / 2)) + text + " ".repeat(Math.ceil((width - text.length) / 2));
  const row = (cells) => `│${cells.map((cell, i) => centre(cell, widths[i])).join("│")}│`;
  const rule = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
  return [rule("┌", "┬", "┐"), row(heads), rule("├", "┼", "┤"), ...grid.map(row), rule("└", "┴", "┘")].join("\n");
}
const VALUES = Symbol("values");

export const console = new Console();
Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
