export * from "./feeds.js";
export * from "./helpers.js";
export * from "./legacy.js";
export * from "./manipulation.js";
export * from "./querying.js";
export * from "./stringify.js";
export * from "./traversal.js";
//# sourceMappingURL=index.js.map