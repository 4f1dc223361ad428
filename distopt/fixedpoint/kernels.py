"""Kernels of fixed-point arithmetic: one compiled kernel per rounding mode, no branch in a loop.

Random bits belong to the *global* index of a value: value g of a stream takes 16 bits, half ``g % 2048``
of tile ``g // 2048``, or where 16 do not suffice one word, word ``g % 1024`` of tile ``g // 1024``
(`distopt.core.randomness`). So any slice of a vector, on any rank, rounds to the same codes.

A mode is a constant of its kernel, so that the compiler removes the choice. The closures hold that
number only: a compiled kernel in a closure would change the name under which numba caches it.
"""

from collections.abc import Callable

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from distopt.core.arrays import F64, I64, U32
from distopt.core.kernel import kernel
from distopt.core.magnitude import INFINITE, magnitude
from distopt.core.randomness import TILE, fill_blocks, fill_tile

HALVES = 2 * TILE  # values that a tile of random words serves with 16 bits each

RN, RD, RU, RZ, SR, SR_EPS, SIGNED = range(7)


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of array[index], without waiting; numba has no name for it."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        insert = cgutils.get_or_insert_function
        function = insert(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        place = builder.bitcast(builder.gep(data, [args[1]]), byte)
        read, keep, is_data = (ir.Constant(word, value) for value in (0, 3, 1))
        builder.call(function, [place, read, keep, is_data])
        return context.get_dummy_value()

    return types.void(array, types.intp), build


@njit(inline="always")
def prefetch_lines(x: F64, start: int, first: int, stop: int) -> None:
    """Ask for the lines first, ..., stop - 1 of 64 bytes of x[start:]."""
    for line in range(first, stop):
        prefetch(x, start + 8 * line)  # type: ignore[call-arg]


# Adding 1.5 2^52 to |y| < 2^51 rounds y to an integer, ties to even, and leaves it in the lowest bits.
_MAGIC = 6755399441055744.0
_MAGIC_BITS = np.int64(0x4338000000000000)


@kernel
def first_nonfinite(x: F64) -> int:
    """Return the first i with x[i] infinite or nan, -1 where there is none."""
    largest = np.int64(0)
    for i in range(x.size):
        largest = max(largest, magnitude(x[i]))
    if largest >= INFINITE:
        for i in range(x.size):
            if not np.isfinite(x[i]):
                return i
    return -1


@kernel
def first_outside(x: F64, lowest: float, highest: float) -> int:
    """Return the first i with x[i] outside [lowest, highest], or -1."""
    for i in range(x.size):
        if not lowest <= x[i] <= highest:
            return i
    return -1


@kernel
def count_outside(x: F64, scale: float, limit: float) -> int:
    """Count the x_i with scale x_i outside [-limit, limit - 1]."""
    count = 0
    for i in range(x.size):
        y = x[i] * scale
        count += (y < -limit) | (y > limit - 1.0)
    return count


# From float64 to codes, 16 bits at most: the fast path, in two loops per tile. The first one sees only
# 8-byte numbers and the second one only 4-byte ones, which gives each its full vector width (measured:
# 1.3 times faster than one loop).


@njit(inline="always")
def to_sub_units_inline(x: F64, scale: float, bits: int, w: U32, count: int) -> bool:
    """w_i = rint(scale x_i) + 2^(bits + 15), which counts u / 2^16 from the lowest number on.

    Return whether all x_i are surely in range. Where one is not, is nan, or is so close to a limit that
    it became the limit here, w is arbitrary: `clamp_to_sub_units` tells exactly, so that the count of
    saturations does not depend on which other values share the tile.
    """
    magic = _MAGIC + np.float64(np.int64(1) << (bits + 15))
    changed = np.int64(0)  # above its lowest bits + 16 bits: those of _MAGIC that any x_i changed
    for i in range(count):
        word = np.float64(x[i] * scale + magic).view(np.int64)
        changed |= word ^ _MAGIC_BITS
        w[i] = np.uint32(word)  # the lowest 32 bits of _MAGIC are 0
    smallest, largest = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(count):
        smallest = min(smallest, w[i])
        largest = max(largest, w[i])
    highest = (np.int64(1) << (bits + 16)) - np.int64(65536)
    return bool((changed >> (bits + 16) == 0) & (smallest > 0) & (np.int64(largest) < highest))


@kernel
def to_sub_units(x: F64, scale: float, bits: int, w: U32) -> bool:
    """Do as `to_sub_units_inline` for all of x."""
    return to_sub_units_inline(x, scale, bits, w, x.size)


@kernel
def clamp_to_sub_units(x: F64, scale: float, bits: int, w: U32) -> int:
    """Do as `to_sub_units`, with x_i clamped to the range; return how many were outside."""
    offset = np.float64(np.int64(1) << (bits + 15))
    saturated = 0
    for i in range(x.size):
        y = x[i] * scale
        clamped = min(max(y, -offset), offset - 65536.0)
        saturated += clamped != y
        word = np.float64(clamped + (_MAGIC + offset)).view(np.int64)
        w[i] = np.uint32(word - _MAGIC_BITS)
    return saturated


@njit(inline="always")
def round_sub_units(
    mode: int, w: U32, r: NDArray[np.uint16], v: F64, zero: np.int32, bias: np.int32,
    codes: NDArray[np.integer], count: int,
) -> None:  # fmt: skip
    """Round w / 2^16 by the random bits r; a number of the format stays in every mode."""
    for i in range(count):
        if mode == SR:  # -floor((r - w) / 2^16) = floor(w / 2^16) + (r < frac), modulo 2^16
            borrowed = np.int32(np.int32(r[i]) - np.int32(w[i]))
            codes[i] = np.int32(np.int32(-zero) - np.int32(borrowed >> np.int32(16)))
        else:
            # Masks, -1 where true, take a third less time here than comparisons.
            p = np.int32(np.int32(w[i]) - np.int32(zero << np.int32(16)))
            frac = np.int32(p & np.int32(0xFFFF))
            if mode == SR_EPS:
                negative = np.int32(p >> np.int32(31))
                t = np.int32(frac + np.int32(np.int32(bias ^ negative) - negative))
            else:
                sign = np.int32(np.int32(v[i] > 0.0) - np.int32(v[i] < 0.0))
                t = np.int32(frac - np.int32(bias * sign))
            t = np.int32(t & np.int32(np.int32(-frac) >> np.int32(31)))  # 0 on the grid
            up = np.int32(np.int32(np.int32(r[i]) - t) >> np.int32(31))  # r < t clips t
            codes[i] = np.int32(np.int32(p >> np.int32(16)) - up)


PART = HALVES // 8  # values whose words 32 blocks make
PIPELINED = 64 * HALVES  # values from which on the next tile's words are made ahead


def _make_encode_narrow(mode: int) -> Callable[..., int]:
    @kernel
    def encode_narrow(
        x: F64, fraction_bits: int, bits: int, bias: int, v: F64, key: U32, first: int,
        words: U32, random: NDArray[np.uint16], w: U32, out: NDArray[np.integer],
    ) -> int:  # fmt: skip
        """Round x to at most 16 bits with 16 random bits a value; return the saturations.

        Return -1 - i for the first x[i] that is not finite; `out` is arbitrary then.
        Work space: words : uint32[2 TILE], the same bytes as random : uint16[2 HALVES],
        w : uint32[HALVES].
        """
        scale = np.float64(np.int64(1) << (fraction_bits + 16))
        zero = np.int32(np.int64(1) << (bits - 1))
        up_bias = np.int32(bias)
        saturated = 0
        at = 0
        while at < x.size:
            tile = (first + at) // HALVES
            begin = first + at - tile * HALVES
            if begin == 0 and x.size - at >= PIPELINED:
                # Whole tiles of a long vector. The random words of the next tile are made in parts
                # between the parts of this one, and x is fetched half a tile ahead, so that arithmetic
                # and memory overlap. A core waits for about 16 lines at a time: more at once stall it,
                # so each of three stages asks for a third (docs: fixed-point, speed).
                fill_tile(key, tile, words)
                for number in range((x.size - at) // HALVES):
                    now = (number & 1) * TILE
                    new = words[TILE - now : 2 * TILE - now]
                    r = random[2 * now : 2 * now + HALVES]
                    xs = x[at : at + HALVES]
                    vs = v[at : at + HALVES]
                    codes = out[at : at + HALVES]
                    ahead = min(at + HALVES // 2, x.size - HALVES)
                    later = x[ahead : ahead + HALVES]
                    inside = True
                    for part in range(8):
                        low, high = part * PART, part * PART + PART
                        prefetch_lines(later, low, 0, 12)
                        fill_blocks(key, tile + number + 1, 32 * part, 32, new)
                        prefetch_lines(later, low, 12, 22)
                        inside &= to_sub_units_inline(xs[low:high], scale, bits, w, PART)
                        prefetch_lines(later, low, 22, 32)
                        round_sub_units(
                            mode, w, r[low:high], vs[low:high], zero, up_bias, codes[low:high], PART
                        )
                    if not inside:  # do this tile again, clamped
                        bad = first_nonfinite(xs)
                        if bad >= 0:
                            return -1 - (at + bad)
                        saturated += clamp_to_sub_units(xs, scale, bits, w)
                        round_sub_units(mode, w, r, vs, zero, up_bias, codes, HALVES)
                    at += HALVES
                continue
            count = min(HALVES - begin, x.size - at)
            fill_tile(key, tile, words)
            xs = x[at : at + count]
            if not to_sub_units(xs, scale, bits, w):
                bad = first_nonfinite(xs)
                if bad >= 0:
                    return -1 - (at + bad)
                saturated += clamp_to_sub_units(xs, scale, bits, w)
            round_sub_units(
                mode, w, random[begin : begin + count], v[at : at + count], zero, up_bias,
                out[at : at + count], count,
            )  # fmt: skip
            at += count
        return saturated

    return encode_narrow  # type: ignore[no-any-return]


def _make_encode_wide(mode: int) -> Callable[..., int]:
    @kernel
    def encode_wide(
        x: F64, fraction_bits: int, bits: int, bias: int, v: F64, key: U32, first: int,
        words: U32, random: NDArray[np.uint16], w: U32, out: NDArray[np.integer],
    ) -> int:  # fmt: skip
        """Do as `encode_narrow` for up to 32 bits, with 32 random bits a value."""
        scale = np.float64(np.int64(1) << fraction_bits) * 2.0**32
        limit = np.float64(np.int64(1) << (bits - 1)) * 2.0**32
        mask = np.int64(0xFFFFFFFF)
        saturated = 0
        at = 0
        while at < x.size:
            tile = (first + at) // TILE
            begin = first + at - tile * TILE
            count = min(TILE - begin, x.size - at)
            fill_tile(key, tile, words)
            before = saturated
            for i in range(count):
                y = x[at + i] * scale
                clamped = min(max(y, -limit), limit - 2.0**32)
                saturated += clamped != y
                p = np.int64(np.rint(clamped))
                floor = p >> np.int64(32)
                frac = p & mask
                t = frac
                if mode == SR_EPS:
                    t = frac + (np.int64(bias) if p >= 0 else -np.int64(bias))
                elif mode == SIGNED:
                    t = frac - np.int64(bias) * (
                        np.int64(v[at + i] > 0.0) - np.int64(v[at + i] < 0.0)
                    )
                up = (np.int64(words[begin + i]) < t) & (frac != 0)
                out[at + i] = floor + np.int64(up)
            if saturated > before:  # nan is never equal, and infinity is out of range
                bad = first_nonfinite(x[at : at + count])
                if bad >= 0:
                    return -1 - (at + bad)
            at += count
        return saturated

    return encode_wide  # type: ignore[no-any-return]


def _make_encode_exact(mode: int) -> Callable[..., int]:
    @kernel
    def encode_exact(
        x: F64, fraction_bits: int, bits: int, bias: int, v: F64, key: U32, first: int,
        words: U32, random: NDArray[np.uint16], w: U32, out: NDArray[np.integer],
    ) -> int:  # fmt: skip
        """Round x to codes without random bits (RN, RD, RU, RZ), exactly; return the saturations.

        The arguments and the status are those of `encode_narrow`.
        """
        scale = np.float64(np.int64(1) << fraction_bits)
        limit = np.float64(np.int64(1) << (bits - 1))
        saturated = 0
        for at in range(0, x.size, HALVES):
            count = min(HALVES, x.size - at)
            xs = x[at : at + count]
            changed = np.int64(0)
            for i in range(count):
                y = xs[i] * scale
                # Not max(y, -limit): nan must become -limit, which counts as a change.
                clamped = y if y >= -limit else -limit  # noqa: FURB136
                clamped = min(clamped, limit - 1.0)
                changed |= np.float64(clamped).view(np.int64) ^ np.float64(y).view(np.int64)
                if mode == RD:
                    clamped = np.floor(clamped)
                elif mode == RU:
                    clamped = np.ceil(clamped)
                elif mode == RZ:
                    clamped = np.trunc(clamped)
                w[i] = np.uint32(np.float64(clamped + _MAGIC).view(np.int64))  # RN rounds here
            if changed != 0:
                bad = first_nonfinite(xs)
                if bad >= 0:
                    return -1 - (at + bad)
                saturated += count_outside(xs, scale, limit)
            codes = out[at : at + count]
            for i in range(count):
                codes[i] = np.int32(w[i])
        return saturated

    return encode_exact  # type: ignore[no-any-return]


@kernel
def decode(codes: NDArray[np.integer], unit: float, out: F64) -> None:
    """out = unit codes, exactly."""
    for i in range(codes.size):
        out[i] = np.float64(codes[i]) * unit


# Integers with more fraction bits than the format keeps: products, and sums of products.


@kernel
def multiply_into(
    a: NDArray[np.integer], b: NDArray[np.integer], at: int, count: int, p: I64
) -> None:
    """p[:count] = a[at : at + count] times the same part of b, or times its only entry."""
    part = a[at : at + count]
    if b.size == 1:
        factor = np.int64(b[0])
        for i in range(count):
            p[i] = np.int64(part[i]) * factor
    else:
        other = b[at : at + count]
        for i in range(count):
            p[i] = np.int64(part[i]) * np.int64(other[i])


def _make_round_integers(mode: int) -> Callable[..., int]:
    @kernel
    def round_integers(
        a: NDArray[np.integer], b: NDArray[np.integer], drop: int, bits: int, bias: int,
        v: NDArray[np.integer], key: U32, first: int, words: U32,
        random: NDArray[np.unsignedinteger], width: int, p: I64, out: NDArray[np.integer],
    ) -> int:  # fmt: skip
        """Round a_i b_i 2^-drop to codes of `bits` bits, once; return the saturations.

        b has one entry, for all i, or as many as a. |a_i b_i| < 2^63; 0 <= drop <= 62. `random` is
        `words` or its halves, `width` = 32 or 16 bits each. With drop <= width the probabilities are
        exact; with more, the fraction loses its bits beyond `width`, an error below 2^-width.
        Work space: p : int64[HALVES].
        """
        lowest = -(np.int64(1) << np.int64(bits - 1))
        highest = -lowest - 1
        largest = highest << np.int64(drop) if drop + bits <= 63 else np.int64(2**63 - 1)
        smallest = lowest << np.int64(drop) if drop + bits <= 63 else np.int64(-(2**63))
        half = (np.int64(1) << np.int64(drop)) >> np.int64(1)
        lift = np.int64(max(width - drop, 0))
        cut = np.int64(max(drop - width, 0))
        saturated = 0
        at = 0
        while at < a.size:
            tile = (first + at) // random.size
            begin = first + at - tile * random.size
            count = min(random.size - begin, a.size - at)
            if mode >= SR:
                fill_tile(key, tile, words)
            multiply_into(a, b, at, count, p)
            r = random[begin : begin + count]
            vs = v[at : at + count]
            codes = out[at : at + count]
            for i in range(count):
                product = p[i]
                saturated += int((product > largest) | (product < smallest))
                floor = product >> np.int64(drop)
                frac = product - (floor << np.int64(drop))
                if mode == RN:
                    up = (frac > half) | ((frac == half) & ((floor & 1) == 1))
                elif mode == RD:
                    up = False
                elif mode == RU:
                    up = True
                elif mode == RZ:
                    up = product < 0
                else:
                    t = (frac << lift) >> cut
                    if mode == SR_EPS:
                        t = t + (np.int64(bias) if product >= 0 else -np.int64(bias))
                    elif mode == SIGNED:
                        t = t - np.int64(bias) * (np.int64(vs[i] > 0) - np.int64(vs[i] < 0))
                    up = np.int64(r[i]) < t
                q = floor + np.int64(up & (frac != 0))
                codes[i] = np.int32(min(max(q, lowest), highest))
            at += count
        return saturated

    return round_integers  # type: ignore[no-any-return]


ROUND_INTEGERS = [_make_round_integers(mode) for mode in range(7)]
ENCODE_NARROW = [_make_encode_exact(m) if m < SR else _make_encode_narrow(m) for m in range(7)]
ENCODE_WIDE = [_make_encode_exact(m) if m < SR else _make_encode_wide(m) for m in range(7)]
