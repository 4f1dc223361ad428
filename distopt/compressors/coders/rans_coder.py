"""A coder of integer codes for long messages: the range coder's model, coded by interleaved rANS.

Symbols, contexts and counts are those of `range_model`; the counts are of four of every eight codes and
are looked at after 256, 512, 1024, ... codes, then after every 8192. Symbol i is coded in state
i mod 8, two of a state between two words, so that many codes are under way at once where the interval
of a range coder waits for each.

The idea of states: J. Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding
with compression rate of arithmetic coding"; interleaved as by F. Giesen, "Interleaved entropy coders".

Wire: eight states of 7 bytes, words of 32 bits, little-endian; then the magnitudes of codes beyond
+-1, less 2: up to `FEW` of them in Elias-gamma, padded to a byte with zeros, more as `fast_coder` writes
them. Where that is longer than plain codes: the uint32 0, then q - lowest in `bits` bits each.
"""

import numpy as np

from distopt.compressors.coders.bits import flush_bits, padding_is_zero, trailing_zeros
from distopt.compressors.coders.fast_coder import (
    count_fast,
    decode_fast,
    decode_plain,
    encode_fast,
    encode_plain,
    new_fast_state,
)
from distopt.compressors.coders.gamma import read_gamma, write_gamma
from distopt.compressors.coders.range_coder import fill_small
from distopt.compressors.coders.range_model import (
    classify,
    largest_count,
    make_table,
    new_range_state,
    remember,
)
from distopt.compressors.coders.rans_states import (
    PLACES,
    WHOLE_TABLE,
    block_start,
    blocks_of,
    count_places,
    pop_blocks,
    push_blocks,
)
from distopt.compressors.coders.wire import INVALID_CODE, PADDING, TOO_SHORT, load_u32, load_u64
from distopt.core.arrays import I64, U8, U16, U32, U64, Codes
from distopt.core.kernel import kernel

FEW = 256  # codes beyond +-1 whose magnitudes are written in Elias-gamma

# numba makes floats of uint64 where a Python integer takes part.
_0, _1, _2, _4 = (np.uint64(n) for n in (0, 1, 2, 4))


def new_rans_state(d: int) -> dict[str, np.ndarray]:
    """Make the state of one end of one stream of d codes a message.

    `recent` and `symbols` as of `range_model`, and the `counts` of `fast_coder` for magnitudes.
    """
    state = new_range_state(d)
    return {"recent": state["recent"], "symbols": state["symbols"]} | new_fast_state(d)


@kernel
def encode_rans(
    codes: Codes, recent: U8, symbols: U32, counts: U32, lowest: int, bits: int, places: U8, table: U64,
    starts: U16, shares: U16, tally: U32, parts: U64, inverses: U64, few: I64, frequencies: U32, which: I64,
    large: I64, ones: U8, section: U8, out: U8,
) -> int:  # fmt: skip
    """Write all codes, advance the state; return the bytes. Where they do not fit, write them plainly.

    Work space: places : uint8[d], table : uint64[PLACES], starts : uint16[blocks, PLACES],
    shares : uint16[4 PLACES], which and large : int64[d], section : uint8[out.size + 16 FEW], and for
    `encode_fast` tally : uint32[1024], parts and inverses : uint64[256], few : int64[4],
    frequencies : uint32[256], ones : uint8[d].
    """
    d = codes.size
    table[:] = _0
    for number in range(blocks_of(d)):
        start, stop = block_start(number), min(block_start(number + 1), d)
        into = places[start:stop]
        classify(codes[start:stop], recent[start:stop], into)
        make_table(symbols, largest_count(d), WHOLE_TABLE, table)
        for s in range(PLACES):
            starts[number, s] = np.uint16(table[s])
        count_places(into, tally, symbols)
    remember(codes, recent)
    n = find_large(places[:d], codes, which, large)
    nbytes = 0
    if 0 < n <= FEW:
        at, buffer, held = write_gamma(large, n, section, 0, _0, 0)
        nbytes = flush_bits(section, at, buffer, held)
    elif n > 0:
        room = 26 + (bits * n + 7) // 8  # as FastCoder.max_nbytes
        nbytes = encode_fast(
            large[:n],
            counts,
            0,
            bits,
            ones,
            frequencies,
            tally,
            parts,
            inverses,
            few,
            section[:room],
        )
    room = max(out.size - nbytes, 0)
    begin = push_blocks(places, d, starts, shares, inverses, out[:room])
    if begin < 0:
        return encode_plain(codes, lowest, bits, out)
    for i in range(room - begin):
        out[i] = out[begin + i]
    for i in range(nbytes):
        out[room - begin + i] = section[i]
    return room - begin + nbytes


