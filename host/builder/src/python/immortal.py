"""Tells the builder where the objects are that every sandbox begins with.

They stay for as long as the sandbox does, so the builder makes them immortal (PEP 683): Python does not count references
to such objects, and a page of the snapshot on which nothing but a count would change need not be copied by each call.
"""

import gc
import sys
import types

# What the builder writes is right for counts of 32 bits as this version has them: that of None is fixed.
_KNOWN = sys.version_info[:2] == (3, 14) and sys.maxsize < 2**32 and sys.getrefcount(None) == 7 << 28

# More than this the builder does not read.
_MOST = 2_000_000

_dict = type.__dict__["__dict__"].__get__
_mro = type.__dict__["__mro__"].__get__


class _Seen:
    """Addresses, a bit for each that an object can have: a set would leave megabytes behind in the snapshot."""

    def __init__(self):
        self._bits = bytearray()

    def add(self, address):
        """Whether it is new."""
        place, bit = address >> 6, 1 << (address >> 3 & 7)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits)))
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        return True

    def clear(self):
        self._bits[:] = bytes(len(self._bits))


def _parts(item):
    """What an object holds of which the collector is not told."""
    if type(item) is types.CodeType:
        yield from (item.co_consts, item.co_names, item.co_filename, item.co_name, item.co_qualname)
        yield from (item.co_linetable, item.co_exceptiontable)
        yield from (*item.co_varnames, *item.co_cellvars, *item.co_freevars)
    elif issubclass(type(item), type):
        yield from gc.get_referents(_dict(item))
        yield from type.__subclasses__(item)
        yield _mro(item)


def _write(file, seen):
    todo = gc.get_objects()
    found = 0
    while todo and found < _MOST:
        item = todo.pop()
        # What runs now is gone when the snapshot is taken.
        if seen.add(id(item)) and type(item) is not types.FrameType:
            found += 1
            file.write(id(item).to_bytes(4, "little") + id(type(item)).to_bytes(4, "little"))
            todo.extend(gc.get_referents(item))
            todo.extend(_parts(item))


def write(path):
    """Writes two numbers for each object: its address, and that of its type, by which the builder knows it again."""
    gc.collect()
    if _KNOWN:
        seen = _Seen()
        with open(path, "wb") as file:
            _write(file, seen)
        seen.clear()
