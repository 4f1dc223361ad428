"""Scaled signs: what averaging with one bit and feedback of errors sends (benchmarks/training.py).

Karimireddy, Rebjock, Stich and Jaggi, "Error feedback fixes SignSGD and other gradient compression
schemes"; Seide, Fu, Droppo, Li and Yu, "1-bit stochastic gradient descent and its application to
data-parallel distributed training of speech DNNs", with a scale for the signs of each kind and column.
"""

import numpy as np

from distopt.compressors.base import Compressor, Relative
from distopt.core.errors import MessageError
from distopt.core.parameters import parameters


@parameters("compressor")
class MeanSign(Compressor):
    """C(x) = s sign(x), s = ||x||_1 / d, with sign(0) = +1.

    Class: relative with r = 1: ||C(x) - x||^2 = ||x||^2 - ||x||_1^2 / d <= (1 - 1/d) ||x||^2; psi is
    smaller for the rounding of s. Wire: s as little-endian float32, then d bits, 1 = negative.
    """

    def guarantees(self, d):
        return (Relative(r=1.0, psi=(1 - 1e-6) / d),)

    def max_nbytes(self, d):
        return 4 + (d + 7) // 8

    def encode(self, x, out, key, state, work):
        nbytes = self.max_nbytes(x.size)
        out[:4] = np.array([np.abs(x).mean()], "<f4").view(np.uint8)
        out[4:nbytes] = np.packbits(x < 0, bitorder="little")
        return nbytes

    def decode_add(self, payload, weight, acc, key, state, work):
        nbytes = self.max_nbytes(acc.size)
        if payload.size < nbytes:
            raise MessageError(f"{payload.size} bytes are too few; {nbytes} are needed")
        scale = float(payload[:4].copy().view("<f4")[0])
        negative = np.unpackbits(payload[4:nbytes], count=acc.size, bitorder="little")
        acc += weight * scale * (1.0 - 2.0 * negative)
        return nbytes
