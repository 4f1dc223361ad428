"""Identity: the vector itself, 64 bits a coordinate."""

import numpy as np

from distopt.compressors.base import Absolute, CodecState, Compressor, Guarantee, Local, Relative
from distopt.compressors.coders.wire import accepted, add_f64
from distopt.core.arrays import F64, U8, U32
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace


@parameters("compressor")
class Identity(Compressor):
    """C(x) = x.

    Class: relative with r = 1, psi = 1 (no error), so it belongs to the other classes too.
    Wire: d little-endian float64.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Identity(), [1.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 00 00 00 f0 3f', [1.0])
    """

    candidates = ({},)

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return Relative(r=1.0, psi=1.0), Absolute(p=np.inf, C=0.0), Local(p=np.inf, phi=1.0)

    def max_nbytes(self, d: int) -> int:
        return 8 * d

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        nbytes = 8 * x.size
        out[:nbytes] = x.view(np.uint8)
        return nbytes

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        return accepted(add_f64(payload, weight, acc), payload, acc.size)
