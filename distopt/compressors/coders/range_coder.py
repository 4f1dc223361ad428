"""An adaptive range coder of integer codes, which predicts a coordinate from its recent past.

Codes are small integers, most of them 0 and +-1, one per coordinate and message. A code becomes one of
five symbols, given the coordinate's past:

    0    zero                 1, 2    +-1 with the sign of its last nonzero code, or the other one
                              3, 4    a magnitude of 2 or more, likewise; the magnitude follows

The symbol's probabilities depend on the time since the coordinate was last nonzero, in messages: 0, 1,
2-3, 4-7, 8-15, more, or never; and where it is 0, on whether the coordinate was nonzero in the message
before as well, and whether its sign had changed. They are counted, never sent, so both ends must hold the
same counts: the state is made of integers, and is advanced from the codes alone.

A magnitude m >= 2 has n = floor(log2 m): the flags "n is larger than 1", "... 2", ..., then the binary
digits of m below its first, highest first. The flags and the first two digits have counts of their own, the
other digits are equally likely.

The coder keeps an interval [low, low + width) of 64 bits; a symbol whose counts say f / 2^16 keeps that
part of it. Whenever the width falls below 2^32, the highest 32 bits leave, most significant byte
first. The last bytes are the fewest that name a point inside, for any bytes that follow: so the payload
ends by itself, and costs at most 1 bit and the rest of a byte more than the model. With ``alone = True``
(the payload is all that is in the message) missing bytes count as zeros, which saves a quarter of a byte.

The ideas: G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised
message"; A. Moffat, R. M. Neal and I. H. Witten, "Arithmetic coding revisited". The model is ours.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from distopt.compressors.coders.bits import leading_zeros
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT
from distopt.core.arrays import U8, U32
from distopt.core.kernel import kernel

U64: TypeAlias = NDArray[np.uint64]
Codes: TypeAlias = NDArray[Any]  # int8, int16, int32 or int64
Digits: TypeAlias = NDArray[np.uint16]

BLOCK = 2048  # codes between two looks at the counts of symbols, at most
CONTEXTS = 10  # pasts of a coordinate
ROW = 8  # places of a context in the tables, 5 of them for symbols
NEVER = 40  # `recent` of a coordinate that never was nonzero
STEP = 32  # what a symbol adds to its count
DIGIT_LIMIT = 1 << 10  # the same for a flag or digit, which adds 1

# Interval arithmetic is in uint64; numba makes floats of it where a Python integer takes part.
_0, _1, _2, _3, _4, _16, _32 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 16, 32))
_WHOLE = np.uint64(0xFFFFFFFFFFFFFFFF)
_SMALL = np.uint64(1 << 32)
_PLAIN = np.uint64(65535)  # the first symbol: one of 2^16 parts says that the codes follow uncoded


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


# The model


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
def make_table(symbols: U32, largest: int, table: U64) -> None:
    """table[place] = 2^16 times the probability of the symbols before it; halves counts above `largest`.

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
        below = np.uint64(65536)  # zero, the most frequent one, takes what rounding leaves
        table[first + 5] = below
        for s in range(4, 0, -1):
            below -= _1 + np.uint64(symbols[first + s]) * np.uint64(65531) // total
            table[first + s] = below
        table[first] = 0


@kernel
def count_digit(digits: Digits, place: int, bit: int) -> None:
    """Count a flag or digit; halve its counts at `DIGIT_LIMIT`."""
    digits[place + bit] += np.uint16(1)
    if np.uint32(digits[place]) + np.uint32(digits[place + 1]) > DIGIT_LIMIT:
        digits[place] = (digits[place] + np.uint16(1)) >> np.uint16(1)
        digits[place + 1] = (digits[place + 1] + np.uint16(1)) >> np.uint16(1)


@kernel
def zeros_share(digits: Digits, place: int) -> np.uint64:
    """Return 2^16 times the probability that a flag or digit is 0, from 1 to 2^16 - 1."""
    zeros, ones = np.uint32(digits[place]), np.uint32(digits[place + 1])
    share = np.uint32(zeros << np.uint32(16)) // np.uint32(zeros + ones)
    return np.uint64(share)


# The interval


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
    if width < _SMALL:
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
        below = _WHOLE if count == 0 else (_1 << np.uint64(64 - 8 * count)) - _1
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
    if width < _SMALL:
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


# Whole messages


