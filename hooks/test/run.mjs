// Runs a hook in Node with the host faked. One hook for each test file: the SDK keeps what a module defines.
import { fake } from "../../sdk/js/test/fake-host.mjs";

await import("../../sdk/js/src/prelude.js");
const { hooks } = await import("../../sdk/js/src/hook-entry.js");

export { fake, thrown } from "../../sdk/js/test/fake-host.mjs";

/** Sends an event: `{ tag, value, result }`. A failure of the hook throws its message. */
export async function send(name, payload, { id = "e1", attempt = 1, config } = {}) {
  if (config !== undefined) fake.configured = config;
  fake.lines.length = 0;
  try {
    const event = { version: 1, trigger: name, at: "2026-03-01T10:02:03.456Z", hub: "my-ai-hub", ...payload };
    const outcome = await hooks.onEvent({ id, name, payloadJson: JSON.stringify({ id, ...event }), extras: [["attempt", String(attempt)]] });
    const { tag, val } = outcome.decision;
    return { tag, value: tag === "replace" ? JSON.parse(val) : val, result: outcome.eventResultJson && JSON.parse(outcome.eventResultJson) };
  } catch (error) {
    throw new Error(error.val ?? String(error.stack));
  }
}

/** The lines that were logged. */
export const logged = () => fake.lines.map(([level, message]) => `${level}: ${message}`);
