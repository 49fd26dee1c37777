// TextEncoder and TextDecoder: UTF-8, UTF-16 and the single-byte encodings of the WHATWG Encoding Standard.
import { SINGLE_BYTE } from "./single-byte.js";

const LABELS = {
  "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
  "utf-16le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
  "utf-16be": "unicodefffe utf-16be",
  "windows-1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
  "ibm866": "866 cp866 csibm866 ibm866",
  "iso-8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
  "iso-8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
  "iso-8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
  "iso-8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
  "iso-8859-6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
  "iso-8859-7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek",
  "iso-8859-8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 visual",
  "iso-8859-8-i": "csiso88598i iso-8859-8-i logical",
  "iso-8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
  "iso-8859-13": "iso-8859-13 iso8859-13 iso885913",
  "iso-8859-14": "iso-8859-14 iso8859-14 iso885914",
  "iso-8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
  "iso-8859-16": "iso-8859-16",
  "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
  "koi8-u": "koi8-ru koi8-u",
  "macintosh": "csmacintosh mac macintosh x-mac-roman",
  "windows-874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
  "windows-1250": "cp1250 windows-1250 x-cp1250",
  "windows-1251": "cp1251 windows-1251 x-cp1251",
  "windows-1253": "cp1253 windows-1253 x-cp1253",
  "windows-1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
  "windows-1255": "cp1255 windows-1255 x-cp1255",
  "windows-1256": "cp1256 windows-1256 x-cp1256",
  "windows-1257": "cp1257 windows-1257 x-cp1257",
  "windows-1258": "cp1258 windows-1258 x-cp1258",
  "x-mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
};
const ENCODINGS = new Map();
for (const [name, labels] of Object.entries(LABELS)) {
  for (const label of labels.split(" ")) ENCODINGS.set(label, name);
}

/** The standard's name of an encoding for one of its labels, or `undefined`. */
export function encodingOf(label) {
  return ENCODINGS.get(String(label).replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "").toLowerCase());
}

/** UTF-8 of a string; what is not valid UTF-16 becomes U+FFFD. */
export function utf8Encode(text) {
  const length = text.length;
  let bytes = new Uint8Array(length + 16);
  let at = 0;
  for (let i = 0; i < length; i++) {
    let code = text.charCodeAt(i);
    if (at + 4 > bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    if (code < 0x80) {
      bytes[at++] = code;
      continue;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      const next = i + 1 < length ? text.charCodeAt(i + 1) : 0;
      if (code <= 0xdbff && next >= 0xdc00 && next <= 0xdfff) {
        code = ((code - 0xd800) << 10) + (next - 0xdc00) + 0x10000;
        i++;
      } else {
        code = 0xfffd;
      }
    }
    if (code < 0x800) {
      bytes[at++] = 0xc0 | (code >> 6);
    } else {
      if (code < 0x10000) {
        bytes[at++] = 0xe0 | (code >> 12);
      } else {
        bytes[at++] = 0xf0 | (code >> 18);
        bytes[at++] = 0x80 | ((code >> 12) & 63);
      }
      bytes[at++] = 0x80 | ((code >> 6) & 63);
    }
    bytes[at++] = 0x80 | (code & 63);
  }
  // A copy with a buffer of its own size: callers hand out `.buffer`.
  return bytes.slice(0, at);
}

export class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return utf8Encode(String(text)); }
  encodeInto(source, target) {
    if (!(target instanceof Uint8Array)) throw new TypeError("encodeInto writes into a Uint8Array");
    const text = String(source);
    let read = 0;
    let written = 0;
    for (const char of text) {
      const bytes = utf8Encode(char);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += char.length;
    }
    return { read, written };
  }
  get [Symbol.toStringTag]() { return "TextEncoder"; }
}

/** Any buffer or view as bytes, without a copy. */
export function viewBytes(input) {
  if (input === undefined) return new Uint8Array(0);
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (input instanceof ArrayBuffer || (typeof SharedArrayBuffer === "function" && input instanceof SharedArrayBuffer)) {
    return new Uint8Array(input);
  }
  const error = new TypeError('The "input" argument must be an instance of ArrayBuffer or ArrayBufferView.');
  error.code = "ERR_INVALID_ARG_TYPE";
  throw error;
}

