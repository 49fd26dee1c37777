// What a module defines: tools and hooks, kept until an entry makes exports of them.
import { hasDefaults } from "./schema.js";

const tools = new Map();
const hooks = [];

const TOOL = Symbol.for("aih-plugin.tool");
const HOOK = Symbol.for("aih-plugin.hook");

function want(condition, message) {
  if (!condition) throw new TypeError(message);
}

/** Offers a tool. Answers its definition, so that it can be exported and tested. */
export function defineTool(definition) {
  want(definition !== null && typeof definition === "object", "defineTool wants { name, description, input, handler }");
  const { name, description, input, output, handler } = definition;
  want(typeof name === "string" && /^[A-Za-z0-9_.-]{1,64}$/.test(name), `defineTool: ${JSON.stringify(name)} cannot be the name of a tool: use 1 to 64 letters, digits, "_", "-" and "."`);
  want(typeof description === "string" && description.trim() !== "", `defineTool: ${name} has no description, which is what a model chooses it by`);
  want(typeof handler === "function", `defineTool: ${name} has no handler`);
  want(input === undefined || (input !== null && typeof input === "object" && !Array.isArray(input)), `defineTool: the input of ${name} is not a JSON Schema`);
  want(output === undefined || (output !== null && typeof output === "object" && !Array.isArray(output)), `defineTool: the output of ${name} is not a JSON Schema`);
  const schema = input ?? { type: "object", properties: {}, additionalProperties: false };
  want(schema.type === undefined || schema.type === "object", `defineTool: the input of ${name} must be of type "object"`);
  want(!tools.has(name) || tools.get(name).handler === handler, `defineTool: ${name} is defined twice`);
  const whole = { type: "object", properties: {}, ...schema };
  const tool = Object.defineProperty({ ...definition, input: whole, hasDefaults: hasDefaults(whole) }, TOOL, { value: true });
  tools.set(name, tool);
  return tool;
}

/** Offers several tools at once: `definePlugin({ tools: [{…}, {…}] })`. */
export function definePlugin(definition) {
  want(definition !== null && typeof definition === "object" && Array.isArray(definition.tools), "definePlugin wants { tools: [ … ] }");
  return { ...definition, tools: definition.tools.map((tool) => (tool?.[TOOL] === true ? tool : defineTool(tool))) };
}

/** Runs on events. `on` names the triggers that the handler is for; without it, it is for all that the hub sends. */
export function defineHook(definition) {
  const given = typeof definition === "function" ? { handler: definition } : definition;
  want(given !== null && typeof given === "object" && typeof given.handler === "function", "defineHook wants { on, handler } or a function");
  const on = given.on === undefined ? undefined : Array.isArray(given.on) ? given.on : [given.on];
  want(on === undefined || on.every((name) => typeof name === "string"), "defineHook: on is the name of a trigger, or a list of names");
  const hook = Object.defineProperty({ ...given, on }, HOOK, { value: true });
  hooks.push(hook);
  return hook;
}

/** Takes what a module exports without having called `define…`: a default export of tools, or of a hook's handler. */
export function adopt(module, world) {
  if (module === null || typeof module !== "object") return;
  if (world === "plugin" && tools.size === 0) {
    const offered = module.default?.tools ?? module.tools ?? module.default;
    for (const tool of Array.isArray(offered) ? offered : offered === undefined ? [] : [offered]) {
      if (tool !== null && typeof tool === "object" && typeof tool.handler === "function") defineTool(tool);
    }
  }
  if (world === "hook" && hooks.length === 0) {
    const offered = module.default ?? module.handler;
    if (typeof offered === "function" || typeof offered?.handler === "function") defineHook(offered);
  }
}

export function definedTools() {
  return [...tools.values()];
}
export function definedTool(name) {
  return tools.get(name);
}
export function definedHooks() {
  return hooks;
}