@kernel
def encode_range(
    codes: Codes, recent: U8, symbols: U32, digits: Digits, lowest: int, bits: int, alone: bool,
    places: U8, table: U64, out: U8,
) -> int:  # fmt: skip
    """Write all codes, advance the state; return the bytes. Where they do not fit, write them plainly.

    Plain codes are code - lowest with `bits` binary digits each, which must fit. Work space:
    places : uint8[BLOCK], table : uint64[CONTEXTS ROW].
    """
    at, low, width = narrow(out, 0, _0, _WHOLE, _0, _PLAIN)
    table[:] = 0
    start = stop = 0
    while stop < codes.size:
        start, stop = stop, min(stop + block_after(stop), codes.size)
        part = codes[start:stop]
        classify(part, recent[start:stop], places)
        make_table(symbols, largest_count(codes.size), table)
        for i in range(part.size):
            place = places[i]
            symbols[place] += np.uint32(STEP)
            # `narrow`, written out: as a function with an array it was not inlined.
            unit, first = width >> _16, table[place]
            before = low
            low += unit * first
            width = unit * (table[np.uint64(place) + _1] - first)
            if low < before:
                carry(out, at)
            if width < _SMALL:
                at = emit(out, at, low)
                low <<= _32
                width <<= _32
            if place & np.uint8(7) > 2:
                at, low, width = encode_magnitude(out, at, low, width, abs(part[i]), digits)
    nbytes = finish(out, at, low, width, alone)
    remember(codes, recent)
    if nbytes != TOO_SHORT:
        return nbytes
    at, low, width = narrow(out, 0, _0, _WHOLE, _PLAIN, _1)
    for i in range(codes.size):
        value = np.uint64(np.int64(codes[i]) - lowest)
        at, low, width = encode_raw(out, at, low, width, value, bits)
    return finish(out, at, low, width, alone)


@kernel
def encode_magnitude(
    out: U8, at: int, low: np.uint64, width: np.uint64, m: int, digits: Digits
) -> tuple[int, np.uint64, np.uint64]:
    """Write the flags and digits of m >= 2, and count them."""
    n = 63 - leading_zeros(np.uint64(m))
    for j in range(1, min(n, 61) + 1):
        at, low, width = encode_digit(out, at, low, width, 8 * j, int(n > j), digits)
    first = m >> (n - 1) & 1
    at, low, width = encode_digit(out, at, low, width, 8 * n + 2, first, digits)
    if n > 1:
        second = m >> (n - 2) & 1
        at, low, width = encode_digit(out, at, low, width, 8 * n + 4 + 2 * first, second, digits)
        rest = np.uint64(m) & ((_1 << np.uint64(n - 2)) - _1)
        at, low, width = encode_raw(out, at, low, width, rest, n - 2)
    return at, low, width


@kernel
def encode_digit(
    out: U8, at: int, low: np.uint64, width: np.uint64, place: int, bit: int, digits: Digits
) -> tuple[int, np.uint64, np.uint64]:
    """Write one flag or digit, and count it."""
    zeros = zeros_share(digits, place)
    count_digit(digits, place, bit)
    if bit:
        return narrow(out, at, low, width, zeros, np.uint64(65536) - zeros)
    return narrow(out, at, low, width, _0, zeros)


@kernel
def encode_raw(
    out: U8, at: int, low: np.uint64, width: np.uint64, value: np.uint64, bits: int
) -> tuple[int, np.uint64, np.uint64]:
    """Write the lowest `bits` binary digits of a number, equally likely ones, highest first."""
    while bits > 0:
        count = min(bits, 16)
        bits -= count
        scaled = value >> np.uint64(bits) << np.uint64(16 - count) & np.uint64(0xFFFF)
        at, low, width = narrow(out, at, low, width, scaled, _1 << np.uint64(16 - count))
    return at, low, width


@kernel
def decode_range(
    payload: U8, recent: U8, symbols: U32, digits: Digits, lowest: int, highest: int, bits: int,
    alone: bool, places: U8, table: U64, new_symbols: U32, new_digits: Digits, codes: Codes,
) -> int:  # fmt: skip
    """Read codes, advance the state once all is accepted; return the bytes consumed or a status.

    Work space: that of `encode_range`, new_symbols : uint32[CONTEXTS ROW], new_digits : uint16[512].
    """
    new_symbols[:] = symbols
    new_digits[:] = digits
    end = decode_codes(
        payload, recent, new_symbols, new_digits, lowest, highest, bits, alone, places, table, codes
    )
    if end >= 0:
        symbols[:] = new_symbols
        digits[:] = new_digits
        remember(codes, recent)
    return end


