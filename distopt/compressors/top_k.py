"""Top-k: the k coordinates of largest magnitude."""

import numpy as np

from distopt.compressors.base import as_float64
from distopt.compressors.coders.indices import indices_nbytes, read_indices, write_indices
from distopt.compressors.coders.wire import accepted
from distopt.compressors.sparse import Sparsifier
from distopt.core.arrays import F64, I64, U8, U32
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace

_BINS = 1 << 12  # of the histogram; 32 KiB stay in the first-level cache
_SAMPLE = 1 << 12
_BLOCK = 16
_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)


@parameters("compressor")
class TopK(Sparsifier):
    """C(x)_i = x_i for the k largest |x_i| (of equal ones those of lowest index), else 0.

    Class: relative, r = 1, psi = k / d; with `values` of constants (r', psi') at size k, r = r' and
    psi = psi' k / d, derived (docs: compressors/top_k).
    Wire: the indices (docs: compressors, indices), then the kept values in the order of their indices
    as `values` encodes them.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(TopK(k=1), [0.5, -2.0, 1.0, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('01 00 00 00 00 00 00 00 c0', [0.0, -2.0, 0.0, 0.0])
    """

    candidates = ({"fraction": 0.1},)

    def max_indices_nbytes(self, d: int) -> int:
        return indices_nbytes(d, self.count(d))

    def choose(self, x: F64, out: U8, key: U32, chosen: I64, kept: F64, work: Workspace) -> int:
        places = work.array("places", x.size + _BLOCK, np.int64)
        magnitudes = work.array("magnitudes", max(x.size, _SAMPLE), np.int64)
        histogram = work.array("histogram", _BINS, np.int64)
        return choose_top(as_float64(x, work), places, magnitudes, histogram, chosen, kept, out)

    def recall(self, payload: U8, d: int, key: U32, chosen: I64, work: Workspace) -> int:
        return accepted(read_indices(payload, self.count(d), d, chosen), payload, d)


@kernel
def choose_top(
    x: F64, places: I64, magnitudes: I64, histogram: I64, chosen: I64, kept: F64, out: U8
) -> int:
    """Choose the k = kept.size largest magnitudes, write their indices; return the bytes used.

    A sample gives a bound that a little more than k magnitudes reach, almost surely, and only those are
    sorted further. If fewer reach it, all are: the choice never depends on the sample.
    Work space: places : int64[d + _BLOCK], magnitudes : int64[max(d, _SAMPLE)],
    histogram : int64[_BINS], chosen : int64[k + 1].
    """
    bits = x.view(np.int64)
    k, d = kept.size, x.size
    count = 0
    bound = sampled_bound(bits, k, magnitudes, histogram)
    if bound > 0:
        count = gather_places(bits, bound, places)
    if count < k:
        count = gather_places(bits, np.int64(0), places)
    for j in range(count):
        magnitudes[j] = bits[places[j]] & _MAGNITUDE
    threshold, ties = find_threshold(magnitudes, count, k, histogram)
    n = 0
    for j in range(count):
        magnitude = bits[places[j]] & _MAGNITUDE
        tie = int(magnitude == threshold) & int(ties > 0)
        ties -= tie
        chosen[n] = places[j]  # written always and counted if kept: a branch would be mispredicted
        n += int(magnitude > threshold) | tie
    for j in range(k):
        kept[j] = x[chosen[j]]
    return write_indices(chosen, k, d, out)


@kernel
def sampled_bound(bits: I64, k: int, magnitudes: I64, histogram: I64) -> np.int64:
    """Return a magnitude that at least k of the d reach with a probability near 1; 0 always does."""
    d = bits.size
    if d < 4 * _SAMPLE:
        return np.int64(0)
    expected = _SAMPLE * k / d  # of the sample lie among the k largest, +- its square root
    rank = int(expected + 4 * np.sqrt(expected) + 4)
    if 2 * rank > _SAMPLE:
        return np.int64(0)
    for j in range(_SAMPLE):
        # Multiples of the golden ratio, modulo 1, spread evenly over any layout of layers.
        part = np.uint64(j) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
        magnitudes[j] = bits[np.int64(part * np.uint64(d) >> np.uint64(24))] & _MAGNITUDE
    bound, _ = find_threshold(magnitudes, _SAMPLE, rank, histogram)
    return bound


@kernel
def gather_places(bits: I64, bound: np.int64, places: I64) -> int:
    """places[:n] = all i with magnitude_i >= bound, ascending; return n."""
    n = 0
    d = bits.size
    whole = d // _BLOCK * _BLOCK
    for start in range(0, whole, _BLOCK):
        # Most blocks have none when k << d; this test is one comparison of vectors.
        reached = np.int64(0)
        for i in range(start, start + _BLOCK):
            reached |= np.int64((bits[i] & _MAGNITUDE) >= bound)
        if reached:
            for i in range(start, start + _BLOCK):
                places[n] = i
                n += int((bits[i] & _MAGNITUDE) >= bound)
    for i in range(whole, d):
        places[n] = i
        n += int((bits[i] & _MAGNITUDE) >= bound)
    return n


@kernel
def find_threshold(
    magnitudes: I64, count: int, wanted: int, histogram: I64
) -> tuple[np.int64, int]:
    """Return T and a number: the wanted largest are those > T and that many of those equal to T.

    magnitudes[:count] are bits of floats >= 0, ordered as the floats, and are overwritten. A histogram
    between `low` and `high` shows which bin holds T, and only that bin is searched further.
    """
    low, high = _MAGNITUDE, np.int64(0)
    for i in range(count):
        low, high = min(low, magnitudes[i]), max(high, magnitudes[i])
    while low < high:
        # At most 32 binades below the largest have separate bins; everything below shares bin 0.
        low = max(low, high - (np.int64(32) << np.int64(52)))
        bins = 256 if count < 4096 else _BINS
        shift = np.int64(0)
        while (high - low) >> shift >= bins:
            shift += np.int64(1)
        histogram[:bins] = 0
        for i in range(count):
            histogram[max(magnitudes[i] - low, np.int64(0)) >> shift] += 1
        number = (high - low) >> shift
        while histogram[number] < wanted:
            wanted -= histogram[number]
            number -= 1
        n = 0
        least, most = _MAGNITUDE, np.int64(0)
        for i in range(count):
            magnitude = magnitudes[i]
            magnitudes[n] = magnitude
            if max(magnitude - low, np.int64(0)) >> shift == number:
                least, most = min(least, magnitude), max(most, magnitude)
                n += 1
        count, low, high = n, least, most
    return low, wanted
