// The validator: what passes, and what is said of what does not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "../src/schema.js";

const cases = [
  [{ type: "string" }, "x", undefined],
  [{ type: "string" }, 1, "the arguments must be a string, not 1"],
  [{ type: ["string", "null"] }, 1, "the arguments must be a string or null, not 1"],
  [{ type: "integer" }, 1.0, undefined],
  [{ type: "integer" }, 1.5, "the arguments must be an integer, not 1.5"],
  [{ type: "number" }, "1", 'the arguments must be a number, not "1"'],
  [{ type: "object" }, [], "the arguments must be an object, not array"],
  [{ type: "array" }, null, "the arguments must be an array, not null"],
  [{ enum: [1, { a: [1] }] }, { a: [1] }, undefined],
  [{ enum: ["a", "b"] }, "c", 'the arguments must be one of "a", "b", not "c"'],
  [{ const: null }, 0, "the arguments must be null, not 0"],
  [{ minimum: 1, maximum: 3 }, 4, "the arguments must be at most 3, not 4"],
  [{ exclusiveMinimum: 1 }, 1, "the arguments must be more than 1, not 1"],
  [{ multipleOf: 0.1 }, 0.3, undefined],
  [{ multipleOf: 2 }, 3, "the arguments must be a multiple of 2, not 3"],
  [{ minLength: 2, maxLength: 2 }, "\u{1f600}\u{1f600}", undefined],
  [{ minLength: 1 }, "", "the arguments must not be empty"],
  [{ pattern: "^a+$" }, "ab", 'the arguments must match ^a+$, and "ab" does not'],
  [{ items: { type: "integer" } }, [1, "x"], '/1 must be an integer, not "x"'],
  [{ minItems: 1 }, [], "the arguments must have at least 1 item, not 0"],
  [{ uniqueItems: true }, [{ a: 1 }, { a: 1 }], "/1 is there twice"],
  [{ prefixItems: [{ type: "string" }], items: false }, ["a", 1], "/1 must not be there: at most 1 items are"],
  [{ contains: { const: 1 } }, [2], 'the arguments must have an item that fits "contains"'],
  [{ properties: { a: { properties: { "b/c": { type: "null" } } } } }, { a: { "b/c": 1 } }, "/a/b~1c must be null, not 1"],
  [{ required: ["a"] }, {}, "/a is missing"],
  [{ properties: { a: {} }, additionalProperties: false }, { a: 1, b: 1 }, "/b is not known; known are a"],
  [{ additionalProperties: { type: "string" } }, { b: 1 }, "/b must be a string, not 1"],
  [{ patternProperties: { "^x-": { type: "string" } }, additionalProperties: false }, { "x-a": "1" }, undefined],
  [{ propertyNames: { pattern: "^a" } }, { b: 1 }, '/b must match ^a, and "b" does not (the name itself)'],
  [{ dependentRequired: { a: ["b"] } }, { a: 1 }, '/b is missing: "a" needs it'],
  [{ anyOf: [{ type: "string" }, { minimum: 5 }] }, 3, "the arguments fit none of the 2 forms that are allowed (the arguments must be a string, not 3; or the arguments must be at least 5, not 3)"],
  [{ oneOf: [{ type: "number" }, { minimum: 1 }] }, 3, "the arguments fit 2 of the forms, and only one is allowed"],
  [{ not: { type: "string" } }, "x", "the arguments have a form that is not allowed"],
  [{ if: { type: "string" }, then: { minLength: 2 }, else: { type: "null" } }, 1, "the arguments must be null, not 1"],
  [{ $ref: "#/$defs/node", $defs: { node: { properties: { next: { $ref: "#/$defs/node" }, v: { type: "integer" } } } } }, { next: { next: { v: "x" } } }, '/next/next/v must be an integer, not "x"'],
  [{ properties: { "a b": false } }, { "a b": 1 }, "/a b must not be there"],
  [{ format: "email" }, "no", undefined],
  [true, 1, undefined],
];

test("values and what is said of them", () => {
  for (const [schema, value, error] of cases) assert.equal(check(schema, value).error, error, JSON.stringify(schema));
});

test("defaults are filled in, and not shared between calls", () => {
  const schema = { type: "object", properties: { a: { default: [1] }, b: { $ref: "#/$defs/b" }, c: { properties: { d: { default: 2 } } }, e: { items: { properties: { f: { default: 3 } } } } }, $defs: { b: { type: "string", default: "x" } } };
  const first = check(schema, { c: {}, e: [{}] }).value;
  assert.deepEqual(first, { a: [1], b: "x", c: { d: 2 }, e: [{ f: 3 }] });
  first.a.push(2);
  assert.deepEqual(check(schema, {}).value.a, [1]);
  assert.deepEqual(check({ properties: { a: { type: "string", default: 1 } } }, {}).error, "/a must be a string, not 1");
});

test("names that JavaScript has a meaning for are names like others", () => {
  const value = JSON.parse('{"__proto__": 1, "constructor": 2}');
  assert.equal(check({ properties: { toString: { type: "string" } }, required: ["toString"] }, {}).error, "/toString is missing");
  assert.match(check({ additionalProperties: false, properties: { a: {} } }, value).error, /^\/__proto__ is not known/);
  assert.equal(Object.getPrototypeOf(check({ properties: { a: { default: 1 } } }, value).value), Object.prototype);
});

test("a reference that leads nowhere is an error", () => {
  assert.throws(() => check({ $ref: "https://x.example/schema" }, 1), /only references into the same schema/);
  assert.throws(() => check({ $ref: "#/$defs/none" }, 1), /is not there/);
});
