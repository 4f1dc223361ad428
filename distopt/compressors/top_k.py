"""Top-k: the k coordinates of largest magnitude."""

import numpy as np

from distopt.compressors.base import F64, I64, U8, U32, scratch
from distopt.compressors.indices import indices_nbytes, read_indices, write_indices
from distopt.compressors.sparse import Sparsifier
from distopt.compressors.wire import accepted
from distopt.parameters import parameters
from distopt.randomness import kernel

_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)


@parameters("compressor")
class TopK(Sparsifier):
    """C(x)_i = x_i for the k largest |x_i|, of equals those of lowest index; else 0.

    Class: relative, r = 1, psi = k / d; with `values` of constants (r', psi') at size k, r = r' and
    psi = psi' k / d, derived (docs: compressors/top_k).
    Wire: the indices (docs: compressors, indices), then the kept values in the order of their indices
    as `values` encodes them.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(TopK(k=1), [0.5, -2.0, 1.0, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('01 00 00 00 00 00 00 00 c0', [0.0, -2.0, 0.0, 0.0])
    """

    def max_indices_nbytes(self, d: int) -> int:
        return indices_nbytes(d, self.count(d))

    def choose(self, x: F64, out: U8, key: U32, chosen: I64, kept: F64) -> int:
        digit = 16 if x.size > 1 << 14 else 8
        histogram = scratch("histogram", 1 << digit, np.int64)
        candidates = scratch("candidates", x.size, np.int64)
        return choose_top(x, digit, histogram, candidates, chosen, kept, out)

    def recall(self, payload: U8, d: int, key: U32, chosen: I64) -> int:
        return accepted(read_indices(payload, self.count(d), d, chosen), payload, d)


@kernel
def choose_top(
    x: F64, digit: int, histogram: I64, candidates: I64, chosen: I64, kept: F64, out: U8
) -> int:
    """Choose the k = kept.size largest magnitudes, write their indices; return the bytes used."""
    bits = x.view(np.int64)
    k, d = kept.size, x.size
    threshold, ties = find_threshold(bits, k, digit, histogram, candidates)
    n = 0
    for i in range(d):
        magnitude = bits[i] & _MAGNITUDE
        tie = np.int64(magnitude == threshold) & np.int64(ties > 0)
        ties -= tie
        chosen[n] = i  # written always, counted if kept: a branch would be mispredicted k times
        n += np.int64(magnitude > threshold) | tie
    for j in range(k):
        kept[j] = x[chosen[j]]
    return write_indices(chosen, k, d, out)


@kernel
def find_threshold(
    bits: I64, k: int, digit: int, histogram: I64, candidates: I64
) -> tuple[np.int64, int]:
    """Return T and a count: the k largest are those > T and so many of those equal to T.

    The bits of magnitudes are ordered as the magnitudes. A histogram of their highest `digit` bits
    tells which bin holds the k-th largest; those of that bin are looked at further, digit by digit.
    """
    count = bits.size
    wanted = k
    shift = np.int64(63 - digit)
    first = True
    while True:
        histogram[: 1 << digit] = 0
        if first:
            for i in range(count):
                histogram[(bits[i] & _MAGNITUDE) >> shift] += 1
        else:
            mask = np.int64((1 << digit) - 1)
            for i in range(count):
                histogram[(candidates[i] >> shift) & mask] += 1
        bin_ = np.int64((1 << digit) - 1)
        while histogram[bin_] < wanted:
            wanted -= histogram[bin_]
            bin_ -= 1
        n = 0
        if first:
            for i in range(count):
                if (bits[i] & _MAGNITUDE) >> shift == bin_:
                    candidates[n] = bits[i] & _MAGNITUDE
                    n += 1
        else:
            for i in range(count):
                if (candidates[i] >> shift) & mask == bin_:
                    candidates[n] = candidates[i]
                    n += 1
        first = False
        count = n
        if shift == 0 or count == 1:
            return candidates[0], wanted
        shift = max(shift - digit, np.int64(0))
