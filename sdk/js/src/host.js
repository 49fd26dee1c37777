// The host's functions under one roof, and whether they may be called yet.
//
// A component is evaluated once while it is built and then frozen: a call to the host at that time traps and
// fails the whole build. Everything in this package asks `requireHost` first, so that the author gets a sentence.
import * as log from "aih:host/log";
import * as config from "aih:host/config";
import * as state from "aih:host/state";
import * as mcp from "aih:host/mcp";
import * as http from "aih:host/http";
import * as progress from "aih:host/progress";
import * as client from "aih:host/client";
import * as system from "aih:host/system";

export { log, config, state, mcp, http, progress, client, system };

let running = false;

/** Called by the entries at the start of each export: from here on the host answers. */
export function hostIsThere() {
  running = true;
}

/** Whether the module runs in a sandbox, not in the build. */
export function isRunning() {
  return running;
}

/** Throws where the host cannot be called yet. `what` is what the author called. */
export function requireHost(what) {
  if (!running) {
    throw new Error(`${what} cannot be used at the top level of a module: it is evaluated once, while the plugin is built. Call it inside a handler.`);
  }
}

/** What the host refused or could not do. `code` is the name of the case in the WIT, such as `not-granted`. */
export class HostError extends Error {
  constructor(message, code, detail) {
    super(message);
    this.code = code;
    if (detail !== undefined) this.detail = detail;
  }
}
Object.defineProperty(HostError.prototype, "name", { value: "HostError", configurable: true, writable: true });

/** The case and the payload that an import threw: `{ code, detail }`, or nothing where it threw something else. */
export function hostFailure(thrown) {
  const payload = thrown !== null && typeof thrown === "object" && "payload" in thrown ? thrown.payload : thrown;
  if (typeof payload === "string") return { code: payload, detail: undefined };
  if (payload !== null && typeof payload === "object" && typeof payload.tag === "string") {
    return { code: payload.tag, detail: payload.val };
  }
  return undefined;
}

/** Calls an import and turns what it throws into a `HostError` that begins with `what`. */
export function hostCall(what, call) {
  requireHost(what);
  try {
    return call();
  } catch (thrown) {
    const failure = hostFailure(thrown);
    if (failure === undefined) throw thrown;
    const said = typeof failure.detail === "string" && failure.detail !== "" ? failure.detail : failure.code;
    throw new HostError(`${what}: ${said}`, failure.code, failure.detail);
  }
}
