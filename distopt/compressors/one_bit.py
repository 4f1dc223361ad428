"""One bit: +1/2 or -1/2, one bit a coordinate and no scale."""

import numpy as np

from distopt.compressors.base import CodecState, Compressor, Guarantee, Local
from distopt.compressors.coders.bits import FLAGS, add_signs, pack_signs, padding_is_zero
from distopt.compressors.coders.wire import PADDING, TOO_SHORT, accepted
from distopt.core.arrays import F64, U8, U32
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace


@parameters("compressor")
class OneBit(Compressor):
    """C(x)_i = +1/2 if x_i >= 0, else -1/2.

    Class: local with phi = 1/2 in the maximum norm, derived (docs: compressors/one_bit); nothing
    holds outside the unit ball, and zero is not kept: only algorithms that scale take it.
    Wire: d bits, 1 = negative; coordinate i is bit i % 8 of byte i // 8, padding bits are zero.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(OneBit(), [0.3, -0.9, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('02', [0.5, -0.5, 0.5])
    """

    candidates = ({},)

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return (Local(p=np.inf, phi=0.5),)

    def max_nbytes(self, d: int) -> int:
        return (d + 7) // 8

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        pack_signs(x, work.array("flags", FLAGS, np.uint8), out, 0)
        return (x.size + 7) // 8

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        return accepted(decode_one_bit(payload, weight, acc), payload, acc.size)


@kernel
def decode_one_bit(payload: U8, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    nbytes = (acc.size + 7) // 8
    if nbytes > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, 0, acc.size):
        return PADDING
    add_signs(payload, 0, 0.5, weight, acc)
    return nbytes
