// JSON Schema for arguments: the vocabulary that tools use, checked before the handler runs.
//
// Known: type, enum, const, properties, required, additionalProperties, patternProperties, propertyNames,
// minProperties, maxProperties, dependentRequired, items, prefixItems, contains, minContains, maxContains, minItems, maxItems, uniqueItems,
// minLength, maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, allOf, anyOf, oneOf, not, if/then/else,
// $ref into the same schema, and `default`. Annotations and `format` say nothing here.

/** Fills in defaults and checks. Answers `{ value }`, or `{ error }`: a sentence with the place as a JSON pointer. */
export function check(schema, value, defaults = hasDefaults(schema)) {
  const filled = defaults ? withDefaults(schema, value, schema, 0) : value;
  const error = validate(schema, filled, "", schema, 0);
  return error === undefined ? { value: filled } : { error };
}

/** Whether a schema speaks of defaults anywhere. It is asked once for each tool, while the plugin is built. */
export function hasDefaults(schema) {
  return JSON.stringify(schema)?.includes('"default":') ?? false;
}

const DEEPEST = 64;
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function typeOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}
const matchesType = (value, type) => (type === "integer" ? Number.isInteger(value) : typeOf(value) === type);

export function equal(a, b) {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => equal(item, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
}

const regexps = new Map();
function matches(pattern, text) {
  let regexp = regexps.get(pattern);
  if (regexp === undefined) {
    try {
      regexp = new RegExp(pattern, "u");
    } catch {
      regexp = new RegExp(pattern);
    }
    regexps.set(pattern, regexp);
  }
  return regexp.test(text);
}

function resolve(reference, root) {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) throw new Error(`the input schema refers to ${reference}: only references into the same schema, such as "#/$defs/x", are known`);
  let at = root;
  for (const part of reference.slice(2).split("/")) {
    const key = decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~");
    at = at !== null && typeof at === "object" && Object.hasOwn(at, key) ? at[key] : undefined;
    if (at === undefined) throw new Error(`the input schema refers to ${reference}, which is not there`);
  }
  return at;
}

function withDefaults(schema, value, root, depth) {
  if (!isObject(schema) || depth > DEEPEST) return value;
  if (typeof schema.$ref === "string") value = withDefaults(resolve(schema.$ref, root), value, root, depth + 1);
  for (const part of schema.allOf ?? []) value = withDefaults(part, value, root, depth + 1);
  if (isObject(value) && isObject(schema.properties)) {
    const filled = { ...value };
    for (const [name, inner] of Object.entries(schema.properties)) {
      if (!Object.hasOwn(filled, name)) {
        const missing = defaultOf(inner, root);
        if (missing === undefined) continue;
        put(filled, name, structuredClone(missing));
      }
      put(filled, name, withDefaults(inner, filled[name], root, depth + 1));
    }
    return filled;
  }
  if (Array.isArray(value) && isObject(schema.items)) return value.map((item) => withDefaults(schema.items, item, root, depth + 1));
  return value;
}
function defaultOf(schema, root) {
  if (!isObject(schema)) return undefined;
  if (schema.default !== undefined) return schema.default;
  return typeof schema.$ref === "string" ? resolve(schema.$ref, root).default : undefined;
}
// `__proto__` is a name like any other.
function put(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

const pointer = (at, key) => `${at}/${String(key).replace(/~/g, "~0").replace(/\//g, "~1")}`;
const PLURAL = { fits: "fit", has: "have", is: "are" };
const say = (at, text) => (at === "" ? `the arguments ${text.replace(/^(fits|has|is)\b/, (verb) => PLURAL[verb])}` : `${at} ${text}`);
const show = (value) => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};

