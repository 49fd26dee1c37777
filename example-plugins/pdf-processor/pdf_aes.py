"""AES for pypdf, which takes it from C extensions that a component cannot load.

CBC decrypts its blocks independently of one another, so all blocks are done at once: byte i of every block stands in
one `bytes`, and a step of the cipher is a `translate` or an XOR of whole `bytes`. CBC encryption goes block by block;
pypdf needs it for the key of AES-256 only (algorithm 2.B of ISO 32000-2), a few hundred kilobytes.

The tables are made when the module is loaded, which is when the component is built. FIPS 197.
"""

from __future__ import annotations

import functools
import struct
from typing import Any


def _double(value: int) -> int:
    value <<= 1
    return value ^ 0x11B if value & 0x100 else value


def _multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = _double(a), b >> 1
    return product


def _make_sbox() -> bytes:
    box = bytearray(256)
    p = q = 1
    while True:
        p ^= _double(p)  # times 3
        for shift in (1, 2, 4):  # divided by 3
            q ^= q << shift
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        rotated = q
        for turn in range(1, 5):
            rotated ^= (q << turn | q >> (8 - turn)) & 0xFF
        box[p] = rotated ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return bytes(box)


SBOX = _make_sbox()
_INVERSE = bytes(SBOX.index(value) for value in range(256))
_TIMES = {factor: bytes(_multiply(value, factor) for value in range(256)) for factor in (9, 11, 13, 14)}
_XOR = [bytes(value ^ key for value in range(256)) for key in range(256)]
# A round of encryption for one byte: its S-box value times the column (2, 1, 1, 3), and its rotations.
_T0 = [_multiply(s, 2) << 24 | s << 16 | s << 8 | _multiply(s, 3) for s in SBOX]
_T1 = [t >> 8 | (t & 0xFF) << 24 for t in _T0]
_T2 = [t >> 8 | (t & 0xFF) << 24 for t in _T1]
_T3 = [t >> 8 | (t & 0xFF) << 24 for t in _T2]


def _schedule(key: bytes) -> list[int]:
    """The round keys, as 32-bit words."""
    if len(key) not in (16, 24, 32):
        raise ValueError(f"an AES key has 16, 24 or 32 bytes, not {len(key)}")
    words = list(struct.unpack(f">{len(key) // 4}I", key))
    count, constant = len(words), 1
    while len(words) < 4 * (count + 7):
        word = words[-1]
        if len(words) % count == 0:
            word = _substitute((word << 8 | word >> 24) & 0xFFFFFFFF) ^ constant << 24
            constant = _double(constant)
        elif count > 6 and len(words) % count == 4:
            word = _substitute(word)
        words.append(words[-count] ^ word)
    return words


def _substitute(word: int) -> int:
    return SBOX[word >> 24] << 24 | SBOX[word >> 16 & 255] << 16 | SBOX[word >> 8 & 255] << 8 | SBOX[word & 255]


def _whole(data: bytes) -> None:
    if len(data) % 16:
        raise ValueError(f"AES takes whole blocks of 16 bytes, not {len(data)} bytes")


def cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """CBC without padding."""
    _whole(data)
    words, t0, t1, t2, t3, s = _schedule(key), _T0, _T1, _T2, _T3, SBOX
    k0, k1, k2, k3 = words[:4]
    rounds = [tuple(words[i:i + 4]) for i in range(4, len(words) - 4, 4)]
    e0, e1, e2, e3 = words[-4:]
    a, b, c, d = struct.unpack(">4I", iv)
    out: list[int] = []
    plain = struct.unpack(f">{len(data) // 4}I", data)
    for at in range(0, len(plain), 4):
        a, b = a ^ plain[at] ^ k0, b ^ plain[at + 1] ^ k1
        c, d = c ^ plain[at + 2] ^ k2, d ^ plain[at + 3] ^ k3
        for r0, r1, r2, r3 in rounds:
            a, b, c, d = (
                t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ r0,
                t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ r1,
                t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ r2,
                t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ r3,
            )
        a, b, c, d = (
            (s[a >> 24] << 24 | s[b >> 16 & 255] << 16 | s[c >> 8 & 255] << 8 | s[d & 255]) ^ e0,
            (s[b >> 24] << 24 | s[c >> 16 & 255] << 16 | s[d >> 8 & 255] << 8 | s[a & 255]) ^ e1,
            (s[c >> 24] << 24 | s[d >> 16 & 255] << 16 | s[a >> 8 & 255] << 8 | s[b & 255]) ^ e2,
            (s[d >> 24] << 24 | s[a >> 16 & 255] << 16 | s[b >> 8 & 255] << 8 | s[c & 255]) ^ e3,
        )
        out += (a, b, c, d)
    return struct.pack(f">{len(out)}I", *out)


def ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """Each block by itself."""
    _whole(data)
    return b"".join(cbc_encrypt(key, bytes(16), data[at:at + 16]) for at in range(0, len(data), 16))


def ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """All blocks at once."""
    _whole(data)
    if not data:
        return b""
    flat = struct.pack(f">{len(words := _schedule(key))}I", *words)
    round_keys = [flat[at:at + 16] for at in range(0, len(flat), 16)]
    size = len(data) // 16
    state = [data[i::16].translate(_XOR[round_keys[-1][i]]) for i in range(16)]
    for number in range(len(round_keys) - 2, -1, -1):
        # Rows shift back, bytes are substituted back, the round key is added.
        state = [state[(i - 4 * (i % 4)) % 16].translate(_INVERSE).translate(_XOR[round_keys[number][i]])
                 for i in range(16)]
        if number:
            state = [part for column in range(0, 16, 4) for part in _unmix(state[column:column + 4], size)]
    out = bytearray(len(data))
    for i in range(16):
        out[i::16] = state[i]
    return bytes(out)


def _unmix(column: list[bytes], size: int) -> list[bytes]:
    times = [{factor: int.from_bytes(part.translate(table), "big") for factor, table in _TIMES.items()} for part in column]
    return [
        (times[i][14] ^ times[(i + 1) % 4][11] ^ times[(i + 2) % 4][13] ^ times[(i + 3) % 4][9]).to_bytes(size, "big")
        for i in range(4)
    ]


def cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """CBC without padding."""
    plain = ecb_decrypt(key, data)
    before = (iv + data)[:len(data)]
    return (int.from_bytes(plain, "big") ^ int.from_bytes(before, "big")).to_bytes(len(data), "big")


class CryptAES:
    """What pypdf calls for strings and streams: the vector stands in front, PKCS 7 pads."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def encrypt(self, data: bytes) -> bytes:
        """Not needed to read."""
        raise NotImplementedError("this AES only reads PDFs")

    def decrypt(self, data: bytes, *, strict: bool = True) -> bytes:
        """Forgives a cut end and wrong padding, which damaged files have."""
        iv, body = data[:16], data[16:]
        body = body[:len(body) // 16 * 16]
        if not body:
            return b""
        plain = cbc_decrypt(self.key, iv, body)
        padding = plain[-1]
        return plain[:-padding] if 1 <= padding <= 16 else plain


def install(encryption: Any) -> None:
    """Puts these functions into `pypdf._encryption`."""
    encryption.CryptAES = CryptAES
    encryption.aes_cbc_encrypt, encryption.aes_cbc_decrypt = cbc_encrypt, cbc_decrypt
    encryption.aes_ecb_encrypt, encryption.aes_ecb_decrypt = ecb_encrypt, ecb_decrypt
    # Made to be slow, and asked twice for the same: when a file is opened and when its password is tried.
    hashing = functools.lru_cache(maxsize=16)(encryption.AlgV5.calculate_hash)
    encryption.AlgV5.calculate_hash = staticmethod(hashing)
