"""The states of `rans_coder`: symbols whose contexts both ends know, with tables that follow their counts.

Eight states from 2^24 on, frequencies out of 2^11, words of 32 bits; the tables are those of blocks of
codes, made from the counts of the blocks before.
"""

import numpy as np

from distopt.compressors.coders.bits import high_product, leading_zeros
from distopt.compressors.coders.range_model import (
    CONTEXTS,
    ROW,
    STEP,
    context,
    largest_count,
    make_table,
)
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT, load_u32, store_u32
from distopt.core.arrays import U8, U16, U32, U64
from distopt.core.kernel import kernel

SCALE_BITS = 11
WHOLE_TABLE = 1 << SCALE_BITS  # what probabilities are out of
BLOCK = 8192  # codes between two looks at the counts of symbols, at most
PLACES = CONTEXTS * ROW
STATES = 56  # bytes of the eight states

# numba makes floats of uint64 where a Python integer takes part.
_0, _1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(n) for n in range(9))
_16, _24, _32 = (np.uint64(n) for n in (16, 24, 32))
_WORD = np.uint64(0xFFFF)
_SLOT = np.uint64(WHOLE_TABLE - 1)
_BITS = np.uint64(SCALE_BITS)
_BELOW = np.uint64(0xFFFFFFFF)
# x // f = (2 x inverse) >> (64 + s) for x < 2^63, with s = ceil(log2 f) and the inverse 2^(63 + s) / f,
# rounded up: the product's error is below 2^-s <= 1 / f.
INVERSES = np.array(
    [0, *(-(-(1 << (63 + (f - 1).bit_length())) // f) for f in range(1, WHOLE_TABLE + 1))],
    np.uint64,
)
_LOWEST = np.uint64(1 << 24)  # states are in [2^24, 2^56)
_ROOM = np.uint64(STATES + 32)  # bytes that must be left for sixteen more symbols and the states


@kernel
def block_start(number: int) -> int:
    """Return where a block of codes that share a table begins: 0, 256, 512, ..., 8192, 16384, 24576, ..."""
    return 0 if number == 0 else 128 << number if number < 6 else (number - 5) * BLOCK


@kernel
def blocks_of(d: int) -> int:
    """Return how many blocks d codes have."""
    number = (d - 1) // BLOCK + 5 if d > BLOCK else 0
    while block_start(number) < d:
        number += 1
    return number


@kernel
def count_places(places: U8, tally: U32, symbols: U32) -> None:
    """Count the symbols of one block, four of every eight, which halves the time."""
    tally[:] = np.uint32(0)
    for i in range(0, places.size // 8 * 8, 8):
        for j in range(4):  # four tallies: adding to one place again at once has to wait
            tally[j << 8 | places[i + j]] += np.uint32(1)
    for s in range(PLACES):
        n = tally[s] + tally[256 + s] + tally[512 + s] + tally[768 + s]
        symbols[s] += np.uint32(STEP) * n


@kernel
def push_blocks(places: U8, d: int, starts: U16, shares: U16, inverses: U64, out: U8) -> int:
    """Write states and words so that they end with `out`; return where they begin, or `TOO_SHORT`."""
    a = b = c = e = f = g = h = m = _LOWEST
    at = np.uint64(out.size)
    for number in range(blocks_of(d) - 1, -1, -1):
        start, stop = block_start(number), min(block_start(number + 1), d)
        fill_shares(starts[number], shares, inverses)
        whole = start + (stop - start) // 16 * 16
        for j in range(stop - 1, whole - 1, -1):  # at the end of the vector only
            if at < _ROOM:
                return TOO_SHORT
            p = np.uint64(places[j]) << _2
            m, at = make_room(m, np.uint64(shares[p]) << _BITS, out, at)
            m = push(m, p, shares, inverses)
            a, b, c, e, f, g, h, m = (
                m,
                a,
                b,
                c,
                e,
                f,
                g,
                h,
            )  # the state of the symbol before comes last
        for j in range(whole - 16, start - 1, -16):
            if at < _ROOM:
                return TOO_SHORT
            i, k = np.uint64(j), np.uint64(j + 8)
            m, at = push_two(m, places[i + _7], places[k + _7], shares, inverses, out, at)
            h, at = push_two(h, places[i + _6], places[k + _6], shares, inverses, out, at)
            g, at = push_two(g, places[i + _5], places[k + _5], shares, inverses, out, at)
            f, at = push_two(f, places[i + _4], places[k + _4], shares, inverses, out, at)
            e, at = push_two(e, places[i + _3], places[k + _3], shares, inverses, out, at)
            c, at = push_two(c, places[i + _2], places[k + _2], shares, inverses, out, at)
            b, at = push_two(b, places[i + _1], places[k + _1], shares, inverses, out, at)
            a, at = push_two(a, places[i], places[k], shares, inverses, out, at)
    begin: int = np.int64(at) - STATES  # type: ignore[assignment]
    store_state(out, begin, a)
    store_state(out, begin + 7, b)
    store_state(out, begin + 14, c)
    store_state(out, begin + 21, e)
    store_state(out, begin + 28, f)
    store_state(out, begin + 35, g)
    store_state(out, begin + 42, h)
    store_state(out, begin + 49, m)
    return begin


@kernel
def push_two(
    x: np.uint64,
    place: np.uint8,
    other: np.uint8,
    shares: U16,
    inverses: U64,
    out: U8,
    at: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Put two symbols into state x, of which `place` will come first; return (x, at)."""
    p, q = np.uint64(place) << _2, np.uint64(other) << _2
    x, at = make_room(x, np.uint64(shares[p]) * np.uint64(shares[q]), out, at)
    return push(push(x, q, shares, inverses), p, shares, inverses), at


@kernel
def make_room(
    x: np.uint64, share: np.uint64, out: U8, at: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Move 32 bits of x to the front of out[at:] unless a share of 2^22 fits in; return (x, at)."""
    # Stored in any case: an array in a branch would be counted there.
    store_u32(out, at - _4, np.uint32(x & _BELOW))  # type: ignore[arg-type]
    full = x >= share << np.uint64(56 - 2 * SCALE_BITS)
    return x >> _32 if full else x, at - _4 if full else at


@kernel
def push(x: np.uint64, p: np.uint64, shares: U16, inverses: U64) -> np.uint64:
    """Put one symbol into state x."""
    product: np.uint64 = high_product(x << _1, inverses[p >> _2])  # type: ignore[call-arg]
    quotient = product >> np.uint64(shares[p + _3])
    return x + np.uint64(shares[p + _1]) + quotient * np.uint64(shares[p + _2])


@kernel
def load_state(payload: U8, at: int) -> np.uint64:
    """Return the seven bytes in payload[at:at + 7]."""
    low, high = load_u32(payload, at), load_u32(payload, at + 3)
    return np.uint64(low) | np.uint64(high >> np.uint32(8)) << _32


@kernel
def store_state(out: U8, at: int, x: np.uint64) -> None:
    """out[at:at + 7] = x."""
    store_u32(out, at + 3, np.uint32(x >> _24))
    store_u32(out, at, np.uint32(x & _BELOW))


@kernel
def fill_shares(starts: U16, shares: U16, inverses: U64) -> None:
    """Fill shares = f, start, 2^11 - f, ceil(log2 f) of each place, and its inverse, of one block."""
    for first in range(0, PLACES, ROW):
        for s in range(first, first + 5):
            f = np.int64(starts[s + 1]) - np.int64(starts[s])
            shares[4 * s], shares[4 * s + 1], shares[4 * s + 2] = f, starts[s], WHOLE_TABLE - f
            shares[4 * s + 3] = 64 - leading_zeros(np.uint64(f - 1))
            inverses[s] = INVERSES[f]


@kernel
def pop_blocks(
    payload: U8, d: int, recent: U8, symbols: U32, places: U8, table: U64, entries: U64, slots: U8,
    tally: U32,
) -> int:  # fmt: skip
    """Fill places : uint8[d] and count them; return the bytes consumed or a status."""
    if payload.size < STATES:
        return TOO_SHORT
    a = load_state(payload, 0)
    b = load_state(payload, 7)
    c = load_state(payload, 14)
    e = load_state(payload, 21)
    f = load_state(payload, 28)
    g = load_state(payload, 35)
    h = load_state(payload, 42)
    m = load_state(payload, 49)
    if min(min(min(a, b), min(c, e)), min(min(f, g), min(h, m))) < _LOWEST:
        return INVALID_CODE
    at, last = np.uint64(STATES), np.uint64(payload.size - 4)
    table[:] = _0
    for number in range(blocks_of(d)):
        start, stop = block_start(number), min(block_start(number + 1), d)
        part, past = places[start:stop], recent[start:stop]
        make_table(symbols, largest_count(d), WHOLE_TABLE, table)
        fill_slots(table, entries, slots)
        for i in range(part.size):
            part[i] = context(past[i])
        whole = np.uint64(part.size // 16 * 16)
        j = _0
        while j < whole:
            for _ in range(2):
                part[j], a = pop(a, part[j], entries, slots)
                part[j + _1], b = pop(b, part[j + _1], entries, slots)
                part[j + _2], c = pop(c, part[j + _2], entries, slots)
                part[j + _3], e = pop(e, part[j + _3], entries, slots)
                part[j + _4], f = pop(f, part[j + _4], entries, slots)
                part[j + _5], g = pop(g, part[j + _5], entries, slots)
                part[j + _6], h = pop(h, part[j + _6], entries, slots)
                part[j + _7], m = pop(m, part[j + _7], entries, slots)
                j += _8
            a, at = refill(a, payload, at, last)
            b, at = refill(b, payload, at, last)
            c, at = refill(c, payload, at, last)
            e, at = refill(e, payload, at, last)
            f, at = refill(f, payload, at, last)
            g, at = refill(g, payload, at, last)
            h, at = refill(h, payload, at, last)
            m, at = refill(m, payload, at, last)
        while j < np.uint64(part.size):  # at the end of the vector only
            part[j], a = pop(a, part[j], entries, slots)
            a, at = refill(a, payload, at, last)
            a, b, c, e, f, g, h, m = b, c, e, f, g, h, m, a  # the next symbol's state comes first
            j += _1
        count_places(part, tally, symbols)
    if at > np.uint64(payload.size):
        return TOO_SHORT
    most = max(max(max(a, b), max(c, e)), max(max(f, g), max(h, m)))
    if most != _LOWEST or min(min(min(a, b), min(c, e)), min(min(f, g), min(h, m))) != _LOWEST:
        return INVALID_CODE
    return np.int64(at)  # type: ignore[return-value]


@kernel
def fill_slots(table: U64, entries: U64, slots: U8) -> None:
    """slots : uint8[CONTEXTS, 2^11] = the place of each slot; entries = start << 32 | f."""
    for first in range(0, PLACES, ROW):
        for s in range(first, first + 5):
            start, stop = np.int64(table[s]), np.int64(table[s + 1])
            entries[s] = np.uint64(start << 32 | stop - start)
            row = slots[(first << 8) + start : (first << 8) + stop]
            for i in range(row.size):
                row[i] = s


@kernel
def pop(x: np.uint64, row: np.uint8, entries: U64, slots: U8) -> tuple[np.uint8, np.uint64]:
    """Take one symbol of a context out of state x; return (its place, x)."""
    slot = x & _SLOT
    place = slots[np.uint64(row) << _8 | slot]
    found = entries[place]
    return place, (found & _BELOW) * (x >> _BITS) + (slot - (found >> _32))


@kernel
def refill(
    x: np.uint64, payload: U8, at: np.uint64, last: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Give x a word of the payload if it needs one; return (x, at)."""
    # Loaded in any case, from inside the payload: an array in a branch would be counted there.
    word = np.uint64(load_u32(payload, min(at, last)))  # type: ignore[arg-type]
    low = x < _LOWEST
    return x << _32 | word if low else x, at + _4 if low else at
