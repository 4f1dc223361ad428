"""What the range coder expects of a code: its symbol, given the past of its coordinate, and its digits.

Codes are small integers, most of them 0 and +-1, one per coordinate and message. A code becomes one of
five symbols, given the coordinate's past:

    0    zero                 1, 2    +-1 with the sign of its last nonzero code, or the other one
                              3, 4    a magnitude of 2 or more, likewise; the magnitude follows

The symbol's probabilities depend on the time since the coordinate was last nonzero, in messages: 0, 1,
2-3, 4-7, 8-15, more, or never; and where it is 0, on whether the coordinate was nonzero in the message
before as well, and whether its sign had changed. They are counted, never sent, so both ends must hold the
same counts: the state is made of integers, and is advanced from the codes alone.

A magnitude m >= 2 has n = floor(log2 m): the flags "n is larger than 1", "... 2", ..., then the binary
digits of m below its first, highest first. The flags and the first two digits have separate counts, the
other digits are equally likely. The model is ours.
"""

import numpy as np

from distopt.compressors.coders.bits import leading_zeros
from distopt.core.arrays import U8, U16, U32, U64, Codes
from distopt.core.kernel import kernel

BLOCK = 2048  # codes between two looks at the counts of symbols, at most
CONTEXTS = 10  # pasts of a coordinate
ROW = 8  # places of a context in the tables, 5 of them for symbols
NEVER = 40  # `recent` of a coordinate that never was nonzero
STEP = 32  # what a symbol adds to its count
DIGIT_LIMIT = 1 << 10  # the same for a flag or digit, which adds 1

# numba makes floats of uint64 where a Python integer takes part.
_0, _1 = np.uint64(0), np.uint64(1)


def new_range_state(d: int) -> dict[str, np.ndarray]:
    """Make the state of one end of one stream of d codes a message.

    Returns
    -------
    recent : uint8[d]
        Of each coordinate, with s = 1 if its last nonzero code was negative, else 0: at age 0,
        s + 2 (the sign had changed) + 4 (it was nonzero before as well); else 6 + 2 min(age, 16) + s,
        or `NEVER`.
    symbols : uint32[CONTEXTS ROW]
        Counts of symbols, `STEP` each, in every context.
    digits : uint16[512]
        Counts of zeros and ones of each flag and digit of the magnitudes.
    """
    row = np.array([192, 96, 48, 5, 5, 0, 0, 0], np.uint32)
    return {
        "recent": np.full(d, NEVER, np.uint8),
        "symbols": np.tile(row, CONTEXTS),
        "digits": np.ones(512, np.uint16),
    }


@kernel
def classify(codes: Codes, recent: U8, places: U8) -> None:
    """places_i = ROW context_i + symbol_i."""
    for i in range(codes.size):
        q, h = codes[i], recent[i]
        nonzero = np.uint8(q != 0)
        other = np.uint8(q < 0) ^ (h & np.uint8(1))
        large = np.uint8(q > 1) | np.uint8(q < -1)
        symbol = nonzero + (nonzero & other) + np.uint8(large << np.uint8(1))
        places[i] = context(h) + symbol


@kernel
def context(h: np.uint8) -> np.uint8:
    """Return ROW times the number of a past: four of age 0, then age 1, 2-3, 4-7, 8-15, more, never."""
    older = np.uint8(h >= 10) + np.uint8(h >= 14) + np.uint8(h >= 22) + np.uint8(h >= 38)
    older += np.uint8(h >= NEVER) + np.uint8(4)
    number = np.uint8(h >> np.uint8(1)) if h < 8 else older
    return np.uint8(number << np.uint8(3))


@kernel
def remember(codes: Codes, recent: U8) -> None:
    """Bring every coordinate's past up to date."""
    for i in range(codes.size):
        q, h = codes[i], recent[i]
        sign, last, busy = np.uint8(q < 0), h & np.uint8(1), np.uint8(h < 8)
        now = sign | np.uint8((sign ^ last) << np.uint8(1)) | np.uint8(busy << np.uint8(2))
        older = np.uint8(8) + last if h < 8 else h + np.uint8(np.uint8(h < 38) << np.uint8(1))
        recent[i] = now if q != 0 else older


@kernel
def block_after(start: int) -> int:
    """Return how many codes from `start` on are coded with one table: an eighth of those before."""
    return min(max(start >> 3, 1), BLOCK)


@kernel
def largest_count(size: int) -> int:
    """Return the sum of a context's counts above which they are halved, for messages of `size` codes."""
    return STEP * min(max(size >> 2, 256), 4096)


@kernel
def make_table(symbols: U32, largest: int, whole: int, table: U64) -> None:
    """table[place] = whole times the probability of the symbols before it; halves counts above `largest`.

    The last place of a row keeps the counts' sum: rows where it has not changed are left as they are.
    """
    for first in range(0, CONTEXTS * ROW, ROW):
        total = _0
        for s in range(5):
            total += np.uint64(symbols[first + s])
        if total == table[first + 7]:
            continue
        while total > largest:
            total = _0
            for s in range(5):
                symbols[first + s] = (symbols[first + s] + np.uint32(1)) >> np.uint32(1)
                total += np.uint64(symbols[first + s])
        table[first + 7] = total
        below = np.uint64(whole)  # zero, the most frequent one, takes what rounding leaves
        table[first + 5] = below
        for s in range(4, 0, -1):
            below -= _1 + np.uint64(symbols[first + s]) * np.uint64(whole - 5) // total
            table[first + s] = below
        table[first] = 0


@kernel
def count_digit(digits: U16, place: int, bit: int) -> None:
    """Count a flag or digit; halve its counts at `DIGIT_LIMIT`."""
    digits[place + bit] += np.uint16(1)
    if np.uint32(digits[place]) + np.uint32(digits[place + 1]) > DIGIT_LIMIT:
        digits[place] = (digits[place] + np.uint16(1)) >> np.uint16(1)
        digits[place + 1] = (digits[place + 1] + np.uint16(1)) >> np.uint16(1)


@kernel
def zeros_share(digits: U16, place: int) -> np.uint64:
    """Return 2^16 times the probability that a flag or digit is 0, from 1 to 2^16 - 1."""
    zeros, ones = np.uint32(digits[place]), np.uint32(digits[place + 1])
    share = np.uint32(zeros << np.uint32(16)) // np.uint32(zeros + ones)
    return np.uint64(share)


@kernel
def learn(codes: Codes, recent: U8, symbols: U32, digits: U16, places: U8) -> None:
    """Count the symbols and digits of one block, as if it had been coded."""
    classify(codes, recent, places)
    for i in range(codes.size):
        symbols[places[i]] += np.uint32(STEP)
        if places[i] & np.uint8(7) > 2:
            # int() would keep the int16, in which -32768 has no opposite.
            m: int = abs(np.int64(codes[i]))  # type: ignore[assignment]
            n = 63 - leading_zeros(np.uint64(m))
            for j in range(1, min(n, 61) + 1):
                count_digit(digits, 8 * j, int(n > j))
            first = m >> (n - 1) & 1
            count_digit(digits, 8 * n + 2, first)
            if n > 1:
                count_digit(digits, 8 * n + 4 + 2 * first, m >> (n - 2) & 1)
