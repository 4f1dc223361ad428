"""Norm-sign: half the maximum norm times the signs, one bit a coordinate."""

import numpy as np

from distopt.compressors.base import CodecState, Compressor, Guarantee, Local, Relative
from distopt.compressors.coders.bits import FLAGS, add_signs, pack_signs, padding_is_zero
from distopt.compressors.coders.wire import PADDING, TOO_SHORT, accepted
from distopt.compressors.scales import (
    MAX_NBYTES,
    SLACK,
    ScaleType,
    is_escaped,
    load_scale,
    round_scale,
    store_scale,
)
from distopt.core.arrays import F64, U8, U32
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace


@parameters("compressor")
class NormSign(Compressor):
    """C(x) = s sign(x) with s = ||x||_inf / 2 (rounded up to a float32) and sign(0) = +1.

    Class: relative with r = d/2, psi = 1/d, derived; at r = 1 it is not a contraction for d >= 4.
    Local with phi = 1/2 in the maximum norm, derived (docs: compressors/norm_sign).
    Wire: the scale s (docs: compressors, scales), then d bits, 1 = negative; coordinate i is bit
    i % 8 of byte i // 8, padding bits are zero.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(NormSign(), [3.0, -1.0, 0.0, -4.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 40 0a', [2.0, -2.0, 2.0, -2.0])
    """

    candidates = ({},)

    scale: ScaleType = "float32"  # how the scale travels

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        psi = (1 - SLACK[self.scale] ** 2) / d
        return Relative(r=d / 2, psi=psi), Local(p=np.inf, phi=0.5)

    def max_nbytes(self, d: int) -> int:
        return MAX_NBYTES + (d + 7) // 8

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        flags = work.array("flags", FLAGS, np.uint8)
        return encode_signs(x, self.scale == "float64", flags, out)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        status = decode_signs(payload, weight, self.scale == "float64", acc)
        return accepted(status, payload, acc.size)


@kernel
def encode_signs(x: F64, wide: bool, flags: U8, out: U8) -> int:
    """Write the scale and the signs of x; flags : uint8[FLAGS] is work space."""
    # One pass finds the norm and writes the signs behind where the scale usually ends.
    at = 8 if wide else 4
    nbytes = (x.size + 7) // 8
    scale = round_scale(pack_signs(x, flags, out, at) / 2, wide)
    if not wide and is_escaped(scale):
        for byte in range(nbytes - 1, -1, -1):
            out[MAX_NBYTES + byte] = out[at + byte]
    return store_scale(out, 0, scale, wide) + nbytes


@kernel
def decode_signs(payload: U8, weight: float, wide: bool, acc: F64) -> int:
    """Add weight s sign(x) to acc; return the bytes consumed or a negative status."""
    scale, at = load_scale(payload, 0, wide)
    if at < 0:
        return at
    nbytes = at + (acc.size + 7) // 8
    if nbytes > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, at, acc.size):
        return PADDING
    add_signs(payload, at, scale, weight, acc)
    return nbytes
