// Node's `assert`, as far as packages use it at run time.
import { isDeepStrictEqual } from "./util.js";

export class AssertionError extends Error {
  name = "AssertionError";
  code = "ERR_ASSERTION";
}

function fail(message, otherwise) {
  throw message instanceof Error ? message : new AssertionError(message ?? otherwise);
}

export function ok(value, message) {
  if (!value) fail(message, "the expression is false");
}

const assert = (value, message) => ok(value, message);
Object.assign(assert, {
  ok,
  AssertionError,
  fail: (message) => fail(message, "failed"),
  equal: (a, b, message) => a == b || fail(message, `${a} == ${b}`),
  notEqual: (a, b, message) => a != b || fail(message, `${a} != ${b}`),
  strictEqual: (a, b, message) => Object.is(a, b) || fail(message, `${a} === ${b}`),
  notStrictEqual: (a, b, message) => !Object.is(a, b) || fail(message, `${a} !== ${b}`),
  deepEqual: (a, b, message) => isDeepStrictEqual(a, b) || fail(message, "the values are not equal"),
  deepStrictEqual: (a, b, message) => isDeepStrictEqual(a, b) || fail(message, "the values are not equal"),
  throws(job, message) {
    try {
      job();
    } catch {
      return;
    }
    fail(typeof message === "string" ? message : undefined, "nothing was thrown");
  },
});
assert.strict = assert;

export const { equal, notEqual, strictEqual, notStrictEqual, deepEqual, deepStrictEqual, throws, strict } = assert;
export default assert;