/** `undefined`, or what is wrong. */
function validate(schema, value, at, root, depth) {
  if (schema === true || schema === undefined) return undefined;
  if (schema === false) return say(at, "must not be there");
  if (!isObject(schema)) return undefined;
  if (depth > DEEPEST) return say(at, "is nested too deeply");
  const inner = (sub, item, where = at) => validate(sub, item, where, root, depth + 1);
  return (
    (typeof schema.$ref === "string" ? inner(resolve(schema.$ref, root), value) : undefined)
    ?? checkType(schema, value, at)
    ?? checkByType(schema, value, at, inner)
    ?? checkCombined(schema, value, at, inner)
  );
}

function checkByType(schema, value, at, inner) {
  if (typeof value === "string") return checkString(schema, value, at);
  if (typeof value === "number") return checkNumber(schema, value, at);
  if (Array.isArray(value)) return checkArray(schema, value, at, inner);
  return isObject(value) ? checkObject(schema, value, at, inner) : undefined;
}

function checkType(schema, value, at) {
  if (schema.type !== undefined) {
    const types = Array.isArray(schema.type) ? schema.type : [schema.type];
    if (!types.some((type) => matchesType(value, type))) {
      const wanted = types.map((type) => `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`).join(" or ").replace("a null", "null");
      return say(at, `must be ${wanted}, not ${typeof value === "object" ? typeOf(value) : show(value)}`);
    }
  }
  if (schema.enum !== undefined && !schema.enum.some((option) => equal(option, value))) {
    return say(at, `must be one of ${schema.enum.map(show).join(", ")}, not ${show(value)}`);
  }
  if (schema.const !== undefined && !equal(schema.const, value)) return say(at, `must be ${show(schema.const)}, not ${show(value)}`);
  return undefined;
}

function checkNumber(schema, value, at) {
  if (schema.minimum !== undefined && value < schema.minimum) return say(at, `must be at least ${schema.minimum}, not ${value}`);
  if (schema.maximum !== undefined && value > schema.maximum) return say(at, `must be at most ${schema.maximum}, not ${value}`);
  if (schema.exclusiveMinimum !== undefined && value <= schema.exclusiveMinimum) return say(at, `must be more than ${schema.exclusiveMinimum}, not ${value}`);
  if (schema.exclusiveMaximum !== undefined && value >= schema.exclusiveMaximum) return say(at, `must be less than ${schema.exclusiveMaximum}, not ${value}`);
  if (schema.multipleOf !== undefined) {
    const quotient = value / schema.multipleOf;
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9 * Math.max(1, Math.abs(quotient))) return say(at, `must be a multiple of ${schema.multipleOf}, not ${value}`);
  }
  return undefined;
}

function checkString(schema, value, at) {
  if (schema.minLength !== undefined || schema.maxLength !== undefined) {
    // JSON Schema counts characters, not UTF-16 units.
    let length = 0;
    for (const char of value) length += char.length > 0 ? 1 : 0;
    if (length < (schema.minLength ?? 0)) return say(at, schema.minLength === 1 ? "must not be empty" : `must have at least ${schema.minLength} characters, not ${length}`);
    if (length > (schema.maxLength ?? Infinity)) return say(at, `must have at most ${schema.maxLength} characters, not ${length}`);
  }
  if (schema.pattern !== undefined && !matches(schema.pattern, value)) return say(at, `must match ${schema.pattern}, and ${show(value)} does not`);
  return undefined;
}

function checkArray(schema, value, at, inner) {
  if (schema.minItems !== undefined && value.length < schema.minItems) return say(at, `must have at least ${schema.minItems} item${schema.minItems === 1 ? "" : "s"}, not ${value.length}`);
  if (schema.maxItems !== undefined && value.length > schema.maxItems) return say(at, `must have at most ${schema.maxItems} item${schema.maxItems === 1 ? "" : "s"}, not ${value.length}`);
  if (schema.uniqueItems === true) {
    for (let i = 1; i < value.length; i++) {
      if (value.slice(0, i).some((other) => equal(other, value[i]))) return say(pointer(at, i), "is there twice");
    }
  }
  const prefix = schema.prefixItems ?? (Array.isArray(schema.items) ? schema.items : []);
  for (let i = 0; i < value.length; i++) {
    const sub = i < prefix.length ? prefix[i] : Array.isArray(schema.items) ? schema.additionalItems : schema.items;
    const error = sub === false ? say(pointer(at, i), `must not be there: at most ${prefix.length} items are`) : inner(sub, value[i], pointer(at, i));
    if (error !== undefined) return error;
  }
  if (schema.contains !== undefined) {
    const found = value.filter((item) => inner(schema.contains, item) === undefined).length;
    if (found < (schema.minContains ?? 1)) return say(at, `must have an item that fits "contains"`);
    if (found > (schema.maxContains ?? Infinity)) return say(at, `must have at most ${schema.maxContains} items that fit "contains", not ${found}`);
  }
  return undefined;
}

