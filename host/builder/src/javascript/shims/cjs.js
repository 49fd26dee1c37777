// CommonJS: modules are defined first and run when they are required.
const modules = new Map();

export function define(name, requires, body) {
  modules.set(name, { requires, body, module: undefined });
}

function fail(message) {
  throw Object.assign(new Error(message), { code: "MODULE_NOT_FOUND" });
}

export function load(name) {
  const known = modules.get(name);
  if (known === undefined) fail(`there is no module ${name}`);
  if (known.module === undefined) {
    const filename = `/${name}`;
    const module = { exports: {}, id: filename, filename, loaded: false, children: [], paths: [] };
    known.module = module;
    const require = (wanted) => {
      if (!Object.hasOwn(known.requires, wanted)) fail(`${name}: cannot find "${wanted}": what is required has to be written out`);
      return known.requires[wanted](load, fail);
    };
    require.resolve = (wanted) => wanted;
    require.cache = {};
    module.require = require;
    try {
      known.body.call(module.exports, module.exports, require, module, filename, filename.slice(0, filename.lastIndexOf("/")) || "/");
    } catch (error) {
      known.module = undefined;
      throw error;
    }
    module.loaded = true;
  }
  return known.module.exports;
}

export function defaultOf(value) {
  return value !== null && (typeof value === "object" || typeof value === "function") && value.__esModule && "default" in value
    ? value.default
    : value;
}
