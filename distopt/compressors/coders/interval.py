"""The interval of a range coder: parts of it are kept, bytes leave and enter it.

The coder keeps an interval [low, low + width) of 64 bits; a symbol whose counts say f / 2^16 keeps that
part of it. Whenever the width falls below 2^32, the highest 32 bits leave, most significant byte
first. The last bytes are the fewest that name a point inside, for any bytes that follow: so the payload
ends by itself, and costs at most 1 bit and the rest of a byte more than the model. With ``alone = True``
(the payload is all that is in the message) missing bytes count as zeros, which saves a quarter of a byte.

The idea: G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised message".
"""

import numpy as np

from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT
from distopt.core.arrays import U8
from distopt.core.kernel import kernel

WHOLE = np.uint64(0xFFFFFFFFFFFFFFFF)
SMALL = np.uint64(1 << 32)

# Interval arithmetic is in uint64; numba makes floats of it where a Python integer takes part.
_0, _1, _16, _32 = (np.uint64(n) for n in (0, 1, 16, 32))


@kernel
def narrow(
    out: U8, at: int, low: np.uint64, width: np.uint64, first: np.uint64, parts: np.uint64
) -> tuple[int, np.uint64, np.uint64]:
    """Keep the parts first, ..., first + parts - 1 of 2^16 of the interval; return (at, low, width)."""
    unit = width >> _16
    moved = low + unit * first
    if moved < low:
        carry(out, at)
    width = unit * parts
    if width < SMALL:
        at = emit(out, at, moved)
        moved <<= _32
        width <<= _32
    return at, moved, width


@kernel
def carry(out: U8, at: int) -> None:
    """Add one to the number whose bytes end before `at`."""
    at = min(at, out.size) - 1
    while at >= 0:
        out[at] = np.uint8(out[at] + np.uint8(1))
        if out[at] != 0:
            return
        at -= 1


@kernel
def emit(out: U8, at: int, low: np.uint64) -> int:
    """Write the highest 32 bits, unless they do not fit; return the place after them."""
    if at + 4 <= out.size:
        for i in range(4):
            out[np.uint64(at + i)] = np.uint8(low >> np.uint64(56 - 8 * i))
    return at + 4


@kernel
def ending(low: np.uint64, width: np.uint64, alone: bool) -> tuple[int, np.uint64]:
    """Return the fewest bytes that end a payload, as (how many, a number of which they are the highest).

    All numbers that begin with them are in the interval; `alone`: those that end with zeros.
    """
    for count in range(9):
        # The unit 2^(64 - 8 count); shifting by 64 is undefined.
        below = WHOLE if count == 0 else (_1 << np.uint64(64 - 8 * count)) - _1
        up = (_0 - low) & below  # to the next multiple of the unit
        room = up if alone else up + below
        if room < width and room >= up:
            return count, low + up
    return 8, low  # never reached: a unit of 1 always fits


@kernel
def finish(out: U8, at: int, low: np.uint64, width: np.uint64, alone: bool) -> int:
    """Write the last bytes; return the payload's size, or `TOO_SHORT` if `out` was too small."""
    count, last = ending(low, width, alone)
    if at + count > out.size:
        return TOO_SHORT
    if last < low:
        carry(out, at)
    for i in range(count):
        out[at + i] = np.uint8(last >> np.uint64(56 - 8 * i))
    at += count
    if alone:
        while at > 0 and out[at - 1] == 0:
            at -= 1
    return at


@kernel
def load_be(payload: U8, at: int, count: int) -> np.uint64:
    """Return `count` bytes, most significant first; beyond the payload they are zero."""
    word = _0
    if at + count <= payload.size:
        for i in range(count):
            word = word << np.uint64(8) | np.uint64(payload[np.uint64(at + i)])
        return word
    for i in range(count):
        byte = np.uint64(payload[at + i]) if at + i < payload.size else _0
        word = word << np.uint64(8) | byte
    return word


@kernel
def keep(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, low: np.uint64, high: np.uint64
) -> tuple[int, np.uint64, np.uint64]:
    """Go on with the part [low, high) of the interval; return (at, offset, width).

    `offset` is the payload's number minus the lower end of the interval.
    """
    offset -= low
    width = high - low
    if width < SMALL:
        offset = offset << _32 | load_be(payload, at, 4)
        at += 4
        width <<= _32
    return at, offset, width


@kernel
def is_ending(payload: U8, at: int, offset: np.uint64, width: np.uint64, alone: bool) -> int:
    """Return the size of a payload all of whose codes are read, or a status."""
    if offset >= width:
        return INVALID_CODE
    window = load_be(payload, at - 8, 8)
    count, last = ending(window - offset, width, alone)
    end = at - 8 + count
    if alone:
        if payload.size > end or (payload.size > 0 and payload[payload.size - 1] == 0):
            return INVALID_CODE
        end = payload.size
    elif end > payload.size:
        return TOO_SHORT
    differ = window ^ last
    if count < 8:
        differ = differ >> np.uint64(64 - 8 * count) if count > 0 else _0
    return INVALID_CODE if differ != 0 else end