/** Collects code units and gives the string; in pieces, as `apply` takes only so many. */
class Units {
  constructor() {
    this.units = new Uint16Array(4096);
    this.length = 0;
    this.parts = [];
  }
  push(code) {
    if (this.length + 2 > 4096) this.flush();
    if (code >= 0x10000) {
      this.units[this.length++] = 0xd800 + ((code - 0x10000) >> 10);
      code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    this.units[this.length++] = code;
  }
  flush() {
    if (this.length > 0) this.parts.push(String.fromCharCode.apply(null, this.units.subarray(0, this.length)));
    this.length = 0;
  }
  text() {
    this.flush();
    return this.parts.join("");
  }
}

/** Decodes UTF-8 up to the first byte that is malformed or whose sequence is incomplete, and says where that is. */
function decodeWellFormed(bytes, start, out) {
  const { units } = out;
  const length = bytes.length;
  let at = out.length;
  let i = start;
  while (i < length) {
    if (at > 4094) {
      out.length = at;
      out.flush();
      at = 0;
    }
    const byte = bytes[i];
    if (byte < 0x80) {
      units[at++] = byte;
      i++;
      continue;
    }
    const second = i + 1 < length ? bytes[i + 1] : 0;
    if ((second & 0xc0) !== 0x80 || byte < 0xc2 || byte > 0xf4) break;
    if (byte < 0xe0) {
      units[at++] = ((byte & 0x1f) << 6) | (second & 63);
      i += 2;
      continue;
    }
    const third = i + 2 < length ? bytes[i + 2] : 0;
    if ((third & 0xc0) !== 0x80) break;
    if (byte < 0xf0) {
      const code = ((byte & 0xf) << 12) | ((second & 63) << 6) | (third & 63);
      // Overlong, or half of a surrogate pair.
      if (code < 0x800 || (code >= 0xd800 && code <= 0xdfff)) break;
      units[at++] = code;
      i += 3;
      continue;
    }
    const fourth = i + 3 < length ? bytes[i + 3] : 0;
    const code = ((byte & 7) << 18) | ((second & 63) << 12) | ((third & 63) << 6) | (fourth & 63);
    if ((fourth & 0xc0) !== 0x80 || code < 0x10000 || code > 0x10ffff) break;
    units[at++] = 0xd800 + ((code - 0x10000) >> 10);
    units[at++] = 0xdc00 + ((code - 0x10000) & 0x3ff);
    i += 4;
  }
  out.length = at;
  return i;
}

const MALFORMED = -1;

class Utf8State {
  constructor() { this.reset(); }
  reset() {
    this.code = 0;
    this.needed = 0;
    this.lower = 0x80;
    this.upper = 0xbf;
  }
  decode(bytes, out) {
    const length = bytes.length;
    let i = 0;
    while (i < length) {
      const byte = bytes[i];
      if (this.needed === 0) {
        i++;
        if (byte < 0x80) {
          out.push(byte);
        } else if (byte >= 0xc2 && byte <= 0xdf) {
          this.needed = 1;
          this.code = byte & 0x1f;
        } else if (byte >= 0xe0 && byte <= 0xef) {
          if (byte === 0xe0) this.lower = 0xa0;
          if (byte === 0xed) this.upper = 0x9f;
          this.needed = 2;
          this.code = byte & 0xf;
        } else if (byte >= 0xf0 && byte <= 0xf4) {
          if (byte === 0xf0) this.lower = 0x90;
          if (byte === 0xf4) this.upper = 0x8f;
          this.needed = 3;
          this.code = byte & 7;
        } else {
          out.push(MALFORMED);
        }
      } else if (byte < this.lower || byte > this.upper) {
        // The byte is looked at again: it may begin something else.
        this.reset();
        out.push(MALFORMED);
      } else {
        i++;
        this.lower = 0x80;
        this.upper = 0xbf;
        this.code = (this.code << 6) | (byte & 63);
        if (--this.needed === 0) {
          out.push(this.code);
          this.code = 0;
        }
      }
    }
  }
  end(out) {
    if (this.needed > 0) out.push(MALFORMED);
    this.reset();
  }
}

class Utf16State {
  constructor(bigEndian) {
    this.bigEndian = bigEndian;
    this.reset();
  }
  reset() {
    this.byte = -1;
    this.lead = -1;
  }
  decode(bytes, out) {
    for (let i = 0; i < bytes.length; i++) {
      if (this.byte < 0) {
        this.byte = bytes[i];
        continue;
      }
      const unit = this.bigEndian ? (this.byte << 8) | bytes[i] : (bytes[i] << 8) | this.byte;
      this.byte = -1;
      if (this.lead >= 0) {
        if (unit >= 0xdc00 && unit <= 0xdfff) {
          out.push(((this.lead - 0xd800) << 10) + (unit - 0xdc00) + 0x10000);
          this.lead = -1;
          continue;
        }
        this.lead = -1;
        out.push(MALFORMED);
      }
      if (unit >= 0xd800 && unit <= 0xdbff) this.lead = unit;
      else if (unit >= 0xdc00 && unit <= 0xdfff) out.push(MALFORMED);
      else out.push(unit);
    }
  }
  end(out) {
    if (this.byte >= 0 || this.lead >= 0) out.push(MALFORMED);
    this.reset();
  }
}

class SingleByteState {
  constructor(table) { this.table = table; }
  reset() {}
  decode(bytes, out) {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte < 0x80) {
        out.push(byte);
      } else {
        const code = this.table.charCodeAt(byte - 0x80);
        out.push(code === 0xfffd ? MALFORMED : code);
      }
    }
  }
  end() {}
}

