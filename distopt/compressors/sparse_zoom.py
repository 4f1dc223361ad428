"""Sparse zoom: the few largest coordinates, above a threshold that follows how many there were."""

from typing import Annotated

import numpy as np

from distopt.compressors.base import CodecState, Guarantee, Relative, as_float64
from distopt.compressors.coders.gaps import (
    COUNTS,
    FURTHEST,
    HIGHEST,
    NONE,
    max_gaps_nbytes,
    read_gaps,
    write_gaps,
    write_gaps_plainly,
)
from distopt.compressors.coders.wire import INVALID_CODE, TOO_SHORT, accepted
from distopt.compressors.scales import max_abs
from distopt.compressors.top_k import gather_places
from distopt.compressors.zooming import LARGEST, OCTAVE, UNSET, PerBlock, new_levels, power_of_two
from distopt.core.arrays import F64, I64, U8, U16, U32, Codes
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.workspace import Workspace

MOST = 4  # times as many as wanted are sent of a block at most
RATE = OCTAVE // 8  # of the threshold, where none or twice as many as wanted were sent
FRESH = OCTAVE // 8  # of a fresh threshold
CENTRE = 4 / 3  # of [1, 2), with a relative error of at most 1/3
PADDING = 16  # more places than coordinates, for `gather_places`
_BINS = 1 << 14  # exponent and three digits of a float64


@parameters("compressor")
class SparseZoom(PerBlock):
    """C(x)_i = sign(x_i) (4/3) 2^n T where 2^n T <= |x_i| < 2^(n+1) T, n = 0, 1, ...; 0 where |x_i| < T;
    then, at both ends, log2 T += (sent / k - 1) / 8, k = ceil(density d).

    The vector has one threshold T, or each of its blocks has one (`per_block`). Where T is of no use, the
    sender gives a fresh one with the message: at the start, for nothing above T, for more than 4 k
    coordinates, and for 2^16 T. The places travel as gaps, coded by a model of those before.

    Class: relative, r = 1, psi = 0.66 / d, derived (docs: compressors/sparse_zoom); where T has settled it
    errs like top_k.
    Wire: docs: compressors/sparse_zoom.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(SparseZoom(density=0.25), [0.5, -2.0, 1.0, 0.0])
    >>> payload.hex(" "), decoded.round(3).tolist()
    ('c0 00 aa aa', [0.0, -1.454, 0.0, 0.0])
    """  # noqa: D205

    density: Annotated[float, Field(gt=0, le=1)] = 1 / 64  # of coordinates to send
    per_block: bool = False  # a threshold for each of the cost's `blocks`
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None  # of the blocks; the cost's

    candidates = ({"density": 1 / 64},)

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return (Relative(r=1.0, psi=0.66 / d),)

    def most(self, d: int) -> int:
        """Return how many coordinates a message has at most."""
        return sum(min(n, MOST * wanted(self.density, n)) for n in self.sizes or (d,))

    def max_nbytes(self, d: int) -> int:
        return max_gaps_nbytes(d, self.most(d), len(self.sizes or (d,)))

    def new_state(self, d: int) -> CodecState:
        gaps, flags = COUNTS
        return new_levels(d, self.sizes) | {
            "gaps": np.ones(gaps, np.uint16),
            "flags": np.ones(flags, np.uint16),
        }

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        x, d = as_float64(x, work), x.size
        bounds, level = state["bounds"], state["level"]
        found = work.array("found", d + PADDING, np.int64)
        places, codes, fresh, gaps, flags = self.temporaries(d, state, work)
        histogram = work.array("bins", _BINS, np.int64)
        count = choose(x, bounds, level, self.density, found, histogram, fresh, places, codes)
        out = out[: self.max_nbytes(d)]
        nbytes = write_gaps(fresh, places, codes, count, d, gaps, flags, out)
        if nbytes == TOO_SHORT:
            nbytes = write_gaps_plainly(fresh, places, codes, count, d, d.bit_length(), out)
        else:
            state["gaps"][:], state["flags"][:] = gaps, flags
        follow(places, count, bounds, level, self.density)
        return nbytes

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        d, bounds, level = acc.size, state["bounds"], state["level"]
        places, codes, fresh, gaps, flags = self.temporaries(d, state, work)
        nbytes, count = read_gaps(
            payload, d, d.bit_length(), self.most(d), gaps, flags, fresh, places, codes
        )
        accepted(nbytes, payload, d)
        accepted(check_places(places, count, bounds, level, fresh), payload, d)
        state["gaps"][:], state["flags"][:] = gaps, flags
        add_places(places, codes, count, bounds, level, fresh, weight, acc)
        follow(places, count, bounds, level, self.density)
        return nbytes

    def temporaries(
        self, d: int, state: CodecState, work: Workspace
    ) -> tuple[I64, Codes, I64, U16, U16]:
        """Return room for places, codes and fresh thresholds, and copies of the counts."""
        most = self.most(d)
        gaps = work.array("gaps", state["gaps"].size, np.uint16)
        flags = work.array("flags of octaves", state["flags"].size, np.uint16)
        gaps[:], flags[:] = state["gaps"], state["flags"]
        return (
            work.array("chosen", most, np.int64),
            work.array("octaves", most, np.int8),
            work.array("fresh", state["level"].size, np.int64),
            gaps,
            flags,
        )


