"""A fast coder of integer codes for large messages: tables fixed by the message before.

Both ends know the codes of the previous message, so the frequencies of this one's symbols need not
travel. If at most 1 in 64 of them was beyond +-1, four codes make one symbol,

    s = (1 + q_0) + 3 (1 + q_1) + 9 (1 + q_2) + 27 (1 + q_3),       81 where one of them is beyond +-1,

with the product of the codes' frequencies as its own. Else every code is a symbol, 2 q - 1 for q > 0 and
-2 q otherwise; 255 stands for those from 255 on and for all that the previous message had not. The codes
that 81 and 255 stand for follow in Elias-gamma. Missing codes of the last four are 0.

The symbols are coded by `rans`.

Wire: what `rans` writes, then the Elias-gamma codes, padded to a byte with zeros. Where that is longer
than plain codes: the uint32 0, then q - lowest in `bits` bits each.

Tables from the message before and four codes to a symbol are ours.
"""

import numpy as np

from distopt.compressors.coders.bits import (
    flush_bits,
    leading_zeros,
    load_bits,
    padding_is_zero,
    put_bits,
)
from distopt.compressors.coders.gamma import read_gamma, write_gamma
from distopt.compressors.coders.rans import SCALE, fill_decoder, fill_encoder, pop_all, push_all
from distopt.compressors.coders.wire import INVALID_CODE, PADDING, TOO_SHORT, load_u32, store_u32
from distopt.core.arrays import I64, U8, U32, U64, Codes
from distopt.core.kernel import kernel

FOUR_ZEROS = 40
ESCAPED_FOUR = 81
ESCAPED_ONE = 255

# numba makes floats of uint64 where a Python integer takes part.
_0, _1, _4 = (np.uint64(n) for n in (0, 1, 4))


def new_fast_state(d: int) -> dict[str, np.ndarray]:
    """Make the state of one end of one stream: counts : uint32[256], of the previous message's symbols.

    A symbol is 2 q - 1 for a code q > 0, else -2 q, and 255 for all from 255 on.
    """
    counts = np.zeros(256, np.uint32)
    counts[:3] = 8, 4, 4
    return {"counts": counts}


# Tables


@kernel
def by_fours(counts: U32) -> bool:
    """Tell whether four codes make a symbol: at most 1 in 64 was beyond +-1."""
    large = np.int64(0)
    for s in range(3, 256):
        large += np.int64(counts[s])
    small = np.int64(counts[0]) + np.int64(counts[1]) + np.int64(counts[2])
    return bool(63 * large <= small)


