// Lets Node import the SDK: the host's modules come from fake-host.mjs, and `aih-plugin` is this package.
import { register } from "node:module";

register(
  "data:text/javascript," + encodeURIComponent(`
    const fake = ${JSON.stringify(new URL("./fake-host.mjs", import.meta.url).href)};
    const index = ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
    export function resolve(specifier, context, next) {
      if (specifier.startsWith("aih:host/")) return { url: "aih-host:" + specifier.slice(9).split("@")[0], shortCircuit: true };
      if (specifier === "aih-plugin") return { url: index, shortCircuit: true };
      return next(specifier, context);
    }
    const names = {
      log: ["write"], config: ["get", "secret"], state: ["get", "set", "delete", "keys"], mcp: ["listTools", "callTool"],
      http: ["send"], progress: ["report", "cancelled"], client: ["elicit", "sample", "roots"], system: ["sleep", "random"],
    };
    export function load(url, context, next) {
      if (!url.startsWith("aih-host:")) return next(url, context);
      const name = url.slice(9);
      const source = "import { fake } from " + JSON.stringify(fake) + ";\\n" + names[name].map((fn) =>
        "export const " + (fn === "delete" ? "delete_" : fn) + " = (...args) => fake." + name + "." + fn + "(...args);").join("\\n")
        + (names[name].includes("delete") ? "\\nexport { delete_ as delete };" : "");
      return { format: "module", source, shortCircuit: true };
    }
  `),
);
