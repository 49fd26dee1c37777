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


def fill():
    """Takes every piece of free memory that lies before the end."""
    end = max(map(id, gc.get_objects()))
    size = _LARGEST
    while size >= _SMALLEST:
        piece = bytes(size - _BESIDE)
        if id(piece) < end:
            _kept.append(piece)
        elif size > 1024:
            size //= 2
        else:
            size -= _STEP
    del piece
    bytes(_ROOM)
