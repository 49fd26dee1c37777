// The `hooks` export of a component, made of what the author's modules defined. The builder's entry file is that of
// plugin-entry.js with `hooks` in the place of `tools`.
import { begin, callSignal, explain } from "./call.js";
import { adopt as adoptModule, definedHooks } from "./define.js";
import { log } from "./index.js";
import { drive } from "./loop.js";

/** Takes the handler that a module exports rather than defines. */
export function adopt(module) {
  adoptModule(module, "hook");
}

async function run(event, askSignal) {
  const given = {
    id: event.id,
    name: event.name,
    payload: JSON.parse(event.payloadJson),
    attempt: Number(event.extras.find(([key]) => key === "attempt")?.[1] ?? 1),
    get signal() { return askSignal(); },
    log,
  };
  let decision = { tag: "proceed" };
  let result;
  for (const hook of definedHooks()) {
    if (hook.on !== undefined && !hook.on.includes(event.name)) continue;
    const answer = await hook.handler(given);
    if (answer === undefined || answer === null) continue;
    if (typeof answer !== "object") throw new TypeError(`a hook answers nothing, { replace }, { deny } or { result }, not ${typeof answer}`);
    const unknown = Object.keys(answer).find((key) => !["replace", "deny", "result"].includes(key));
    if (unknown !== undefined) throw new TypeError(`a hook answers nothing, { replace }, { deny } or { result }; "${unknown}" is not known`);
    if (answer.result !== undefined) result = JSON.stringify(answer.result);
    if (answer.deny !== undefined && answer.deny !== false) {
      decision = { tag: "deny", val: answer.deny === true ? "denied" : String(answer.deny) };
      break;
    }
    if (answer.replace !== undefined) {
      decision = { tag: "replace", val: JSON.stringify(answer.replace) };
      // The next handler of this module sees what the one before it made.
      given.payload = answer.replace;
    }
  }
  return { decision, eventResultJson: result };
}

/** The interface `aih:plugin/hooks`. */
export const hooks = {
  async onEvent(event) {
    try {
      begin(false);
      if (definedHooks().length === 0) throw new Error("the hook defines no handler: call defineHook({ handler }) at the top level of its module");
      let signal;
      const ask = () => (signal ??= callSignal(Infinity));
      return await drive(run(event, ask), () => signal?.aborted);
    } catch (thrown) {
      throw { tag: "other", val: explain(thrown, `the hook on ${event.name}`) };
    }
  },
};