function checkObject(schema, value, at, inner) {
  const names = Object.keys(value);
  const missing = schema.required?.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return say(pointer(at, missing), "is missing");
  if (schema.minProperties !== undefined && names.length < schema.minProperties) return say(at, `must have at least ${schema.minProperties} properties, not ${names.length}`);
  if (schema.maxProperties !== undefined && names.length > schema.maxProperties) return say(at, `must have at most ${schema.maxProperties} properties, not ${names.length}`);
  if (schema.dependentRequired !== undefined) {
    for (const [name, needed] of Object.entries(schema.dependentRequired)) {
      const missing = Object.hasOwn(value, name) ? needed.find((other) => !Object.hasOwn(value, other)) : undefined;
      if (missing !== undefined) return say(pointer(at, missing), `is missing: "${name}" needs it`);
    }
  }
  if (names.length === 0) return undefined;
  const properties = schema.properties ?? {};
  const patterns = schema.patternProperties === undefined ? [] : Object.entries(schema.patternProperties);
  for (const name of names) {
    const where = pointer(at, name);
    let known = false;
    if (schema.propertyNames !== undefined) {
      const error = inner(schema.propertyNames, name, where);
      if (error !== undefined) return `${error} (the name itself)`;
    }
    if (Object.hasOwn(properties, name)) {
      known = true;
      const error = inner(properties[name], value[name], where);
      if (error !== undefined) return error;
    }
    for (const [pattern, sub] of patterns) {
      if (!matches(pattern, name)) continue;
      known = true;
      const error = inner(sub, value[name], where);
      if (error !== undefined) return error;
    }
    if (!known && schema.additionalProperties !== undefined) {
      if (schema.additionalProperties === false) {
        const options = Object.keys(properties);
        return say(where, `is not known${options.length > 0 ? `; known are ${options.join(", ")}` : ""}`);
      }
      const error = inner(schema.additionalProperties, value[name], where);
      if (error !== undefined) return error;
    }
  }
  return undefined;
}

function checkCombined(schema, value, at, inner) {
  if (schema.allOf !== undefined) {
    for (const sub of schema.allOf) {
      const error = inner(sub, value);
      if (error !== undefined) return error;
    }
  }
  if (schema.anyOf !== undefined) {
    const errors = schema.anyOf.map((sub) => inner(sub, value));
    if (!errors.includes(undefined)) return say(at, `fits none of the ${errors.length} forms that are allowed (${errors.join("; or ")})`);
  }
  if (schema.oneOf !== undefined) {
    const errors = schema.oneOf.map((sub) => inner(sub, value));
    const fitting = errors.filter((error) => error === undefined).length;
    if (fitting === 0) return say(at, `fits none of the ${errors.length} forms that are allowed (${errors.join("; or ")})`);
    if (fitting > 1) return say(at, `fits ${fitting} of the forms, and only one is allowed`);
  }
  if (schema.not !== undefined && inner(schema.not, value) === undefined) return say(at, "has a form that is not allowed");
  if (schema.if !== undefined) {
    const branch = inner(schema.if, value) === undefined ? schema.then : schema.else;
    if (branch !== undefined) return inner(branch, value);
  }
  return undefined;
}