function stateFor(encoding) {
  if (encoding === "utf-8") return new Utf8State();
  if (encoding === "utf-16le") return new Utf16State(false);
  if (encoding === "utf-16be") return new Utf16State(true);
  return new SingleByteState(SINGLE_BYTE[encoding === "iso-8859-8-i" ? "iso-8859-8" : encoding]);
}

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBom;
  #state;
  #bomSeen = false;
  #continues = false;
  constructor(label = "utf-8", options = {}) {
    const encoding = encodingOf(label);
    if (encoding === undefined) {
      const error = new RangeError(`The "${label}" encoding is not supported`);
      error.code = "ERR_ENCODING_NOT_SUPPORTED";
      throw error;
    }
    this.#encoding = encoding;
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBom = Boolean(options?.ignoreBOM);
    this.#state = stateFor(encoding);
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBom; }
  decode(input, options = {}) {
    const bytes = viewBytes(input);
    if (!this.#continues) {
      this.#state.reset();
      this.#bomSeen = false;
    }
    this.#continues = Boolean(options?.stream);
    const units = new Units();
    const unicode = this.#encoding.startsWith("utf-");
    const out = {
      push: (code) => {
        if (code === MALFORMED) {
          if (this.#fatal) {
            this.#continues = false;
            const error = new TypeError(`The encoded data was not valid for encoding ${this.#encoding}`);
            error.code = "ERR_ENCODING_INVALID_ENCODED_DATA";
            throw error;
          }
          code = 0xfffd;
        }
        if (!this.#bomSeen) {
          this.#bomSeen = true;
          if (code === 0xfeff && unicode && !this.#ignoreBom) return;
        }
        units.push(code);
      },
    };
    // Well-formed text, which is nearly all there is, needs no state machine.
    let start = 0;
    if (this.#encoding === "utf-8" && this.#state.needed === 0) {
      if (!this.#bomSeen && !this.#ignoreBom && bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
        this.#bomSeen = true;
        start = 3;
      }
      const end = decodeWellFormed(bytes, start, units);
      if (end > start) this.#bomSeen = true;
      start = end;
    }
    this.#state.decode(start > 0 ? bytes.subarray(start) : bytes, out);
    if (!this.#continues) this.#state.end(out);
    return units.text();
  }
  get [Symbol.toStringTag]() { return "TextDecoder"; }
}

/** UTF-8 bytes as text, a BOM taken off and what is malformed replaced. */
export function utf8Decode(bytes) {
  return new TextDecoder().decode(bytes);
}
