// The table of tests/fixtures/js-conformance with the SDK's globals in Node's place, against what Node itself makes of it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const folder = new URL("../../../tests/fixtures/js-conformance/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("expected.json", folder), "utf8"));
const ofNode = JSON.parse(execFileSync(process.execPath, [fileURLToPath(new URL("expected.mjs", folder))], { encoding: "utf8", maxBuffer: 1 << 26 }));

test("expected.json is what this Node answers", () => {
  assert.deepEqual(ofNode, expected);
});

await import("../src/prelude.js");
const { defineTool, format, inspect } = await import("../src/index.js");
const { tools } = await import("../src/plugin-entry.js");
const { runAll } = await import(new URL("table.js", folder));
defineTool({ name: "run", description: "d", handler: async () => runAll({ format, inspect }) });
const output = await tools.callTool({ callId: "c", tool: "run", argumentsJson: "{}", deadlineMs: 60000, extras: [] });
const results = JSON.parse(output.structuredJson);

for (const name of Object.keys(expected)) {
  test(name, () => assert.deepEqual(results[name], expected[name]));
}
