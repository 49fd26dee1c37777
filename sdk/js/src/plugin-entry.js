// The `tools` export of a component, made of what the author's modules defined.
//
// The builder's entry file reads:
//     import "aih-plugin/prelude";
//     import * as module from "./the-authors-file.js";
//     import { adopt, tools } from "aih-plugin/plugin-entry";
//     adopt(module);
//     export { tools };
import { begin, callSignal, explain } from "./call.js";
import { lowerResult } from "./content.js";
import { adopt as adoptModule, definedTool, definedTools } from "./define.js";
import { host, log } from "./index.js";
import { drive } from "./loop.js";
import { check } from "./schema.js";

/** The last moment that a Date can hold. */
const LATEST_DATE = 8.64e15;

/** Takes the tools that a module exports rather than defines. */
export function adopt(module) {
  adoptModule(module, "plugin");
}

function listTools() {
  begin(true);
  const all = definedTools();
  if (all.length === 0) throw { tag: "other", val: "the plugin defines no tool: call defineTool({ name, description, input, handler }) at the top level of its module" };
  return all.map((tool) => ({
    name: tool.name,
    title: tool.title,
    description: tool.description,
    inputSchema: JSON.stringify(tool.input),
    outputSchema: tool.output === undefined ? undefined : JSON.stringify(tool.output),
    annotationsJson: tool.annotations === undefined ? undefined : JSON.stringify(tool.annotations),
    extras: [],
  }));
}

async function callTool(call) {
  begin(false);
  const tool = definedTool(call.tool);
  if (tool === undefined) throw { tag: "unknown-tool", val: call.tool };
  let checked;
  try {
    checked = check(tool.input, JSON.parse(call.argumentsJson), tool.hasDefaults);
  } catch (problem) {
    throw { tag: "invalid-arguments", val: explain(problem, `reading the arguments of ${call.tool}`) };
  }
  if (checked.error !== undefined) throw { tag: "invalid-arguments", val: checked.error };
  const deadline = Date.now() + Number(call.deadlineMs);
  // Most handlers ask for none of it: what costs time is made when it is asked for.
  let signal;
  const context = {
    callId: call.callId,
    tool: call.tool,
    principal: call.extras.find(([key]) => key === "principal")?.[1],
    get deadline() { return new Date(Math.min(deadline, LATEST_DATE)); },
    get signal() { return (signal ??= callSignal(deadline)); },
    progress: (done, total, message) => host.progress.report(done, total, message),
    log,
  };
  return drive(run(tool, checked.value, context), () => signal?.aborted);
}

async function run(tool, args, context) {
  try {
    return await lowerResult(await tool.handler(args, context));
  } catch (thrown) {
    return { content: [{ tag: "text", val: explain(thrown, tool.name) }], structuredJson: undefined, isError: true, extras: [] };
  }
}

/** The interface `aih:plugin/tools`. */
export const tools = {
  listTools,
  async callTool(call) {
    try {
      return await callTool(call);
    } catch (thrown) {
      if (thrown !== null && typeof thrown === "object" && typeof thrown.tag === "string") throw thrown;
      // An error that left a timer: no answer of the handler's can be waited for.
      return { content: [{ tag: "text", val: explain(thrown, call.tool) }], structuredJson: undefined, isError: true, extras: [] };
    }
  },
};
