"""Elias-gamma codes of signed integers, as a dense stream of bits.

An integer q, |q| < 2^63, becomes m = 2 q + 1 if q >= 0, else m = -2 q (zig-zag, plus one). With
N = floor(log2 m), m is written as N zeros, a one, and the lower N binary digits of m, lowest first:
2 N + 1 bits. So 0 costs 1 bit, +-1 cost 3, up to +-3 cost 5, up to +-7 cost 7. Bit k of the stream is
bit k % 8 of byte k // 8; the padding of the last byte is zero.
"""

import numpy as np

from distopt.compressors.coders.bits import leading_zeros, load_bits, put_bits, trailing_zeros
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT
from distopt.core.arrays import I64, U8
from distopt.core.kernel import kernel

MAX_BITS = 127  # of one code


@kernel
def write_gamma(
    codes: I64, count: int, out: U8, at: int, buffer: np.uint64, held: int
) -> tuple[int, np.uint64, int]:
    """Append codes[:count] to a stream of bits; see `put_bits` for its three numbers."""
    for i in range(count):
        q = codes[i]
        m = (np.uint64(q) << np.uint64(1) ^ np.uint64(q >> np.int64(63))) + np.uint64(1)
        n = 63 - leading_zeros(m)
        one = np.uint64(1) << np.uint64(n)
        word = (m ^ one) << np.uint64(1) | np.uint64(1)  # the one, then the digits below it
        if n < 32:
            word <<= np.uint64(n)
            at, buffer, held = put_bits(out, at, buffer, held, word, 2 * n + 1)
        else:
            at, buffer, held = put_bits(out, at, buffer, held, np.uint64(0), n)
            at, buffer, held = put_bits(out, at, buffer, held, word, n + 1)
    return at, buffer, held


@kernel
def read_gamma(payload: U8, bit: int, codes: I64, count: int) -> int:
    """codes[:count] = the integers that start at bit `bit`; return the bit after them or a status."""
    end = 8 * payload.size
    i = 0
    while i < count:
        word = load_bits(payload, bit)  # 57 bits at least, zeros beyond the end
        left = 57
        while i < count:
            n = trailing_zeros(word)
            if 2 * n + 1 > left:
                break
            word >>= np.uint64(n + 1)
            codes[i] = unfold(n, word)
            word >>= np.uint64(n)
            left -= 2 * n + 1
            bit += 2 * n + 1
            i += 1
        if left == 57:  # a code of more than 57 bits, or the end
            n = 0
            while n < 64 and bit + n < end:
                if payload[(bit + n) // 8] >> np.uint8((bit + n) % 8) & 1:
                    break
                n += 1
            if n > 63:
                return INVALID_CODE
            digits = load_bits(payload, bit + n + 1)
            if n > 57:
                digits &= (np.uint64(1) << np.uint64(57)) - np.uint64(1)
                digits |= load_bits(payload, bit + n + 58) << np.uint64(57)
            codes[i] = unfold(n, digits)
            bit += 2 * n + 1
            i += 1
        if bit > end:
            return TOO_SHORT
    return bit


@kernel
def unfold(n: int, digits: np.uint64) -> np.int64:
    """Return the integer whose m has the highest bit n and these lower n digits; more are ignored."""
    one = np.uint64(1) << np.uint64(n)
    z = one + (digits & (one - np.uint64(1))) - np.uint64(1)  # m - 1, even for q >= 0
    return np.int64(z >> np.uint64(1)) ^ -np.int64(z & np.uint64(1))  # type: ignore[no-any-return]