@kernel
def find_large(places: U8, codes: Codes, which: I64, large: I64) -> int:
    """which[:n] = all i with a code beyond +-1, and large[:n] = |code_i| - 2; return n."""
    n = 0
    i = next_large(places, 0)
    while i < places.size:
        which[n] = i
        large[n] = abs(np.int64(codes[i])) - 2
        n += 1
        i = next_large(places, i + 1)
    return n


@kernel
def next_large(places: U8, i: int) -> int:
    """Return the first of i, i + 1, ... whose code is beyond +-1: symbol 3 or 4; or places.size."""
    while i + 8 <= places.size:
        word = load_u64(places, i)
        found = (word >> _2 | word & word >> _1) & np.uint64(0x0101010101010101)
        if found != _0:
            return i + trailing_zeros(found) // 8
        i += 8
    while i < places.size and places[i] & np.uint8(7) < 3:
        i += 1
    return i


@kernel
def decode_rans(
    payload: U8, recent: U8, symbols: U32, counts: U32, lowest: int, highest: int, bits: int,
    places: U8, table: U64, entries: U64, slots: U8, tally: U32, new_symbols: U32, new_counts: U32,
    frequencies: U32, fast_slots: U8, parts: U32, few: I64, which: I64, large: I64, ones: U8,
    codes: Codes,
) -> int:  # fmt: skip
    """Read codes, advance the state once all is accepted; return the bytes consumed or a status.

    Work space: as in `encode_rans` and of `decode_fast`, entries : uint64[PLACES],
    slots : uint8[CONTEXTS 2^11], new_symbols : uint32[PLACES], new_counts : uint32[256].
    """
    if payload.size < 4:
        return TOO_SHORT
    d = codes.size
    new_symbols[:] = symbols
    new_counts[:] = counts
    if load_u32(payload, 0) == 0:
        end = decode_plain(payload, lowest, highest, bits, codes)
        if end < 0:
            return end
        table[:] = _0
        for number in range(blocks_of(d)):
            start, stop = block_start(number), min(block_start(number + 1), d)
            into = places[start:stop]
            classify(codes[start:stop], recent[start:stop], into)
            make_table(new_symbols, largest_count(d), WHOLE_TABLE, table)
            count_places(into, tally, new_symbols)
        n = find_large(places[:d], codes, which, large)
        if n > FEW:
            count_fast(large[:n], ones, tally, new_counts)
    else:
        end = pop_blocks(payload, d, recent, new_symbols, places, table, entries, slots, tally)
        if end < 0:
            return end
        fill_small(places, recent, codes)
        if lowest > -1 or highest < 1:
            for i in range(d):
                end = (
                    end
                    if lowest <= codes[i] <= highest or places[i] & np.uint8(7) > 2
                    else INVALID_CODE
                )
        n = find_large(places[:d], codes, which, large)
        if 0 < n <= FEW and end >= 0:
            bit = read_gamma(payload, 8 * end, large, n)
            if bit >= 0 and not padding_is_zero(payload, 0, bit):
                bit = PADDING
            end = bit if bit < 0 else (bit + 7) // 8
        elif n > 0 and end >= 0:
            nbytes = decode_fast(
                payload[end:], new_counts, 0, max(highest, -lowest) - 2, bits, ones, frequencies, tally,
                fast_slots, parts, few, large[:n],
            )  # fmt: skip
            end = nbytes if nbytes < 0 else end + nbytes
        for k in range(n if end >= 0 else 0):
            i, m = which[k], large[k] + 2
            q = -m if (places[i] & _4 != _0) != (recent[i] & np.uint8(1) != 0) else m
            end = end if m >= 2 and lowest <= q <= highest else INVALID_CODE
            codes[i] = q
        if end < 0:
            return end
    symbols[:] = new_symbols
    counts[:] = new_counts
    remember(codes, recent)
    return end
