"""Saturating quantiser: b bits a coordinate on a fixed grid in [-1, 1], no scale."""

from typing import Annotated

import numpy as np

from distopt.compressors.base import Guarantee, Local
from distopt.compressors.coded import Coded, Entropy
from distopt.compressors.coders.bits import pack, packed_nbytes, padding_is_zero, unpack
from distopt.compressors.coders.wire import PADDING, TOO_SHORT, accepted
from distopt.core.arrays import F64, U8, U16, U32, Codes
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE
from distopt.core.workspace import Workspace


@parameters("compressor")
class Saturating(Coded):
    """C(x)_i = clip(floor(x_i L), -L, L - 1) / L + 1/(2 L), L = 2^(bits - 1) (mid-rise).

    Class: local with phi = 1 - 2^-bits in the maximum norm, derived (docs: compressors/saturating);
    outside the unit ball it saturates at +-(1 - 2^-bits), and zero is not kept: only algorithms that
    scale take it.
    Wire: d codes floor(.) + L of `bits` bits (docs: compressors, packed codes); with `entropy` the
    integers floor(.), clipped, entropy coded (docs: compressors/entropy).

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Saturating(bits=2), [0.9, -0.3, 0.0, -5.0])
    >>> payload.hex(" "), decoded.tolist()
    ('27', [0.75, -0.25, 0.25, -0.75])
    """

    candidates = ({"bits": 2},)

    bits: Annotated[int, Field(ge=1, le=16)] = 4  # bits a coordinate
    entropy: Entropy = "none"  # a coder of the codes that learns from earlier messages

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return (Local(p=np.inf, phi=1 - 2.0**-self.bits),)

    def code_bounds(self) -> tuple[int, int]:
        levels = 1 << (self.bits - 1)
        return -levels, levels - 1

    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        saturated(x, self.bits, codes)
        return 0

    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        add_saturated(codes, self.bits, weight, acc)

    def plain_nbytes(self, d: int) -> int:
        return (d * self.bits + 7) // 8

    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        return encode_saturating(x, self.bits, work.array("codes", TILE, np.uint16), out)

    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        codes = work.array("codes", TILE, np.uint16)
        status = decode_saturating(payload, self.bits, codes, weight, acc)
        return accepted(status, payload, acc.size)


@kernel
def encode_saturating(x: F64, bits: int, codes: U16, out: U8) -> int:
    """Write d codes clip(floor(x L), -L, L - 1) + L; codes : uint16[TILE] is work space."""
    levels = np.float64(1 << (bits - 1))
    nbytes = packed_nbytes(x.size, bits)
    for start in range(0, x.size, TILE):
        part = x[start : start + TILE]
        for i in range(part.size):
            # Clipping comes first, so that the conversion below cannot overflow; x L is exact.
            level = min(max(part[i] * levels, -levels), levels - 1.0)
            codes[i] = np.int32(np.floor(level) + levels)
        pack(codes, part.size, bits, out, packed_nbytes(start, bits), nbytes)
    return nbytes


@kernel
def decode_saturating(payload: U8, bits: int, codes: U16, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    nbytes = packed_nbytes(acc.size, bits)
    if nbytes > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, 0, acc.size * bits):
        return PADDING
    step = 1.0 / np.float64(1 << (bits - 1))
    lowest = 0.5 * step - 1.0
    for start in range(0, acc.size, TILE):
        part = acc[start : start + TILE]
        unpack(payload, packed_nbytes(start, bits), part.size, bits, codes)
        for i in range(part.size):
            part[i] += weight * (np.float64(np.int32(codes[i])) * step + lowest)
    return nbytes


@kernel
def saturated(x: F64, bits: int, codes: Codes) -> None:
    """codes_i = clip(floor(x_i L), -L, L - 1)."""
    levels = np.float64(1 << (bits - 1))
    for i in range(x.size):
        codes[i] = np.int32(np.floor(min(max(x[i] * levels, -levels), levels - 1.0)))


@kernel
def add_saturated(codes: Codes, bits: int, weight: float, acc: F64) -> None:
    """Add weight (codes_i / L + 1 / (2 L)) to acc, by the sums of `decode_saturating`."""
    levels = np.int32(1 << (bits - 1))
    step = 1.0 / np.float64(levels)
    lowest = 0.5 * step - 1.0
    for i in range(acc.size):
        acc[i] += weight * (np.float64(np.int32(codes[i]) + levels) * step + lowest)
