"""Scales that follow the codes already exchanged, so that none travels after the first.

Both ends hold a scale as a whole number and advance it from the codes alone; 2^(a fraction) comes from
tables that are made with whole numbers, never from pow(), so it has the same bits on every machine.

A block is a part of the vector with its own scale (a layer of a network; else one block for all).
Its first scale travels in one byte, before the codes: 128 + round(log2 max |x_i|) of the block, from 1 to
255, or 0 while the block has been all zero; then the next message has the byte again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isqrt

import numpy as np

from distopt.compressors.base import Adaptive, CodecState, Compressor, Guarantee
from distopt.compressors.coders.wire import TOO_SHORT
from distopt.core.arrays import F64, I64, U8, Codes
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel

OCTAVE = 1 << 16  # levels that double a scale
LARGEST = 1000 * OCTAVE  # of |level|
_FEW = 4096
UNSET = -(1 << 62)  # level of a block that was nothing but zeros so far


def powers(octave: int, count: int) -> F64:
    """Return 2^(i / octave), i = 0 .. count - 1, rounded correctly; octave is a power of two.

    >>> powers(2, 3).tolist()
    [1.0, 1.4142135623730951, 2.0]
    """
    one = 1 << 256  # fixed-point numbers of 256 fraction bits
    root = 2 * one
    while octave > 1:
        root, octave = isqrt(root * one), octave // 2
    found, power = [], one
    for _ in range(count):
        found.append(power / one)  # of whole numbers: correctly rounded
        power = power * root // one
    return np.array(found)


COARSE = powers(256, 256)
FINE = powers(OCTAVE, 256)


def new_levels(d: int, sizes: Sequence[int] | None) -> CodecState:
    """Make the boundaries of the blocks, int64[blocks + 1], and their levels, int64[blocks]."""
    bounds = np.cumsum([0, *(sizes or [d])], dtype=np.int64)
    return {"bounds": bounds, "level": np.full(bounds.size - 1, UNSET, np.int64)}


class PerBlock(Compressor):
    """A compressor with a scale for each block of the vector; without `sizes` there is one."""

    sizes: tuple[int, ...] | None
    per_block: bool

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return (Adaptive(),)

    def fitted(self, blocks: Callable[[], Sequence[int] | None]) -> Compressor:
        if self.sizes is not None or not self.per_block or (found := blocks()) is None:
            return self
        sizes = tuple(int(n) for n in np.diff(found))
        return replace(self, sizes=sizes)  # type: ignore[type-var]

    def check(self, d: int) -> None:
        if self.sizes is not None and sum(self.sizes) != d:
            raise ConfigError(
                f"compressor.sizes add up to {sum(self.sizes)}, but the dimension is {d}."
            )


@kernel
def power_of_two(level: int) -> float:
    """Return 2^(level / 65536), |level| <= LARGEST, to a relative 2^-52."""
    fraction = level & 0xFFFF
    whole = np.uint64(((level >> 16) + 1023) << 52).view(np.float64)
    return COARSE[fraction >> 8] * FINE[fraction & 0xFF] * whole  # type: ignore[no-any-return]


@kernel
def first_byte(largest: float) -> int:
    """Return 128 + round(log2 largest), from 1 to 255, or 0 for 0."""
    if largest == 0.0:
        return 0
    bits = np.float64(largest).view(np.int64)
    exponent = int(bits >> 52) - 1023
    mantissa = np.int64((bits & 0xFFFFFFFFFFFFF) | (1023 << 52)).view(np.float64)
    if mantissa > COARSE[128]:
        exponent += 1
    return 128 + min(max(exponent, -127), 127)


@kernel
def write_first_scales(x: F64, bounds: I64, levels: I64, out: U8) -> int:
    """Set the level of every block that has none and is not zero; return the bytes written."""
    at = 0
    for b in range(levels.size):
        if levels[b] == UNSET:
            largest = 0.0
            for i in range(bounds[b], bounds[b + 1]):
                largest = max(largest, abs(x[i]))
            byte = first_byte(largest)
            out[at] = byte
            at += 1
            if byte > 0:
                levels[b] = (byte - 128) * OCTAVE
    return at


@kernel
def read_first_scales(payload: U8, levels: I64) -> int:
    """Set the levels that come with a message; return the bytes read or a status."""
    at = 0
    for b in range(levels.size):
        if levels[b] == UNSET:
            if at >= payload.size:
                return TOO_SHORT
            if payload[at] > 0:
                levels[b] = (np.int64(payload[at]) - 128) * OCTAVE
            at += 1
    return at


@kernel
def quantise(x: F64, bounds: I64, levels: I64, rounding: float, highest: int, codes: Codes) -> None:
    """codes_i = sign(x_i) min(floor(|x_i| / step + rounding), highest), step = 2^(level / 65536)."""
    for b in range(levels.size):
        part, into = x[bounds[b] : bounds[b + 1]], codes[bounds[b] : bounds[b + 1]]
        if levels[b] == UNSET:
            into[:] = 0
            continue
        step = power_of_two(levels[b])
        top = np.float64(highest) + 0.5
        for i in range(part.size):
            size = np.int32(min(abs(part[i]) / step + rounding, top))  # int64 would not vectorise
            into[i] = size if part[i] >= 0.0 else -size


@kernel
def add_codes(
    codes: Codes, bounds: I64, levels: I64, offset: float, weight: float, acc: F64
) -> None:
    """acc_i += weight sign(q_i) (|q_i| + offset) step for the codes q_i != 0."""
    for b in range(levels.size):
        part, into = codes[bounds[b] : bounds[b + 1]], acc[bounds[b] : bounds[b + 1]]
        if levels[b] == UNSET:
            continue
        step = power_of_two(levels[b])
        for i in range(part.size):
            q = np.float64(np.int32(part[i]))
            more = np.copysign(offset, q) if q != 0.0 else 0.0
            into[i] += weight * ((q + more) * step)


@kernel
def zoom(
    codes: Codes, bounds: I64, levels: I64, activity: int, cap: int, gain: int, tall: int
) -> None:
    """level += gain (mean_i min(|q_i|, cap) - activity), all three in units of 2^-16.

    The mean and the product are rounded down. Where a |q_i| >= tall, it grows by an octave at least: a few
    coordinates that still move among many at rest would be left behind.
    """
    for b in range(levels.size):
        if levels[b] == UNSET:
            continue
        part, total, largest = codes[bounds[b] : bounds[b + 1]], 0, np.int32(0)
        for first in range(0, part.size, _FEW):
            few, here = part[first : first + _FEW], np.int32(0)  # int32 vectorises
            for i in range(few.size):
                size = abs(np.int32(few[i]))
                largest = max(largest, size)
                here = np.int32(here + min(size, np.int32(cap)))
            total += int(here)
        move = (((total << 16) // part.size - activity) * gain) >> 16
        if largest >= tall:
            move = max(move, OCTAVE)
        levels[b] = min(max(levels[b] + move, -LARGEST), LARGEST)
