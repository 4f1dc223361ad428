"""rANS, an entropy coder of symbols below 256 whose frequencies both ends know.

Four interleaved states of 32 bits, symbol j in state j mod 4: frequencies out of 2^14, words of 16 bits.
All states start at 2^16, and a receiver must find them there again at the end.

Wire: the four states, little-endian uint32, then the words.

It is from J. Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with
compression rate of arithmetic coding"; interleaved as by F. Giesen, "Interleaved entropy coders".
"""

import numpy as np

from distopt.compressors.coders.bits import leading_zeros
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT, load_u16, load_u32, store_u32
from distopt.core.arrays import U8, U32, U64
from distopt.core.kernel import kernel

SCALE_BITS = 14
SCALE = 1 << SCALE_BITS  # what frequencies add up to

# numba makes floats of uint64 where a Python integer takes part.
_0, _1, _16 = (np.uint64(n) for n in (0, 1, 16))
_WORD = np.uint64(0xFFFF)
_ROOM = np.uint64(16 + 8)  # bytes that must be left for four more symbols and the states
_LOWEST = np.uint64(1 << 16)  # states are in [2^16, 2^32)


@kernel
def fill_encoder(frequencies: U32, parts: U64, inverses: U64) -> None:
    """Fill parts = start | (2^14 - f) << 16 | f << 32 | shift << 48, and inverses.

    x // f = (x inverse) >> shift for x < 2^18 f, with shift = 32 + ceil(log2 f) and the inverse
    2^shift / f, rounded up: the product is below 2^64, and its error below 2^shift / f.
    """
    start = _0
    for s in range(256):
        f = np.uint64(frequencies[s])
        if f > 0:
            shift = np.uint64(96 - leading_zeros(f - _1)) if f > 1 else np.uint64(32)
            inverses[s] = ((_1 << shift) + f - _1) // f
            rest = np.uint64(SCALE) - f
            parts[s] = start | rest << np.uint64(16) | f << np.uint64(32) | shift << np.uint64(48)
        start += f


@kernel
def push(
    x: np.uint64, part: np.uint64, inverse: np.uint64, out: U8, at: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Put one symbol into state x; its lowest 16 bits leave to the front of out[at:] if need be."""
    out[at - np.uint64(2)] = np.uint8(x)
    out[at - _1] = np.uint8(x >> np.uint64(8))
    full = x >= (part >> np.uint64(32) & _WORD) << np.uint64(18)
    x = x >> _16 if full else x
    at -= np.uint64(full) << _1
    quotient = x * inverse >> (part >> np.uint64(48))
    return x + (part & _WORD) + quotient * (part >> _16 & _WORD), at


@kernel
def push_all(symbols: U8, count: int, parts: U64, inverses: U64, out: U8) -> int:
    """Write states and words so that they end with `out`; return where they begin, or `TOO_SHORT`."""
    a = b = c = e = _LOWEST
    at = np.uint64(out.size)
    whole = count // 4 * 4
    for j in range(count - 1, whole - 1, -1):
        if at < _ROOM:
            return TOO_SHORT
        s = symbols[j]
        if j == whole + 2:
            c, at = push(c, parts[s], inverses[s], out, at)
        elif j == whole + 1:
            b, at = push(b, parts[s], inverses[s], out, at)
        else:
            a, at = push(a, parts[s], inverses[s], out, at)
    for j in range(whole - 4, -1, -4):
        if at < _ROOM:
            return TOO_SHORT
        s, t, u, v = symbols[j], symbols[j + 1], symbols[j + 2], symbols[j + 3]
        e, at = push(e, parts[v], inverses[v], out, at)
        c, at = push(c, parts[u], inverses[u], out, at)
        b, at = push(b, parts[t], inverses[t], out, at)
        a, at = push(a, parts[s], inverses[s], out, at)
    begin: int = np.int64(at) - 16  # type: ignore[assignment]
    store_u32(out, begin, np.uint32(a))
    store_u32(out, begin + 4, np.uint32(b))
    store_u32(out, begin + 8, np.uint32(c))
    store_u32(out, begin + 12, np.uint32(e))
    return begin


@kernel
def fill_decoder(frequencies: U32, slots: U8, parts: U32) -> None:
    """slots : uint8[2^14] = the symbol of each slot; parts = f | start << 16."""
    start = 0
    for s in range(256):
        f = int(frequencies[s])
        parts[s] = np.uint32(f) | np.uint32(start) << np.uint32(16)
        slots[start : start + f] = s
        start += f


@kernel
def pop(
    x: np.uint64, slots: U8, parts: U32, payload: U8, at: np.uint64
) -> tuple[np.uint8, np.uint64, np.uint64]:
    """Take one symbol out of state x, which gets a word of the payload (two bytes are there) if need be."""
    slot = x & np.uint64(SCALE - 1)
    s = slots[slot]
    part = np.uint64(parts[s])
    x = (part & _WORD) * (x >> np.uint64(SCALE_BITS)) + slot - (part >> _16)
    low = x < _LOWEST
    # Loaded in any case, and all of it selected: a branch would be taken at random.
    longer = x << _16 | np.uint64(payload[at]) | np.uint64(payload[at + _1]) << np.uint64(8)
    return s, longer if low else x, at + (np.uint64(low) << _1)


@kernel
def pop_all(payload: U8, slots: U8, parts: U32, symbols: U8, count: int) -> int:
    """Read symbols[:count]; return the bytes consumed or a status."""
    if payload.size < 16:
        return TOO_SHORT
    a, b = np.uint64(load_u32(payload, 0)), np.uint64(load_u32(payload, 4))
    c, e = np.uint64(load_u32(payload, 8)), np.uint64(load_u32(payload, 12))
    if min(min(a, b), min(c, e)) < _LOWEST:
        return INVALID_CODE
    at, j = _16, 0
    while j + 4 <= count and np.int64(at) + 8 <= payload.size:
        symbols[j], a, at = pop(a, slots, parts, payload, at)
        symbols[j + 1], b, at = pop(b, slots, parts, payload, at)
        symbols[j + 2], c, at = pop(c, slots, parts, payload, at)
        symbols[j + 3], e, at = pop(e, slots, parts, payload, at)
        j += 4
    while j < count:
        slot = a & np.uint64(SCALE - 1)
        s = slots[slot]
        part = np.uint64(parts[s])
        a = (part & _WORD) * (a >> np.uint64(SCALE_BITS)) + slot - (part >> _16)
        if a < _LOWEST:
            if np.int64(at) + 2 > payload.size:
                return TOO_SHORT
            a = a << _16 | np.uint64(load_u16(payload, np.int64(at)))  # type: ignore[arg-type]
            at += np.uint64(2)
        symbols[j] = s
        a, b, c, e = b, c, e, a  # the next symbol's state comes first
        j += 1
    if a != _LOWEST or b != _LOWEST or c != _LOWEST or e != _LOWEST:
        return INVALID_CODE
    return np.int64(at)  # type: ignore[return-value]
