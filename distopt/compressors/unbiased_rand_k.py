"""Unbiased rand-k: d/k times k coordinates drawn at random from a stream that both ends know."""

from distopt.compressors.rand_k import RandK
from distopt.core.parameters import parameters


@parameters("compressor")
class UnbiasedRandK(RandK):
    """C(x)_i = (d / k) x_i for i in S, a uniformly random set of k indices; else 0. E C(x) = x.

    Class: relative, r = d / k, psi = k / d; at r = 1, E ||C(x) - x||^2 = (d / k - 1) ||x||^2, so it is
    not a contraction for k <= d / 2. With `values` of constants (r', psi') at size k, r = r' d / k and
    psi = psi' k / d, derived (docs: compressors/unbiased_rand_k).
    Wire: that of rand_k; the factor is applied at the receiver.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(UnbiasedRandK(k=1), [0.5, -2.0, 1.0, 3.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 00 00 00 00 c0', [0.0, -8.0, 0.0, 0.0])
    """

    def factor(self, d: int) -> float:
        return d / self.count(d)
