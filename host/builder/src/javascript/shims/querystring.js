// Node's `querystring`.
export const escape = encodeURIComponent;
export const unescape = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

export function stringify(values, separator = "&", equals = "=") {
  return Object.entries(values ?? {})
    .flatMap(([name, value]) => [value].flat().map((one) => `${escape(name)}${equals}${escape(one ?? "")}`))
    .join(separator);
}

export function parse(text, separator = "&", equals = "=") {
  const values = Object.create(null);
  for (const part of String(text).split(separator)) {
    if (part === "") continue;
    const at = part.indexOf(equals);
    const [name, value] = (at < 0 ? [part, ""] : [part.slice(0, at), part.slice(at + equals.length)]).map((one) => unescape(one.replaceAll("+", " ")));
    values[name] = name in values ? [values[name], value].flat() : value;
  }
  return values;
}

export { parse as decode, stringify as encode };
export default { escape, unescape, stringify, parse, encode: stringify, decode: parse };
