"""An adaptive range code of few places among many: gaps, signs and octaves.

The sender names places below d, ascending, each with a code +-(octave + 1), octave = 0 .. 15, and for each
block of the vector a fresh threshold or none. In the stream of `interval`, in this order:

* the first symbol: one of 2^16 parts says that the rest is plain;
* for each block: a flag "fresh", and after a 1 the threshold's 15 digits;
* for each place: its gap g, the number of places skipped before it, as the magnitude g + 2 of
  `range_coder`; the sign, one digit; the flags "octave > 0", "> 1", ... up to the first 0;
* where places remain: their number, as a last gap, which leads to d and so ends the list.

Flags and the highest digits of gaps have counts, which follow the messages; signs and lower digits are
equally likely. In a plain payload a gap is a number of as many digits as d has, an octave one of 4, the
number of places stands before them, and the counts stay as they were.
"""

import numpy as np

from distopt.compressors.coders.interval import WHOLE, finish, is_ending, keep, load_be, narrow
from distopt.compressors.coders.range_coder import (
    decode_digit,
    decode_magnitude,
    decode_raw,
    encode_digit,
    encode_magnitude,
    encode_raw,
)
from distopt.compressors.coders.wire import INVALID_CODE, INVALID_INDEX
from distopt.core.arrays import I64, U8, U16, Codes
from distopt.core.kernel import kernel

HIGHEST = 15  # octave
NONE = 1 << 14  # instead of a fresh threshold
FURTHEST = 8000  # of |fresh threshold|
COUNTS = 512, 2 + 2 * HIGHEST  # of gaps, of flags

_0, _1, _16 = np.uint64(0), np.uint64(1), np.uint64(16)
_PLAIN = np.uint64(65535)


def max_gaps_nbytes(d: int, most: int, blocks: int) -> int:
    """Return the bytes of `most` places below d at most: those of a plain payload."""
    digits = d.bit_length()
    return 16 + (16 * blocks + digits + most * (digits + 5)) // 8


@kernel
def write_gaps(
    fresh: I64, places: I64, codes: Codes, count: int, d: int, gaps: U16, flags: U16, out: U8
) -> int:
    """Write places[:count] and their codes, advance the counts; return the bytes, or `TOO_SHORT`."""
    at, low, width = narrow(out, 0, _0, WHOLE, _0, _PLAIN)
    for b in range(fresh.size):
        at, low, width = encode_digit(out, at, low, width, 0, int(fresh[b] != NONE), flags)
        if fresh[b] != NONE:
            at, low, width = encode_raw(out, at, low, width, np.uint64(fresh[b] + NONE), 15)
    place = 0
    for j in range(count):
        at, low, width = encode_magnitude(out, at, low, width, places[j] - place + 2, gaps)
        place = places[j] + 1
        code = int(codes[j])
        at, low, width = encode_raw(out, at, low, width, np.uint64(code < 0), 1)
        octave = abs(code) - 1
        for more in range(min(octave + 1, HIGHEST)):
            at, low, width = encode_digit(
                out, at, low, width, 2 + 2 * more, int(octave > more), flags
            )
    if place < d:
        at, low, width = encode_magnitude(out, at, low, width, d - place + 2, gaps)
    return finish(out, at, low, width, False)


@kernel
def write_gaps_plainly(
    fresh: I64, places: I64, codes: Codes, count: int, d: int, digits: int, out: U8
) -> int:
    """Write the same without counts; `digits` = d.bit_length()."""
    at, low, width = narrow(out, 0, _0, WHOLE, _PLAIN, _1)
    for b in range(fresh.size):
        at, low, width = encode_raw(out, at, low, width, np.uint64(fresh[b] + NONE), 16)
    at, low, width = encode_raw(out, at, low, width, np.uint64(count), digits)
    place = 0
    for j in range(count):
        code = np.int64(codes[j])
        word = np.uint64(2 * (abs(code) - 1) + int(code < 0))
        at, low, width = encode_raw(out, at, low, width, np.uint64(places[j] - place), digits)
        at, low, width = encode_raw(out, at, low, width, word, 5)
        place = places[j] + 1
    return finish(out, at, low, width, False)


@kernel
def read_gaps(
    payload: U8, d: int, digits: int, most: int, gaps: U16, flags: U16,
    fresh: I64, places: I64, codes: Codes,
) -> tuple[int, int]:  # fmt: skip
    """Read up to `most` places, codes and fresh thresholds, advance the counts.

    Return the bytes consumed or a status, and how many places there are. The counts are to be kept only
    if the bytes are accepted.
    """
    at, offset, width = 8, load_be(payload, 0, 8), WHOLE
    unit = width >> _16
    if offset >= unit * _PLAIN:
        at, offset, width = keep(payload, at, offset, width, unit * _PLAIN, unit * np.uint64(65536))
        return read_plain(payload, at, offset, width, d, digits, most, fresh, places, codes)
    at, offset, width = keep(payload, at, offset, width, _0, unit * _PLAIN)
    for b in range(fresh.size):
        fresh[b] = NONE
        is_fresh, at, offset, width = decode_digit(payload, at, offset, width, 0, flags)
        if is_fresh:
            word, at, offset, width = decode_raw(payload, at, offset, width, 15)
            fresh[b] = np.int64(word) - NONE
            if abs(fresh[b]) > FURTHEST:
                return INVALID_CODE, 0
    place = count = 0
    while place < d:
        m, at, offset, width = decode_magnitude(payload, at, offset, width, gaps)
        if m - 2 > d - place:
            return INVALID_INDEX, 0
        place += m - 2
        if place == d:
            break
        if count == most:
            return INVALID_INDEX, 0
        negative, at, offset, width = decode_raw(payload, at, offset, width, 1)
        octave = 0
        while octave < HIGHEST:
            more, at, offset, width = decode_digit(
                payload, at, offset, width, 2 + 2 * octave, flags
            )
            if more == 0:
                break
            octave += 1
        places[count] = place
        codes[count] = -(octave + 1) if negative != _0 else octave + 1
        count += 1
        place += 1
    return is_ending(payload, at, offset, width, False), count


@kernel
def read_plain(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, d: int, digits: int, most: int,
    fresh: I64, places: I64, codes: Codes,
) -> tuple[int, int]:  # fmt: skip
    """Read the rest of a plain payload."""
    for b in range(fresh.size):
        word, at, offset, width = decode_raw(payload, at, offset, width, 16)
        fresh[b] = np.int64(word) - NONE
        if fresh[b] != NONE and abs(fresh[b]) > FURTHEST:
            return INVALID_CODE, 0
    word, at, offset, width = decode_raw(payload, at, offset, width, digits)
    count, place = int(word), 0
    if count > most:
        return INVALID_INDEX, 0
    for j in range(count):
        gap, at, offset, width = decode_raw(payload, at, offset, width, digits)
        if np.int64(gap) >= d - place:
            return INVALID_INDEX, 0
        word, at, offset, width = decode_raw(payload, at, offset, width, 5)
        size = np.int64(word >> _1) + 1
        places[j] = place + np.int64(gap)
        codes[j] = -size if word & _1 != _0 else size
        place = places[j] + 1
    return is_ending(payload, at, offset, width, False), count