@kernel
def wanted(density: float, n: int) -> int:
    """Return k = ceil(density n)."""
    return int(np.ceil(density * n))


@kernel
def choose(
    x: F64, bounds: I64, levels: I64, density: float, found: I64, histogram: I64,
    fresh: I64, places: I64, codes: Codes,
) -> int:  # fmt: skip
    """Choose places and codes of all blocks, set fresh levels where they are needed; return the count."""
    count = 0
    for b in range(levels.size):
        part = x[bounds[b] : bounds[b + 1]]
        k = wanted(density, part.size)
        most = min(part.size, MOST * k)
        above = 0 if levels[b] == UNSET else reach(part, levels[b], found)
        fresh[b] = NONE
        if above == 0 or above > most or is_far(part, levels[b], found, above):
            if above == 0 and max_abs(part) == 0.0:
                continue
            highest, chosen = fresh_level(part, k, histogram)
            above = reach(part, chosen * FRESH, found)
            while above > most and chosen < highest:
                chosen += 1
                above = reach(part, chosen * FRESH, found)
            fresh[b], levels[b] = chosen, chosen * FRESH
        threshold = power_of_two(levels[b])
        for j in range(min(above, most)):
            value = part[found[j]]
            ratio = np.float64(abs(value) / threshold)
            octave = min(int(ratio.view(np.int64) >> 52) - 1023, HIGHEST)
            places[count] = bounds[b] + found[j]
            codes[count] = -(octave + 1) if value < 0.0 else octave + 1
            count += 1
    return count


@kernel
def reach(part: F64, level: int, found: I64) -> int:
    """found[:n] = all i with |x_i| >= 2^(level / 65536), ascending; return n."""
    return gather_places(part.view(np.int64), np.float64(power_of_two(level)).view(np.int64), found)  # type: ignore[no-any-return]


@kernel
def is_far(part: F64, level: int, found: I64, above: int) -> bool:
    """Tell whether one of the coordinates found has no octave."""
    largest = 0.0
    for j in range(above):
        largest = max(largest, abs(part[found[j]]))
    return largest / power_of_two(level) >= 2.0 ** (HIGHEST + 1)


@kernel
def fresh_level(part: F64, k: int, histogram: I64) -> tuple[int, int]:
    """Return the eighth of an octave of the largest magnitude, and the lowest one with at most k above.

    An eighth is the exponent and the first three digits of a float: 2^(eighth / 8) is not above it. The
    second is the first where the largest alone share it with more than k, and at most 15 octaves below.
    """
    bits = part.view(np.int64)
    histogram[:] = 0
    for i in range(bits.size):
        histogram[bits[i] >> np.int64(49) & np.int64(_BINS - 1)] += 1
    highest = _BINS - 1
    while histogram[highest] == 0:
        highest -= 1
    lowest, above = highest, histogram[highest]
    while lowest > 1 and above + histogram[lowest - 1] <= k and highest - lowest < 8 * HIGHEST:
        lowest -= 1
        above += histogram[lowest]
    one = 8 * 1023
    top = min(max(highest - one, -FURTHEST), FURTHEST)
    return top, min(max(lowest - one, -FURTHEST), FURTHEST)


@kernel
def past(places: I64, j: int, count: int, end: int) -> int:
    """Return the first of j, ..., count - 1 whose place is not below `end`, or count."""
    while j < count and places[j] < end:
        j += 1
    return j


@kernel
def check_places(places: I64, count: int, bounds: I64, levels: I64, fresh: I64) -> int:
    """Return 0, or a status where a block without a threshold has places."""
    j = 0
    for b in range(levels.size):
        first, j = j, past(places, j, count, bounds[b + 1])
        if j > first and levels[b] == UNSET and fresh[b] == NONE:
            return INVALID_CODE
    return 0


@kernel
def add_places(
    places: I64, codes: Codes, count: int, bounds: I64, levels: I64, fresh: I64, weight: float,
    acc: F64,
) -> None:  # fmt: skip
    """acc_i += weight sign(x_i) (4/3) 2^octave T at all places; take the fresh thresholds."""
    j = 0
    for b in range(levels.size):
        if fresh[b] != NONE:
            levels[b] = fresh[b] * FRESH
        if levels[b] == UNSET:
            continue
        threshold = power_of_two(levels[b])
        while j < count and places[j] < bounds[b + 1]:
            code = np.int64(codes[j])
            size = CENTRE * np.float64(1 << (abs(code) - 1)) * threshold
            acc[places[j]] += weight * (size if code > 0 else -size)
            j += 1


@kernel
def follow(places: I64, count: int, bounds: I64, levels: I64, density: float) -> None:
    """level += RATE (sent / k - 1) of every block, rounded down."""
    j = 0
    for b in range(levels.size):
        first, j = j, past(places, j, count, bounds[b + 1])
        if levels[b] != UNSET:
            k = wanted(density, bounds[b + 1] - bounds[b])
            level = levels[b] + RATE * (j - first - k) // k
            levels[b] = min(max(level, -LARGEST), LARGEST)