@kernel
def fill_frequencies(counts: U32, fours: bool, frequencies: U32) -> None:
    """Fill frequencies : uint32[256] with numbers below 2^14 whose sum is 2^14."""
    total = np.uint64(1)
    distinct = np.uint64(0)
    for s in range(256):
        total += np.uint64(counts[s])
        distinct += np.uint64(counts[s] > 0)
    frequencies[:] = 0
    if fours:
        fill_fours(counts, total, frequencies)
        return
    escaped = np.uint64(counts[ESCAPED_ONE]) + distinct
    escape = _1 + escaped * np.uint64(SCALE // 4) // (escaped + total)
    room = np.uint64(SCALE) - escape - distinct
    left = np.uint64(SCALE) - escape
    top = 0
    for s in range(255):
        if counts[s] > 0:
            f = _1 + np.uint64(counts[s]) * room // total
            left -= f
            frequencies[s] = f
            top = s if counts[s] > counts[top] else top
    frequencies[top] += left
    frequencies[ESCAPED_ONE] = escape


@kernel
def fill_fours(counts: U32, total: np.uint64, frequencies: U32) -> None:
    """Fill the frequencies of four codes at once: products of those of one."""
    minus = _1 + np.uint64(counts[2]) * np.uint64(4095) // total
    zero = _1 + np.uint64(counts[0]) * np.uint64(4095) // total
    plus = _1 + np.uint64(counts[1]) * np.uint64(4095) // total
    large = total - _1 - np.uint64(counts[0]) - np.uint64(counts[1]) - np.uint64(counts[2])
    escape = _1 + np.uint64(4 * SCALE) * large // total
    room = np.uint64(SCALE - 81) - escape
    pair = (minus + zero + plus) * (minus + zero + plus)
    whole = pair * pair  # below 2^50
    left = np.uint64(SCALE) - escape
    for s in range(81):
        product = _1
        rest = s
        for _ in range(4):
            product *= minus if rest % 3 == 0 else (zero if rest % 3 == 1 else plus)
            rest //= 3
        f = _1 + (product >> _4) * room // (whole >> _4)
        left -= f
        frequencies[s] = f
    frequencies[FOUR_ZEROS] += left
    frequencies[ESCAPED_FOUR] = escape


# Symbols


@kernel
def folded(q: int) -> np.uint64:
    """Return 2 q - 1 for q > 0, else -2 q."""
    return np.uint64(2 * q - 1) if q > 0 else np.uint64(-q) << _1


@kernel
def count_codes(codes: Codes, tally: U32, counts: U32) -> None:
    """counts_s = how many codes are symbol s; tally : uint32[1024] is work space."""
    tally[:] = 0
    for i in range(codes.size):  # four tallies: adding to one place again at once has to wait
        symbol = min(folded(int(codes[i])), np.uint64(255))
        tally[np.uint64((i & 3) << 8) | symbol] += np.uint32(1)
    for s in range(256):
        counts[s] = tally[s] + tally[256 + s] + tally[512 + s] + tally[768 + s]


@kernel
def count_fours(codes: Codes, symbols: U8, tally: U32, counts: U32) -> None:
    """Do the same from symbols of four codes."""
    tally[:] = 0
    whole = codes.size // 4
    for j in range(whole):
        tally[np.int64(symbols[j]) | (j & 3) << 8] += np.uint32(1)
    counts[:] = 0
    for s in range(81):
        n = tally[s] + tally[256 + s] + tally[512 + s] + tally[768 + s]
        rest = s
        for _ in range(4):
            counts[(2, 0, 1)[rest % 3]] += n
            rest //= 3
    for j in range(whole):
        if symbols[j] == ESCAPED_FOUR:
            for i in range(4 * j, 4 * j + 4):
                counts[min(folded(int(codes[i])), np.uint64(255))] += np.uint32(1)
    for i in range(4 * whole, codes.size):
        counts[min(folded(int(codes[i])), np.uint64(255))] += np.uint32(1)


@kernel
def join_fours(codes: Codes, symbols: U8) -> None:
    """Make one symbol of every four codes."""
    whole = codes.size // 4
    for j in range(whole):
        a, b, c, e = codes[4 * j], codes[4 * j + 1], codes[4 * j + 2], codes[4 * j + 3]
        large = (a > 1) | (a < -1) | (b > 1) | (b < -1)
        large |= (c > 1) | (c < -1) | (e > 1) | (e < -1)
        symbol = np.uint8(a) + np.uint8(3) * np.uint8(b) + np.uint8(9) * np.uint8(c)
        symbol = np.uint8(symbol + np.uint8(27) * np.uint8(e) + np.uint8(FOUR_ZEROS))
        symbols[j] = np.uint8(ESCAPED_FOUR) if large else symbol
    if 4 * whole < codes.size:
        s, factor = FOUR_ZEROS, 1
        for i in range(4 * whole, codes.size):
            q = codes[i]
            s = s + factor * q if -1 <= q <= 1 and s != ESCAPED_FOUR else ESCAPED_FOUR
            factor *= 3
        symbols[whole] = s


@kernel
def split_fours(symbols: U8, codes: Codes) -> bool:
    """Make four codes of every symbol, anything of escapes; tell whether missing codes are 0."""
    whole = codes.size // 4
    for j in range(whole):
        s = np.uint32(symbols[j])
        t = s * np.uint32(171) >> np.uint32(9)  # s // 3, exact for s < 256
        u = t * np.uint32(171) >> np.uint32(9)
        v = u * np.uint32(171) >> np.uint32(9)
        codes[4 * j] = np.int32(s - np.uint32(3) * t) - np.int32(1)
        codes[4 * j + 1] = np.int32(t - np.uint32(3) * u) - np.int32(1)
        codes[4 * j + 2] = np.int32(u - np.uint32(3) * v) - np.int32(1)
        codes[4 * j + 3] = np.int32(v) - np.int32(1)
    if 4 * whole == codes.size:
        return True
    rest = np.int64(symbols[whole])
    for i in range(4 * whole, codes.size):
        codes[i] = rest % 3 - 1
        rest //= 3
    missing = 4 - codes.size % 4
    return bool(symbols[whole] == ESCAPED_FOUR or rest == (3**missing - 1) // 2)


# Whole messages


@kernel
def count_fast(codes: Codes, symbols: U8, tally: U32, counts: U32) -> None:
    """Make `counts` those of a message, as if it had been coded; symbols : uint8[d] is work space."""
    if by_fours(counts):
        join_fours(codes, symbols)
        count_fours(codes, symbols, tally, counts)
    else:
        count_codes(codes, tally, counts)


@kernel
def encode_fast(
    codes: Codes, counts: U32, lowest: int, bits: int, symbols: U8, frequencies: U32, tally: U32,
    parts: U64, inverses: U64, few: I64, out: U8,
) -> int:  # fmt: skip
    """Write all codes, make `counts` theirs; return the bytes. Where they do not fit: plainly.

    Work space: symbols : uint8[d], frequencies : uint32[256], tally : uint32[1024], parts and
    inverses : uint64[256], few : int64[4].
    """
    fours = by_fours(counts)
    fill_frequencies(counts, fours, frequencies)
    fill_encoder(frequencies, parts, inverses)
    escaped_bits = 0
    size = 4 if fours else 1
    if fours:
        join_fours(codes, symbols)
        count_fours(codes, symbols, tally, counts)
        count = (codes.size + 3) // 4
        escape = ESCAPED_FOUR
    else:
        for i in range(codes.size):
            s = min(folded(int(codes[i])), np.uint64(255))
            symbols[i] = s if frequencies[s] > 0 else np.uint64(ESCAPED_ONE)
        count_codes(codes, tally, counts)
        count = codes.size
        escape = ESCAPED_ONE
    for j in range(count):
        if symbols[j] == escape:
            for i in range(size * j, min(size * j + size, codes.size)):
                q = np.int64(codes[i])
                m = np.uint64(2 * q + 1) if q >= 0 else np.uint64(-q) << _1
                escaped_bits += 127 - 2 * leading_zeros(m)
    room = out.size - (escaped_bits + 7) // 8
    begin = push_all(symbols, count, parts, inverses, out[: max(room, 0)])
    if begin < 0:
        return encode_plain(codes, lowest, bits, out)
    nbytes = room - begin
    for i in range(nbytes):
        out[i] = out[begin + i]
    at, buffer, held = nbytes, _0, 0
    if escaped_bits:
        for j in range(count):
            if symbols[j] == escape:
                here = min(size, codes.size - size * j)
                for i in range(here):
                    few[i] = codes[size * j + i]
                at, buffer, held = write_gamma(few, here, out, at, buffer, held)
    return flush_bits(out, at, buffer, held)


@kernel
def decode_fast(
    payload: U8, counts: U32, lowest: int, highest: int, bits: int, symbols: U8, frequencies: U32,
    tally: U32, slots: U8, parts: U32, few: I64, codes: Codes,
) -> int:  # fmt: skip
    """Read codes, make `counts` theirs once all is accepted; return the bytes consumed or a status."""
    if payload.size < 4:
        return TOO_SHORT
    fours = by_fours(counts)
    if load_u32(payload, 0) == 0:
        end = decode_plain(payload, lowest, highest, bits, codes)
        if end > 0:
            count_fast(codes, symbols, tally, counts)
        return end
    fill_frequencies(counts, fours, frequencies)
    fill_decoder(frequencies, slots, parts)
    size = 4 if fours else 1
    escape = ESCAPED_FOUR if fours else ESCAPED_ONE
    count = (codes.size + size - 1) // size
    at = pop_all(payload, slots, parts, symbols, count)
    if at < 0:
        return at
    if fours:
        if not split_fours(symbols, codes):
            return PADDING
    else:
        for i in range(count):
            s = np.int64(symbols[i])
            codes[i] = (s + 1) // 2 if s & 1 else -s // 2
    bit = 8 * at
    for j in range(count):
        if symbols[j] == escape:
            here = min(size, codes.size - size * j)
            bit = read_gamma(payload, bit, few, here)
            if bit < 0:
                return bit
            for i in range(here):
                if not lowest <= few[i] <= highest:
                    return INVALID_CODE
                codes[size * j + i] = few[i]
    if not padding_is_zero(payload, 0, bit):
        return PADDING
    for i in range(codes.size):
        if not lowest <= codes[i] <= highest:
            return INVALID_CODE
    if fours:
        count_fours(codes, symbols, tally, counts)
    else:
        count_codes(codes, tally, counts)
    return (bit + 7) // 8


@kernel
def encode_plain(codes: Codes, lowest: int, bits: int, out: U8) -> int:
    """Write four zero bytes, then q - lowest in `bits` bits each."""
    store_u32(out, 0, np.uint32(0))
    at, buffer, held = 4, _0, 0
    for i in range(codes.size):
        value = np.uint64(np.int64(codes[i]) - lowest)
        at, buffer, held = put_bits(out, at, buffer, held, value, bits)
    return flush_bits(out, at, buffer, held)


@kernel
def decode_plain(payload: U8, lowest: int, highest: int, bits: int, codes: Codes) -> int:
    """Read what `encode_plain` wrote."""
    end = 32 + bits * codes.size
    if (end + 7) // 8 > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, 0, end):
        return PADDING
    for i in range(codes.size):
        bit = 32 + bits * i
        first = min(bits, 32)
        value = load_bits(payload, bit) & ((_1 << np.uint64(first)) - _1)
        if bits > 32:
            more = load_bits(payload, bit + 32) & ((_1 << np.uint64(bits - 32)) - _1)
            value |= more << np.uint64(32)
        if value > np.uint64(highest - lowest):
            return INVALID_CODE
        codes[i] = np.int64(value) + lowest
    return (end + 7) // 8
