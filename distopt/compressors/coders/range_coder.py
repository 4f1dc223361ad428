"""An adaptive range coder of integer codes, which predicts a coordinate from its recent past.

The model of `range_model` says how likely each symbol and digit is, and the interval of `interval` is
narrowed accordingly. Where plain codes would be shorter, they are sent instead; the first symbol says so.

The ideas: G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised
message"; A. Moffat, R. M. Neal and I. H. Witten, "Arithmetic coding revisited".
"""

import numpy as np

from distopt.compressors.coders.bits import leading_zeros
from distopt.compressors.coders.interval import (
    SMALL,
    WHOLE,
    carry,
    emit,
    finish,
    is_ending,
    keep,
    load_be,
    narrow,
)
from distopt.compressors.coders.range_model import (
    STEP,
    block_after,
    classify,
    context,
    count_digit,
    largest_count,
    learn,
    make_table,
    remember,
    zeros_share,
)
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT
from distopt.core.arrays import U8, U16, U32, U64, Codes
from distopt.core.kernel import kernel

# numba makes floats of uint64 where a Python integer takes part.
_0, _1, _2, _3, _4, _16, _32 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 16, 32))
WHOLE_TABLE = 1 << 16  # what probabilities are out of
_PLAIN = np.uint64(65535)  # the first symbol: one of 2^16 parts says that the codes follow uncoded


@kernel
def encode_range(
    codes: Codes, recent: U8, symbols: U32, digits: U16, lowest: int, bits: int, alone: bool,
    places: U8, table: U64, out: U8,
) -> int:  # fmt: skip
    """Write all codes, advance the state; return the bytes. Where they do not fit, write them plainly.

    Plain codes are code - lowest with `bits` binary digits each, which must fit. Work space:
    places : uint8[BLOCK], table : uint64[CONTEXTS ROW].
    """
    at, low, width = narrow(out, 0, _0, WHOLE, _0, _PLAIN)
    table[:] = 0
    start = stop = 0
    while stop < codes.size:
        start, stop = stop, min(stop + block_after(stop), codes.size)
        part = codes[start:stop]
        classify(part, recent[start:stop], places)
        make_table(symbols, largest_count(codes.size), WHOLE_TABLE, table)
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
            if width < SMALL:
                at = emit(out, at, low)
                low <<= _32
                width <<= _32
            if place & np.uint8(7) > 2:
                m: int = abs(np.int64(part[i]))  # type: ignore[assignment]
                at, low, width = encode_magnitude(out, at, low, width, m, digits)
    nbytes = finish(out, at, low, width, alone)
    remember(codes, recent)
    if nbytes != TOO_SHORT:
        return nbytes
    at, low, width = narrow(out, 0, _0, WHOLE, _PLAIN, _1)
    for i in range(codes.size):
        value = np.uint64(np.int64(codes[i]) - lowest)
        at, low, width = encode_raw(out, at, low, width, value, bits)
    return finish(out, at, low, width, alone)


@kernel
def encode_magnitude(
    out: U8, at: int, low: np.uint64, width: np.uint64, m: int, digits: U16
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
    out: U8, at: int, low: np.uint64, width: np.uint64, place: int, bit: int, digits: U16
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
    payload: U8, recent: U8, symbols: U32, digits: U16, lowest: int, highest: int, bits: int,
    alone: bool, places: U8, table: U64, new_symbols: U32, new_digits: U16, codes: Codes,
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
    payload: U8, recent: U8, symbols: U32, digits: U16, lowest: int, highest: int, bits: int,
    alone: bool, places: U8, table: U64, codes: Codes,
) -> int:  # fmt: skip
    """Read codes, advance symbols and digits; return the bytes consumed or a status."""
    at, offset, width = 8, load_be(payload, 0, 8), WHOLE
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
        make_table(symbols, largest_count(codes.size), WHOLE_TABLE, table)
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
            if width < SMALL:
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
        fill_small(places, past, part)
    return is_ending(payload, at, offset, width, alone)


@kernel
def fill_small(places: U8, past: U8, codes: Codes) -> None:
    """Fill in the codes of a block that are 0 or +-1, from their symbols and pasts."""
    for i in range(codes.size):
        symbol = places[i] & np.uint8(7)
        one = np.int8(1) - np.int8(((symbol >> np.uint8(1)) ^ past[i] & np.uint8(1)) << np.uint8(1))
        small = np.int8(0) if symbol == 0 else one
        codes[i] = codes[i] if symbol > 2 else small


@kernel
def decode_magnitude(
    payload: U8, at: int, offset: np.uint64, width: np.uint64, digits: U16
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
    payload: U8, at: int, offset: np.uint64, width: np.uint64, place: int, digits: U16
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
