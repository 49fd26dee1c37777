"""Fills the holes of the heap, so that what a call makes lies side by side.

The allocator hands out freed memory first, and at the end of a build that is thousands of small pieces all over the
snapshot: an object that a call makes would often be alone on its page, which the kernel has to copy for it. With the pieces
taken, what a call makes comes from the end of the heap.
"""

import gc

# Bytes that are left free at the end, so that few calls have to grow the memory.
_ROOM = 1 << 18
# Bytes of the largest piece to look for, of the smallest, and between one size of piece and the next.
_LARGEST, _SMALLEST, _STEP = 1 << 16, 32, 16
# What an object of `bytes` and the allocator need beside the content.
_BESIDE = 21

_kept = []


def _last():
    """The highest address of an object that is known to the collector, or to one that is."""
    return max(id(part) for item in gc.get_objects() for part in (item, *gc.get_referents(item)))


def fill():
    """Takes every piece of free memory that lies before the end."""
    last = _last()
    # What was just freed waits for its like in lists of Python's own; a collection gives those back.
    gc.collect()
    # The end is where the room begins. A hole may be as large as that.
    while id(room := bytes(_ROOM)) < last:
        _kept.append(room)
    size = _LARGEST
    while size >= _SMALLEST:
        # The allocator takes the smallest hole that is large enough, so one from beyond the room says that none is left.
        piece = bytes(size - _BESIDE)
        if id(piece) < id(room):
            _kept.append(piece)
        elif size > 1024:
            size //= 2
        else:
            size -= _STEP
        # Before the next is taken: else it would leave a hole beyond the room.
        del piece
