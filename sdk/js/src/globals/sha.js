// SHA-1 and SHA-2 (FIPS 180-4) and HMAC (RFC 2104), in plain JavaScript.
import { concatBytes } from "./blob.js";

const rotl = (x, n) => (x << n) | (x >>> (32 - n));
const rotr = (x, n) => (x >>> n) | (x << (32 - n));

/** The first bits behind the point of the roots of the first primes: the constants of SHA-2. */
function primes(count) {
  const found = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n);
  return found;
}
/** The integer root of a big number, by Newton's method. */
function integerRoot(value, degree) {
  const n = BigInt(degree);
  let x = 1n << BigInt(Math.ceil(value.toString(2).length / degree) + 1);
  for (;;) {
    const next = ((n - 1n) * x + value / x ** (n - 1n)) / n;
    if (next >= x) return x;
    x = next;
  }
}
const fraction = (prime, degree) => integerRoot(BigInt(prime) << BigInt(64 * degree), degree) & 0xffffffffffffffffn;

const PRIMES = primes(80);
const K64 = PRIMES.map((prime) => fraction(prime, 3));
const K32 = Int32Array.from(K64.slice(0, 64), (k) => Number(k >> 32n) | 0);
const H512 = PRIMES.slice(0, 8).map((prime) => fraction(prime, 2));
const H384 = PRIMES.slice(8, 16).map((prime) => fraction(prime, 2));
const H256 = H512.map((h) => Number(h >> 32n) | 0);

function padded(bytes, block) {
  const lengthBytes = block / 8;
  const total = Math.ceil((bytes.length + 1 + lengthBytes) / block) * block;
  const out = new Uint8Array(total);
  out.set(bytes);
  out[bytes.length] = 0x80;
  const view = new DataView(out.buffer);
  view.setUint32(total - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(total - 4, (bytes.length << 3) >>> 0);
  return view;
}

function sha1(bytes) {
  const view = padded(bytes, 64);
  const h = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  const w = new Int32Array(80);
  for (let at = 0; at < view.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 80; i++) w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    let [a, b, c, d, e] = h;
    for (let i = 0; i < 80; i++) {
      const [f, k] = i < 20 ? [(b & c) | (~b & d), 0x5a827999] : i < 40 ? [b ^ c ^ d, 0x6ed9eba1]
        : i < 60 ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc] : [b ^ c ^ d, 0xca62c1d6];
      const next = (rotl(a, 5) + f + e + k + w[i]) | 0;
      e = d; d = c; c = rotl(b, 30); b = a; a = next;
    }
    [a, b, c, d, e].forEach((value, i) => { h[i] += value; });
  }
  return words32(h, 5);
}

function words32(words, count) {
  const out = new DataView(new ArrayBuffer(count * 4));
  for (let i = 0; i < count; i++) out.setInt32(i * 4, words[i]);
  return new Uint8Array(out.buffer);
}

function sha256(bytes) {
  const view = padded(bytes, 64);
  const hash = Int32Array.from(H256);
  const w = new Int32Array(64);
  for (let at = 0; at < view.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = (w[i - 16] + (rotr(x, 7) ^ rotr(x, 18) ^ (x >>> 3)) + w[i - 7] + (rotr(y, 17) ^ rotr(y, 19) ^ (y >>> 10))) | 0;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      const t1 = (h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + K32[i] + w[i]) | 0;
      const t2 = ((rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    hash[0] += a; hash[1] += b; hash[2] += c; hash[3] += d; hash[4] += e; hash[5] += f; hash[6] += g; hash[7] += h;
  }
  return words32(hash, 8);
}

const MASK = 0xffffffffffffffffn;
const rot64 = (x, n) => ((x >> n) | (x << (64n - n))) & MASK;

function sha512(bytes, initial, length) {
  const view = padded(bytes, 128);
  const hash = [...initial];
  const w = new Array(80);
  for (let at = 0; at < view.byteLength; at += 128) {
    for (let i = 0; i < 16; i++) w[i] = view.getBigUint64(at + i * 8);
    for (let i = 16; i < 80; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = (w[i - 16] + (rot64(x, 1n) ^ rot64(x, 8n) ^ (x >> 7n)) + w[i - 7] + (rot64(y, 19n) ^ rot64(y, 61n) ^ (y >> 6n))) & MASK;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 80; i++) {
      const t1 = (h + (rot64(e, 14n) ^ rot64(e, 18n) ^ rot64(e, 41n)) + ((e & f) ^ (~e & MASK & g)) + K64[i] + w[i]) & MASK;
      const t2 = ((rot64(a, 28n) ^ rot64(a, 34n) ^ rot64(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c))) & MASK;
      h = g; g = f; f = e; e = (d + t1) & MASK; d = c; c = b; b = a; a = (t1 + t2) & MASK;
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { hash[i] = (hash[i] + value) & MASK; });
  }
  const out = new DataView(new ArrayBuffer(64));
  hash.forEach((value, i) => out.setBigUint64(i * 8, value));
  return new Uint8Array(out.buffer, 0, length).slice();
}

const HASHES = {
  "SHA-1": { block: 64, run: sha1 },
  "SHA-256": { block: 64, run: sha256 },
  "SHA-384": { block: 128, run: (bytes) => sha512(bytes, H384, 48) },
  "SHA-512": { block: 128, run: (bytes) => sha512(bytes, H512, 64) },
};

/** A hash by the name that WebCrypto gives it, or `undefined`. */
export function hashNamed(name) {
  const wanted = String(name).toUpperCase();
  return Object.hasOwn(HASHES, wanted) ? { name: wanted, ...HASHES[wanted] } : undefined;
}

export function hmac(hash, key, data) {
  const short = key.length > hash.block ? hash.run(key) : key;
  const inner = new Uint8Array(hash.block).fill(0x36);
  const outer = new Uint8Array(hash.block).fill(0x5c);
  short.forEach((byte, i) => {
    inner[i] ^= byte;
    outer[i] ^= byte;
  });
  return hash.run(concatBytes([outer, hash.run(concatBytes([inner, data]))]));
}
