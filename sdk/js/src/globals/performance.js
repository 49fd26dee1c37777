// performance, from the start of the call: the engine's own clock begins on the machine that built the plugin.
import { now } from "./timers.js";

let start = now();
let origin = Date.now();

/** Begins anew. The entries call it at the start of each export. */
export function restart() {
  start = now();
  origin = Date.now();
}

export const performance = {
  now: () => now() - start,
  get timeOrigin() { return origin; },
  toJSON() { return { timeOrigin: origin }; },
  get [Symbol.toStringTag]() { return "Performance"; },
};
