export { isTraversal, parse } from "./parse.js";
export { stringify } from "./stringify.js";
export * from "./types.js";
