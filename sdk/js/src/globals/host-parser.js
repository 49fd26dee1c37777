// Hosts of URLs: domains with their Punycode, IPv4 in all its spellings, IPv6, and opaque hosts.
import { C0_SET, percentDecode, percentEncode } from "./percent.js";
import { TextDecoder } from "./encoding.js";

const FORBIDDEN_HOST = /[\0\t\n\r #/:<>?@[\\\]^|]/;
const FORBIDDEN_DOMAIN = /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/;

/** The serialised host, or `null` where it is none. */
export function parseHost(input, isOpaque) {
  if (input.startsWith("[")) {
    if (!input.endsWith("]")) return null;
    const pieces = parseIpv6(input.slice(1, -1));
    return pieces === null ? null : `[${serializeIpv6(pieces)}]`;
  }
  if (isOpaque) return FORBIDDEN_HOST.test(input) ? null : percentEncode(input, C0_SET);
  let domain;
  try {
    domain = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(percentDecode(input));
  } catch {
    return null;
  }
  const ascii = domainToAscii(domain);
  if (ascii === null || ascii === "" || FORBIDDEN_DOMAIN.test(ascii)) return null;
  if (endsInNumber(ascii)) return parseIpv4(ascii);
  return ascii;
}

// ---- IDNA -------------------------------------------------------------------------------------------------------
// UTS #46 by what the engine knows: NFKC, lower case, and the characters that are dropped. Its tables of disallowed
// characters are not here, so a few hosts pass that a browser refuses; the DNS refuses those.

const IGNORED = /[\u00ad\u034f\u180b-\u180d\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]/g;
const DOTS = /[\u3002\uff0e\uff61]/g;

function domainToAscii(domain) {
  // eslint-disable-next-line no-control-regex
  if (/^[\0-\x7f]*$/.test(domain) && !/(^|\.)xn--/i.test(domain)) return domain.toLowerCase();
  const mapped = domain.replace(IGNORED, "").replace(DOTS, ".").normalize("NFKC").toLowerCase().normalize("NFKC");
  const labels = [];
  for (const label of mapped.split(".")) {
    // eslint-disable-next-line no-control-regex
    if (/^[\0-\x7f]*$/.test(label)) {
      if (label.startsWith("xn--") && !isPunycodeLabel(label.slice(4))) return null;
      labels.push(label);
    } else {
      if (/^\p{M}/u.test(label) || /[\u200c\u200e\u200f\u202a-\u202e\ufffd]/.test(label) || label.startsWith("xn--")) return null;
      labels.push("xn--" + punycode(label));
    }
  }
  return labels.join(".");
}

const BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700;

function adapt(delta, points, first) {
  delta = first ? Math.floor(delta / DAMP) : delta >> 1;
  delta += Math.floor(delta / points);
  let k = 0;
  for (; delta > ((BASE - T_MIN) * T_MAX) >> 1; k += BASE) delta = Math.floor(delta / (BASE - T_MIN));
  return k + Math.floor(((BASE - T_MIN + 1) * delta) / (delta + SKEW));
}
const threshold = (k, bias) => (k <= bias ? T_MIN : k >= bias + T_MAX ? T_MAX : k - bias);
const digit = (value) => String.fromCharCode(value < 26 ? value + 97 : value + 22);

/** RFC 3492, section 6.3. */
function punycode(label) {
  const points = Array.from(label, (char) => char.codePointAt(0));
  const basic = points.filter((point) => point < 128);
  let out = String.fromCharCode(...basic);
  let handled = basic.length;
  if (handled > 0) out += "-";
  let n = 128, delta = 0, bias = 72;
  while (handled < points.length) {
    const next = Math.min(...points.filter((point) => point >= n));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of points) {
      if (point < n) delta++;
      if (point !== n) continue;
      let q = delta;
      for (let k = BASE; ; k += BASE) {
        const t = threshold(k, bias);
        if (q < t) break;
        out += digit(t + ((q - t) % (BASE - t)));
        q = Math.floor((q - t) / (BASE - t));
      }
      out += digit(q);
      bias = adapt(delta, handled + 1, handled === basic.length);
      delta = 0;
      handled++;
    }
    delta++;
    n++;
  }
  return out;
}

