// crypto: randomness from the host, digests and HMAC. Whatever else WebCrypto knows is not here.
import * as host from "../host.js";
import { DOMException } from "./dom-exception.js";
import { viewBytes } from "./encoding.js";
import { hashNamed, hmac } from "./sha.js";

const MOST_BYTES = 65536;

/** Random bytes from the host. */
export function randomBytes(count) {
  return host.hostCall("crypto", () => {
    const bytes = host.system.random(count);
    return bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes);
  });
}

function getRandomValues(array) {
  if (!ArrayBuffer.isView(array) || array instanceof DataView || array instanceof Float32Array || array instanceof Float64Array) {
    throw new DOMException("The data argument must be an integer-type TypedArray", "TypeMismatchError");
  }
  if (array.byteLength > MOST_BYTES) {
    throw new DOMException(`The requested length exceeds 65,536 bytes`, "QuotaExceededError");
  }
  if (array.byteLength > 0) viewBytes(array).set(randomBytes(array.byteLength));
  return array;
}

function randomUUID() {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function wantedHash(algorithm) {
  const name = typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm;
  const hash = hashNamed(name);
  if (hash === undefined) throw new DOMException(`Unrecognized algorithm name: ${name}`, "NotSupportedError");
  return hash;
}

class CryptoKey {
  #bytes;
  constructor(bytes, hash, extractable, usages) {
    this.#bytes = bytes;
    this.type = "secret";
    this.extractable = extractable;
    this.algorithm = { name: "HMAC", hash: { name: hash.name }, length: bytes.length * 8 };
    this.usages = usages;
    Object.freeze(this);
  }
  static bytes(key) {
    return key.#bytes;
  }
  get [Symbol.toStringTag]() { return "CryptoKey"; }
}

function wantKey(key, usage) {
  if (!(key instanceof CryptoKey)) throw new TypeError("The key is not a CryptoKey");
  if (!key.usages.includes(usage)) throw new DOMException(`The key is not for "${usage}"`, "InvalidAccessError");
  return { hash: hashNamed(key.algorithm.hash.name), bytes: CryptoKey.bytes(key) };
}

function wantHmac(algorithm) {
  const name = typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm;
  if (String(name).toUpperCase() !== "HMAC") throw new DOMException(`${name} is not there: only HMAC is`, "NotSupportedError");
}

const subtle = {
  async digest(algorithm, data) {
    return wantedHash(algorithm).run(viewBytes(data)).buffer;
  },
  async importKey(form, key, algorithm, extractable, usages) {
    wantHmac(algorithm);
    if (form !== "raw") throw new DOMException(`importKey takes "raw" keys`, "NotSupportedError");
    const bytes = viewBytes(key).slice();
    if (bytes.length === 0) throw new DOMException("Zero-length key is not supported", "DataError");
    return new CryptoKey(bytes, wantedHash(algorithm.hash), Boolean(extractable), [...usages]);
  },
  async exportKey(form, key) {
    if (!key.extractable) throw new DOMException("key is not extractable", "InvalidAccessException");
    if (form !== "raw") throw new DOMException(`exportKey gives "raw" keys`, "NotSupportedError");
    return CryptoKey.bytes(key).slice().buffer;
  },
  async sign(algorithm, key, data) {
    wantHmac(algorithm);
    const { hash, bytes } = wantKey(key, "sign");
    return hmac(hash, bytes, viewBytes(data)).buffer;
  },
  async verify(algorithm, key, signature, data) {
    wantHmac(algorithm);
    const { hash, bytes } = wantKey(key, "verify");
    const made = hmac(hash, bytes, viewBytes(data));
    const given = viewBytes(signature);
    let different = made.length ^ given.length;
    // Every byte is looked at, so that the time tells nothing about where they differ.
    for (let i = 0; i < made.length; i++) different |= made[i] ^ (given[i] ?? 0);
    return different === 0;
  },
};

const Crypto = { get [Symbol.toStringTag]() { return "Crypto"; } };
export const crypto = Object.freeze(
  Object.assign(Object.create(Crypto), { getRandomValues, randomUUID, subtle: Object.freeze(subtle) }),
);
export { CryptoKey };

// ---- Math.random ------------------------------------------------------------------------------------------------
// The engine seeds its generator once, in the build: every sandbox would draw the same numbers. This one (xoshiro128**)
// takes its seed from the host at the first use in each sandbox.
const engineRandom = Math.random;
let words;

function next() {
  const result = Math.imul(rotate(Math.imul(words[1], 5), 7), 9) >>> 0;
  const shifted = words[1] << 9;
  words[2] ^= words[0];
  words[3] ^= words[1];
  words[1] ^= words[2];
  words[0] ^= words[3];
  words[2] ^= shifted;
  words[3] = rotate(words[3], 11);
  return result;
}
const rotate = (x, n) => (x << n) | (x >>> (32 - n));

export function random() {
  if (!host.isRunning()) return engineRandom();
  if (words === undefined) {
    const seed = randomBytes(16);
    words = new Int32Array(seed.buffer.slice(seed.byteOffset, seed.byteOffset + 16));
    words[0] |= 1;
  }
  return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}
