// What every export does before and after the author's code.
import * as host from "./host.js";
import { flushEarlyLines, writeLog } from "./globals/console.js";
import { AbortSignal } from "./globals/events.js";
import { DOMException } from "./globals/dom-exception.js";
import { inspect } from "./globals/inspect.js";
import { restart } from "./globals/performance.js";
import { now } from "./globals/timers.js";

const ASK_EVERY_MS = 20;

/** Begins an export. `writeEarly`: whether what the modules logged in the build goes to the log now. */
export function begin(writeEarly) {
  host.hostIsThere();
  restart();
  flushEarlyLines(writeEarly);
}

/** What an error says to the caller; the log gets where it came from. */
export function explain(thrown, what) {
  const message = thrown instanceof Error ? (thrown.message === "" ? thrown.name : thrown.message) : typeof thrown === "string" ? thrown : inspect(thrown);
  writeLog("warn", `${what} failed: ${inspect(thrown)}`);
  return message;
}

/** A signal that is aborted once the client gave up on the call or its time is over. */
export function callSignal(deadline) {
  let asked = -Infinity;
  return AbortSignal._make(() => {
    if (Date.now() >= deadline) return new DOMException("The call's time is over", "TimeoutError");
    if (now() - asked < ASK_EVERY_MS) return undefined;
    asked = now();
    return host.progress.cancelled() ? new DOMException("The client cancelled the call", "AbortError") : undefined;
  });
}