/** Whether a label behind `xn--` decodes to something that is not plain ASCII (RFC 3492, section 6.2). */
function isPunycodeLabel(text) {
  const cut = text.lastIndexOf("-");
  const out = cut > 0 ? Array.from(text.slice(0, cut), (char) => char.charCodeAt(0)) : [];
  let n = 128, i = 0, bias = 72;
  let at = cut > 0 ? cut + 1 : 0;
  if (at >= text.length) return false;
  while (at < text.length) {
    const before = i;
    let weight = 1;
    for (let k = BASE; ; k += BASE) {
      if (at >= text.length) return false;
      const code = text.charCodeAt(at++);
      const value = code >= 48 && code <= 57 ? code - 22 : code >= 97 && code <= 122 ? code - 97 : BASE;
      if (value >= BASE) return false;
      i += value * weight;
      const t = threshold(k, bias);
      if (value < t) break;
      weight *= BASE - t;
      if (i > 0x7fffffff || weight > 0x7fffffff) return false;
    }
    bias = adapt(i - before, out.length + 1, before === 0);
    n += Math.floor(i / (out.length + 1));
    if (n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff)) return false;
    i %= out.length + 1;
    out.splice(i++, 0, n);
  }
  const decoded = String.fromCodePoint(...out);
  if (/[\0-\x9f\p{Co}\p{Cn}]/u.test(decoded) && !/[^\0-\x9f]/u.test(decoded)) return false;
  return decoded === decoded.normalize("NFKC").toLowerCase() && !/^\p{M}/u.test(decoded);
}

// ---- IPv4 -------------------------------------------------------------------------------------------------------

function endsInNumber(host) {
  const parts = host.split(".");
  if (parts[parts.length - 1] === "") {
    if (parts.length === 1) return false;
    parts.pop();
  }
  const last = parts[parts.length - 1];
  return /^[0-9]+$/.test(last) || /^0[xX][0-9a-fA-F]*$/.test(last);
}

function ipv4Number(text) {
  if (text === "") return null;
  if (/^0[xX]/.test(text)) return /^0[xX][0-9a-fA-F]*$/.test(text) ? (text.length === 2 ? 0 : parseInt(text.slice(2), 16)) : null;
  if (text.length > 1 && text[0] === "0") return /^[0-7]+$/.test(text) ? parseInt(text, 8) : null;
  return /^[0-9]+$/.test(text) ? parseInt(text, 10) : null;
}

function parseIpv4(host) {
  const parts = host.split(".");
  if (parts[parts.length - 1] === "" && parts.length > 1) parts.pop();
  if (parts.length > 4) return null;
  const numbers = parts.map(ipv4Number);
  if (numbers.includes(null)) return null;
  const last = numbers.pop();
  if (numbers.some((number) => number > 255) || last >= 256 ** (4 - numbers.length)) return null;
  let address = last;
  numbers.forEach((number, i) => { address += number * 256 ** (3 - i); });
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

// ---- IPv6 -------------------------------------------------------------------------------------------------------

function parseIpv6(text) {
  const pieces = [];
  let compress = -1;
  let at = 0;
  if (text[at] === ":") {
    if (text[1] !== ":") return null;
    at = 2;
    compress = 0;
  }
  while (at < text.length) {
    if (pieces.length === 8) return null;
    if (text[at] === ":") {
      if (compress >= 0) return null;
      at++;
      compress = pieces.length;
      continue;
    }
    const digits = /^[0-9a-fA-F]{0,4}/.exec(text.slice(at))[0];
    if (text[at + digits.length] === ".") {
      const parts = text.slice(at).split(".");
      if (digits === "" || pieces.length > 6 || parts.length !== 4) return null;
      if (parts.some((part) => !/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255)) return null;
      pieces.push(Number(parts[0]) * 256 + Number(parts[1]), Number(parts[2]) * 256 + Number(parts[3]));
      at = text.length;
      break;
    }
    at += digits.length;
    if (at < text.length) {
      if (text[at] !== ":") return null;
      at++;
      if (at >= text.length) return null;
    }
    if (digits === "") return null;
    pieces.push(parseInt(digits, 16));
  }
  if (compress >= 0) {
    if (pieces.length === 8) return null;
    pieces.splice(compress, 0, ...new Array(8 - pieces.length).fill(0));
  }
  return pieces.length === 8 ? pieces : null;
}

function serializeIpv6(pieces) {
  let best = -1, bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && pieces[i + length] === 0) length++;
    if (length > bestLength) {
      best = i;
      bestLength = length;
    }
    if (length > 0) i += length - 1;
  }
  const hex = (from, to) => pieces.slice(from, to).map((piece) => piece.toString(16)).join(":");
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestLength, 8)}`;
}
