"""Sets of k indices below d, ascending, as truncated Rice codes of their gaps.

Both ends know d and k. The gap of an index is the number of indices skipped before it; the largest
that leaves room for those still to come is G = d - k - (all gaps before). A gap g is written as its
quotient q = g >> b in unary, q zeros and a one, but without the one where q = G >> b, the largest
possible; then its lower b bits. Bits are packed as in `bits`, padded with zeros to whole bytes.

The parameter b minimises the worst case, k (b + 1) + ((d - k) >> b) bits, or k b where 2^b > d - k and
nothing is left for the unary part; the latter is ceil(log2 (d - k + 1)) bits each, so an index
never costs more than ceil(log2 d) bits. For k <= d / 2 it costs log2(d / k) + 2 bits at most.
"""

import numpy as np

from distopt.compressors.coders.bits import (
    flush_bits,
    load_bits,
    padding_is_zero,
    put_bits,
    trailing_zeros,
)
from distopt.compressors.coders.wire import INVALID_INDEX, PADDING, TOO_SHORT
from distopt.core.arrays import I64, U8
from distopt.core.kernel import kernel


@kernel
def worst_bits(d: int, k: int, b: int) -> int:
    """Return the bits that k indices below d can take at most with parameter b."""
    return k * b if (d - k) >> b == 0 else k * (b + 1) + ((d - k) >> b)


@kernel
def rice_parameter(d: int, k: int) -> int:
    """Return the parameter with the least worst case, the smallest one of equals."""
    best = 0
    for b in range(1, 64):
        if worst_bits(d, k, b) < worst_bits(d, k, best):
            best = b
        if (d - k) >> b == 0:
            break
    return best


@kernel
def indices_nbytes(d: int, k: int) -> int:
    """Return the bytes that k indices below d can take at most."""
    return (worst_bits(d, k, rice_parameter(d, k)) + 7) // 8


@kernel
def write_indices(chosen: I64, k: int, d: int, out: U8) -> int:
    """Write chosen[:k], ascending and below d; return the bytes used."""
    b = rice_parameter(d, k)
    at, buffer, held = 0, np.uint64(0), 0
    room = d - k
    expected = 0
    for i in range(k):
        gap = int(chosen[i]) - expected
        zeros = gap >> b
        ends = zeros < room >> b
        while zeros >= 32:
            at, buffer, held = put_bits(out, at, buffer, held, np.uint64(0), 32)
            zeros -= 32
        at, buffer, held = put_bits(out, at, buffer, held, np.uint64(0), zeros)
        word = np.uint64(gap & ((1 << b) - 1))
        if ends:
            word = word << np.uint64(1) | np.uint64(1)
        at, buffer, held = put_bits(out, at, buffer, held, word, b + int(ends))
        expected += gap + 1
        room -= gap
    return flush_bits(out, at, buffer, held)


@kernel
def read_indices(payload: U8, k: int, d: int, chosen: I64) -> int:
    """chosen[:k] = the indices that the payload begins with; return their bytes or a status."""
    b = rice_parameter(d, k)
    end = 8 * payload.size
    bit = 0
    room = d - k
    expected = 0
    for i in range(k):
        most = room >> b
        quotient = 0
        while quotient < most:
            zeros = min(trailing_zeros(load_bits(payload, bit)), 56)
            if zeros < 56 and quotient + zeros < most:
                quotient += zeros
                bit += zeros + 1
                break
            zeros = min(zeros, most - quotient)
            quotient += zeros
            bit += zeros
            if bit > end:
                return TOO_SHORT
        gap = (quotient << b) | (int(load_bits(payload, bit)) & ((1 << b) - 1))
        bit += b
        if gap > room:
            return INVALID_INDEX
        if bit > end:
            return TOO_SHORT
        chosen[i] = expected + gap
        expected += gap + 1
        room -= gap
    if not padding_is_zero(payload, 0, bit):
        return PADDING
    return (bit + 7) // 8