@kernel
def decode_codes(
    payload: U8, recent: U8, symbols: U32, digits: Digits, lowest: int, highest: int, bits: int,
    alone: bool, places: U8, table: U64, codes: Codes,
) -> int:  # fmt: skip
    """Read codes, advance symbols and digits; return the bytes consumed or a status."""
    at, offset, width = 8, load_be(payload, 0, 8), _WHOLE
    unit = width >> _16
    plain = offset >= unit * _PLAIN
    if plain:
        at, offset, width = keep(payload, at, offset, width, unit * _PLAIN, unit * np.uint64(65536))
        for i in range(codes.size):
            value, at, offset, width = decode_raw(payload, at, offset, width, bits)
            if value > np.uint64(highest - lowest):
                return INVALID_CODE
            codes[i] = np.int64(value) + lowest
    else:
        at, offset, width = keep(payload, at, offset, width, _0, unit * _PLAIN)
    table[:] = 0
    start = stop = 0
    while stop < codes.size:
        start, stop = stop, min(stop + block_after(stop), codes.size)
        part, past = codes[start:stop], recent[start:stop]
        make_table(symbols, largest_count(codes.size), table)
        if plain:
            learn(part, past, symbols, digits, places)
            continue
        for i in range(part.size):
            places[i] = context(past[i])
        for i in range(part.size):
            row = np.uint64(places[i])
            unit = width >> _16
            t1, t2, t3 = unit * table[row + _1], unit * table[row + _2], unit * table[row + _3]
            low = t1 if offset >= t1 else _0
            high = t2 if offset >= t1 else t1
            low = t2 if offset >= t2 else low
            high = t3 if offset >= t2 else high
            symbol = np.uint8(offset >= t1) + np.uint8(offset >= t2)
            if offset >= t3:
                t4 = unit * table[row + _4]
                low = t4 if offset >= t4 else t3
                high = unit << _16 if offset >= t4 else t4
                symbol = np.uint8(4) if offset >= t4 else np.uint8(3)
            offset -= low  # `keep`, written out
            width = high - low
            if width < _SMALL:
                offset = offset << _32 | load_be(payload, at, 4)
                at += 4
                width <<= _32
            place = np.uint8(row + np.uint64(symbol))
            symbols[place] += np.uint32(STEP)
            places[i] = place
            if symbol > 2:
                m, at, offset, width = decode_magnitude(payload, at, offset, width, digits)
                q = -m if (symbol == 4) != (past[i] & np.uint8(1) != 0) else m
                if not lowest <= q <= highest:
                    return INVALID_CODE
                part[i] = q
        for i in range(part.size):
            symbol = places[i] & np.uint8(7)
            one = np.int8(1) - np.int8(
                ((symbol >> np.uint8(1)) ^ past[i] & np.uint8(1)) << np.uint8(1)
            )
            small = np.int8(0) if symbol == 0 else one
            part[i] = part[i] if symbol > 2 else small
    return is_ending(payload, at, offset, width, alone)


@kernel
def learn(codes: Codes, recent: U8, symbols: U32, digits: Digits, places: U8) -> None:
    """Count what `encode_range` counts in one block."""
    classify(codes, recent, places)
    for i in range(codes.size):
        symbols[places[i]] += np.uint32(STEP)
        if places[i] & np.uint8(7) > 2:
            m = abs(codes[i])
            n = 63 - leading_zeros(np.uint64(m))
            for j in range(1, min(n, 61) + 1):
                count_digit(digits, 8 * j, int(n > j))
            first = m >> (n - 1) & 1
            count_digit(digits, 8 * n + 2, first)
            if n > 1:
                count_digit(digits, 8 * n + 4 + 2 * first, m >> (n - 2) & 1)


@kernel
def decode_magnitude(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, digits: Digits
) -> tuple[int, int, np.uint64, np.uint64]:
    """Read a magnitude >= 2; return (m, at, offset, width)."""
    n = 1
    while n < 62:
        bit, at, offset, width = decode_digit(payload, at, offset, width, 8 * n, digits)
        if bit == 0:
            break
        n += 1
    first, at, offset, width = decode_digit(payload, at, offset, width, 8 * n + 2, digits)
    m = 2 + first
    if n > 1:
        place = 8 * n + 4 + 2 * first
        second, at, offset, width = decode_digit(payload, at, offset, width, place, digits)
        rest, at, offset, width = decode_raw(payload, at, offset, width, n - 2)
        m = (2 * m + second) << (n - 2) | int(rest)
    return m, at, offset, width


@kernel
def decode_digit(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, place: int, digits: Digits
) -> tuple[int, int, np.uint64, np.uint64]:
    """Read one flag or digit, and count it."""
    unit = width >> _16
    split = unit * zeros_share(digits, place)
    bit = int(offset >= split)
    count_digit(digits, place, bit)
    low, high = (split, unit << _16) if bit else (_0, split)
    at, offset, width = keep(payload, at, offset, width, low, high)
    return bit, at, offset, width


@kernel
def decode_raw(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, bits: int
) -> tuple[np.uint64, int, np.uint64, np.uint64]:
    """Read `bits` equally likely binary digits."""
    value = _0
    while bits > 0:
        count = min(bits, 16)
        bits -= count
        unit = (width >> _16) << np.uint64(16 - count)
        piece = min(offset // unit, (_1 << np.uint64(count)) - _1)
        value = value << np.uint64(count) | piece
        low = unit * piece
        at, offset, width = keep(payload, at, offset, width, low, low + unit)
    return value, at, offset, width
