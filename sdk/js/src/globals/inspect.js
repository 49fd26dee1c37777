// Values as text, in the form that Node's console gives them, and Node's format directives.
const WIDTH = 80;
const COMPACT = 3;
const MOST_ITEMS = 100;

function quote(text) {
  let mark = "'";
  if (text.includes("'")) {
    if (!text.includes('"')) mark = '"';
    else if (!text.includes("`") && !text.includes("${")) mark = "`";
  }
  const escaped = text.replace(/[\0-\x1f\x7f-\x9f\\]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, (char) => {
    const short = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\" }[char];
    if (short !== undefined) return short;
    const code = char.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).toUpperCase().padStart(2, "0")}` : `\\u${code.toString(16).toUpperCase()}`;
  });
  return mark + (mark === "'" ? escaped.replace(/'/g, "\\'") : escaped) + mark;
}

function primitive(value, state) {
  switch (typeof value) {
    case "string": {
      // Node breaks a long text with line breaks over lines inside of objects.
      if (state.depth > 0 && value.length > 16 && value.length > WIDTH - state.indent - 10 && value.includes("\n")) {
        return value.split(/(?<=\n)/).map(quote).join(` +\n${" ".repeat(state.indent + 2)}`);
      }
      return quote(value);
    }
    case "number": return Object.is(value, -0) ? "-0" : String(value);
    case "bigint": return `${value}n`;
    default: return String(value);
  }
}

function className(value) {
  for (let at = value; at !== null; at = Object.getPrototypeOf(at)) {
    const descriptor = Object.getOwnPropertyDescriptor(at, "constructor");
    if (descriptor !== undefined && typeof descriptor.value === "function" && descriptor.value.name !== "") {
      return descriptor.value.name;
    }
  }
  return null;
}

function heading(value, usual, size) {
  const name = className(value);
  const tag = value[Symbol.toStringTag];
  let text = name === null ? `[${usual}${size === undefined ? "" : `(${size})`}: null prototype] ` : name === usual && size === undefined ? "" : `${name}${size === undefined ? "" : `(${size})`} `;
  if (typeof tag === "string" && tag !== "" && tag !== name && !Object.hasOwn(value, Symbol.toStringTag)) text += `[${tag}] `;
  return text;
}

function keyText(key) {
  if (typeof key === "symbol") return `[${String(key)}]`;
  return /^[a-zA-Z_][a-zA-Z_0-9]*$/.test(key) ? key : quote(key);
}

function property(object, key, state, bare) {
  const descriptor = Object.getOwnPropertyDescriptor(object, key) ?? { value: object[key], enumerable: true };
  let text;
  if (descriptor.get !== undefined) text = descriptor.set !== undefined ? "[Getter/Setter]" : "[Getter]";
  else if (descriptor.set !== undefined) text = "[Setter]";
  else {
    state.indent += 2;
    text = render(descriptor.value, state);
    state.indent -= 2;
  }
  if (bare) return text;
  const name = descriptor.enumerable === false ? `[${String(key)}]` : keyText(key);
  return `${name}: ${text}`;
}

function ownKeys(value) {
  return [...Object.keys(value), ...Object.getOwnPropertySymbols(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key))];
}
const isIndex = (key) => typeof key === "string" && /^(0|[1-9][0-9]{0,9})$/.test(key);

function listItems(value, state) {
  const items = [];
  let hole = 0;
  let shown = 0;
  const flush = () => {
    if (hole > 0) items.push(`<${hole} empty item${hole > 1 ? "s" : ""}>`);
    if (hole > 0) shown++;
    hole = 0;
  };
  let i = 0;
  for (; i < value.length && shown < MOST_ITEMS; i++) {
    if (!Object.hasOwn(value, i)) {
      hole++;
      continue;
    }
    flush();
    if (shown >= MOST_ITEMS) break;
    items.push(property(value, String(i), state, true));
    shown++;
  }
  flush();
  if (i < value.length) items.push(more(value.length - i));
  return items;
}
const more = (count) => `... ${count} more item${count > 1 ? "s" : ""}`;

function errorText(error) {
  const message = String(error.message ?? "");
  const name = String(error.name ?? "Error");
  const title = message === "" ? name : `${name}: ${message}`;
  const stack = typeof error.stack === "string" ? error.stack : "";
  if (stack === "") return `[${title}]`;
  // QuickJS leaves the first line out; Node's stack begins with it.
  return stack.startsWith(title) || stack.startsWith(name) ? stack.trimEnd() : `${title}\n${stack.trimEnd()}`;
}

function functionText(value) {
  const source = Function.prototype.toString.call(value);
  if (/^class\b/.test(source)) {
    const parent = Object.getPrototypeOf(value);
    return `[class ${value.name || "(anonymous)"}${parent?.name ? ` extends ${parent.name}` : ""}]`;
  }
  const kind = className(value) ?? "Function";
  return `[${kind}${value.name ? `: ${value.name}` : " (anonymous)"}]`;
}

function render(value, state) {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return primitive(value, state);
  const custom = value[Symbol.for("nodejs.util.inspect.custom")];
  if (typeof custom === "function") {
    const shown = custom.call(value, state.limit - state.depth, {}, inspect);
    if (shown !== value) return typeof shown === "string" ? shown : render(shown, state);
  }
  if (state.seen.includes(value)) {
    if (!state.circular.has(value)) state.circular.set(value, state.circular.size + 1);
    return `[Circular *${state.circular.get(value)}]`;
  }
  const shape = outline(value, state);
  if (typeof shape === "string") return shape;
  if (shape.keys.length + shape.size === 0) return mark(value, state, shape.base === "" ? `${shape.open}${shape.close}` : shape.base);
  if (state.depth > state.limit) {
    return Array.isArray(value) ? "[Array]" : `[${(heading(value, "\0").trim() || "Object").replace(/^\[\0: null prototype\]/, "Object: null prototype")}]`;
  }
  state.seen.push(value);
  state.depth++;
  state.current = state.depth;
  const level = state.depth;
  let items = shape.items();
  for (const key of shape.keys) items.push(property(value, key, state, false));
  state.seen.pop();
  state.depth--;
  let { open, base } = shape;
  const reference = state.circular.has(value) ? `<ref *${state.circular.get(value)}> ` : "";
  if (base === "") open = reference + open;
  else base = reference + base;
  const count = items.length;
  if (shape.isList && count > 6) items = columns(items, state, count > MOST_ITEMS || value.length > MOST_ITEMS);
  const indentation = " ".repeat(state.indent);
  const head = base === "" ? open : `${base} ${open}`;
  if (state.current - level < COMPACT && items.length === count) {
    const length = items.reduce((sum, item) => sum + item.length, 0) + items.length;
    if (length + items.length + state.indent + open.length + base.length + 10 <= WIDTH && !items.some((item) => item.includes("\n")) && !base.includes("\n")) {
      return `${head} ${items.join(", ")} ${shape.close}`;
    }
  }
  return `${head}\n${indentation}  ${items.join(`,\n${indentation}  `)}\n${indentation}${shape.close}`;
}

function mark(value, state, text) {
  return state.circular.has(value) ? `<ref *${state.circular.get(value)}> ${text}` : text;
}

/** What stands around the properties of a value: braces, a base such as `[Function: f]`, and items that are not properties. */
function outline(value, state) {
  const keys = ownKeys(value);
  const shape = { open: "{", close: "}", base: "", keys, isList: false, size: 0, items: () => [] };
  const nested = (inner) => {
    state.indent += 2;
    const text = render(inner, state);
    state.indent -= 2;
    return text;
  };
  if (Array.isArray(value)) {
    const head = heading(value, "Array", value.length);
    return { ...shape, open: `${head === `Array(${value.length}) ` ? "" : head}[`, close: "]", isList: true, size: value.length, keys: keys.filter((key) => !isIndex(key)), items: () => listItems(value, state) };
  }
  if (value instanceof Map) {
    return { ...shape, size: value.size, open: `${heading(value, "Map", value.size)}{`, items: () => [...value].map(([key, inner]) => `${nested(key)} => ${nested(inner)}`) };
  }
  if (value instanceof Set) {
    return { ...shape, size: value.size, open: `${heading(value, "Set", value.size)}{`, items: () => [...value].map(nested) };
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const size = value.length;
    return {
      ...shape, size, open: `${heading(value, "TypedArray", size)}[`, close: "]", isList: true, keys: keys.filter((key) => !isIndex(key)),
      items: () => {
        const items = Array.from(value.subarray(0, MOST_ITEMS), (item) => primitive(item, state));
        if (size > MOST_ITEMS) items.push(more(size - MOST_ITEMS));
        return items;
      },
    };
  }
  if (value instanceof ArrayBuffer) {
    const bytes = new Uint8Array(value);
    const hex = Array.from(bytes.subarray(0, 50), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const rest = bytes.length > 50 ? ` ... ${bytes.length - 50} more byte${bytes.length > 51 ? "s" : ""}` : "";
    return { ...shape, size: 1, open: "ArrayBuffer {", items: () => [`[Uint8Contents]: <${hex}${rest}>`, `byteLength: ${bytes.length}`] };
  }
  if (value instanceof Error) {
    const base = errorText(value);
    const extra = keys.filter((key) => key !== "stack" && key !== "message");
    const indented = state.indent === 0 ? base : base.replace(/\n/g, `\n${" ".repeat(state.indent)}`);
    const hidden = ["cause", "errors"].filter((key) => Object.hasOwn(value, key) && !extra.includes(key));
    return { ...shape, base: indented, keys: [...extra, ...hidden] };
  }
  if (typeof value === "function") return { ...shape, base: functionText(value) };
  if (value instanceof Date) return { ...shape, base: Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString() };
  if (value instanceof RegExp) return { ...shape, base: RegExp.prototype.toString.call(value) };
  if (value instanceof Promise) return `Promise {}`;
  if (value instanceof WeakMap) return "WeakMap { <items unknown> }";
  if (value instanceof WeakSet) return "WeakSet { <items unknown> }";
  for (const Box of [String, Number, Boolean, Symbol, BigInt]) {
    if (value instanceof Box) {
      return { ...shape, base: `[${Box.name}: ${primitive(Box.prototype.valueOf.call(value), { ...state, depth: 0 })}]`, keys: keys.filter((key) => !isIndex(key)) };
    }
  }
  if (Object.prototype.toString.call(value) === "[object Arguments]") {
    return { ...shape, open: "[Arguments] [", close: "]", isList: true, size: value.length, keys: [], items: () => Array.from(value, nested) };
  }
  return { ...shape, open: `${heading(value, "Object")}{` };
}

/** Many short items in columns, aligned as Node does: numbers to the right, others to the left. */
function columns(items, state, hasRest) {
  const list = hasRest ? items.slice(0, -1) : items;
  const lengths = list.map((item) => item.length);
  const widest = Math.max(...lengths) + 2;
  const total = lengths.reduce((sum, length) => sum + length + 2, 0);
  if (widest * 3 + state.indent >= WIDTH || !(total / widest > 5 || widest <= 8)) return items;
  const perRow = columnCount(list.length, widest, total, items.length, state);
  if (perRow <= 1) return items;
  const widths = [];
  for (let column = 0; column < perRow; column++) {
    let width = 0;
    for (let i = column; i < list.length; i += perRow) width = Math.max(width, lengths[i]);
    widths.push(width + 2);
  }
  const right = list.every((item) => /^(-?[0-9.]+(e[+-]?[0-9]+)?n?|NaN|-?Infinity)$/.test(item));
  const rows = [];
  for (let i = 0; i < list.length; i += perRow) {
    const end = Math.min(i + perRow, list.length);
    let row = "";
    for (let j = i; j < end - 1; j++) {
      const cell = `${list[j]}, `;
      row += right ? cell.padStart(widths[j - i]) : cell.padEnd(widths[j - i]);
    }
    row += right ? list[end - 1].padStart(widths[end - 1 - i] - 2) : list[end - 1];
    rows.push(row);
  }
  if (hasRest) rows.push(items[items.length - 1]);
  return rows;
}

function columnCount(entries, widest, total, all, state) {
  const averageBias = Math.sqrt(widest - total / all);
  const biasedMax = Math.max(widest - 3 - averageBias, 1);
  return Math.min(
    // A rectangle whose sides look alike: a character is about 2.5 times as high as it is wide.
    Math.round(Math.sqrt(2.5 * biasedMax * entries) / biasedMax),
    Math.floor((WIDTH - state.indent) / widest),
    COMPACT * 4,
    15,
  );
}

/** A value as Node's `util.inspect` shows it. */
export function inspect(value, options = {}) {
  return render(value, { depth: 0, indent: 0, current: 0, limit: options?.depth === null ? Infinity : options?.depth ?? 2, seen: [], circular: new Map() });
}

function number(value, convert) {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol") return "NaN";
  return primitive(convert(value), { depth: 0 });
}

/** Node's `util.format`: `%s %d %i %f %j %o %O %c %%`, and what is left over behind it. */
export function format(...args) {
  let at = 0;
  let text = "";
  if (typeof args[0] === "string") {
    at = 1;
    text = args.length === 1 ? args[0] : args[0].replace(/%[sdifjoOc%]/g, (directive) => {
      if (directive === "%%") return "%";
      if (at >= args.length) return directive;
      const value = args[at++];
      switch (directive) {
        case "%s":
          if (typeof value === "bigint") return `${value}n`;
          if (typeof value === "number") return primitive(value, { depth: 0 });
          if (typeof value !== "object" || value === null) return String(value);
          return ownToString(value) ? String(value) : inspect(value, { depth: 0 });
        case "%d": return number(value, Number);
        case "%i": return typeof value === "object" && value !== null ? "NaN" : number(value, (given) => parseInt(given, 10));
        case "%f": return number(value, parseFloat);
        case "%j": try { return JSON.stringify(value); } catch { return "[Circular]"; }
        case "%o": return inspect(value, { depth: 4 });
        case "%O": return inspect(value);
        default: return "";
      }
    });
  }
  for (; at < args.length; at++) {
    const value = args[at];
    text += (at > 0 ? " " : "") + (typeof value === "string" ? value : inspect(value));
  }
  return text;
}

// A class of the author's that says how it wants to be printed, or an error or a date.
function ownToString(value) {
  if (value instanceof Error) return true;
  if (value instanceof Date) return false;
  for (let at = value; at !== null; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, "toString")) return at !== Object.prototype && at !== Array.prototype && !Function.prototype.toString.call(at.constructor).includes("[native code]");
  }
  return false;
}
