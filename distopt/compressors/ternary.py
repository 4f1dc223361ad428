"""Ternary: minus, zero or plus the maximum norm at random; five coordinates to a byte."""

import numpy as np

from distopt.compressors.base import Guarantee
from distopt.compressors.coded import Coded, Entropy
from distopt.compressors.coders.wire import INVALID_CODE, PADDING, TOO_SHORT, accepted
from distopt.compressors.quantize import Quantize, round_levels
from distopt.compressors.scales import (
    MAX_NBYTES,
    ScaleType,
    load_scale,
    max_abs,
    round_scale,
    store_scale,
)
from distopt.core.arrays import F64, U8, U16, U32, Codes
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.randomness import TILE, fill_tile
from distopt.core.workspace import Workspace


@parameters("compressor")
class Ternary(Coded):
    """C(x)_i = s sign(x_i) with probability |x_i| / s, else 0; s = ||x||_inf rounded up to a float32.

    The same values as Quantize(bits=1, dithered=True) at 8/5 instead of 2 bits a coordinate.

    Class: relative, r = 1 + w, psi = 1 / (1 + w), w = (sqrt(d) - 1) / 2, derived (docs:
    compressors/ternary).
    Wire: the scale s (docs: compressors, scales), then ceil(d / 5) bytes
    t_0 + 3 t_1 + 9 t_2 + 27 t_3 + 81 t_4 with the digits t = 1 + sign(C(x)_i) of five coordinates;
    missing digits of the last byte are 0. With `entropy` the codes sign(C(x)_i) follow the scale entropy
    coded (docs: compressors/entropy).

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Ternary(), [2.0, -2.0, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('00 00 00 40 0b', [2.0, -2.0, 0.0])
    """

    candidates = ({},)

    scale: ScaleType = "float32"  # how the scale travels
    entropy: Entropy = "none"  # a coder of the codes that learns from earlier messages

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        return self._same.guarantees(d)

    def code_bounds(self) -> tuple[int, int]:
        return -1, 1

    def head_nbytes(self, d: int) -> int:
        return MAX_NBYTES

    def plain_nbytes(self, d: int) -> int:
        return MAX_NBYTES + (d + 4) // 5

    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        return self._same.quantise(x, out, key, codes, work)

    def read_head(self, payload: U8, d: int, work: Workspace) -> int:
        return self._same.read_head(payload, d, work)

    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        self._same.add_codes(codes, weight, acc, work)

    @property
    def _same(self) -> Quantize:
        """The quantiser of the same values."""
        return _WIDE if self.scale == "float64" else _NARROW

    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        words = work.array("words", TILE, np.uint32)
        trits = work.array("trits", 5 * TILE, np.uint16)
        return encode_ternary(x, self.scale == "float64", key, words, trits, out)

    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        status = decode_ternary(payload, weight, self.scale == "float64", acc)
        return accepted(status, payload, acc.size)


_NARROW = Quantize(bits=1, dithered=True)
_WIDE = Quantize(bits=1, dithered=True, scale="float64")


@kernel
def encode_ternary(x: F64, wide: bool, key: U32, words: U32, trits: U16, out: U8) -> int:
    """Write the scale and d digits; return the bytes used.

    Work space: words : uint32[TILE], trits : uint16[5 TILE].
    """
    scale = round_scale(max_abs(x), wide)
    at = store_scale(out, 0, scale, wide)
    for start in range(0, x.size, 5 * TILE):  # five tiles fill whole bytes
        stop = min(start + 5 * TILE, x.size)
        for first in range(start, stop, TILE):
            last = min(first + TILE, stop)
            fill_tile(key, first // TILE, words)
            round_levels(x[first:last], scale, 1.0, True, words, trits[first - start :])
        count = stop - start
        for i in range(count, (count + 4) // 5 * 5):
            trits[i] = 0
        for byte in range((count + 4) // 5):
            i = 5 * byte
            low = trits[i] + 3 * trits[i + 1] + 9 * trits[i + 2]
            out[at + byte] = low + 27 * trits[i + 3] + 81 * trits[i + 4]
        at += (count + 4) // 5
    return at


@kernel
def decode_ternary(payload: U8, weight: float, wide: bool, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    scale, at = load_scale(payload, 0, wide)
    if at < 0:
        return at
    d = acc.size
    end = at + (d + 4) // 5
    if end > payload.size:
        return TOO_SHORT
    largest = np.uint8(0)
    for byte in range(at, end):
        largest = max(largest, payload[byte])
    if largest > 242:
        return INVALID_CODE
    if payload[end - 1] >= 3 ** (d - 5 * (end - 1 - at)):
        return PADDING
    for byte in range(d // 5):
        digits = np.int32(payload[at + byte])
        for j in range(5):
            acc[5 * byte + j] += weight * (scale * np.float64(digits % 3 - 1))
            digits //= 3
    digits = np.int32(payload[end - 1])
    for i in range(d // 5 * 5, d):
        acc[i] += weight * (scale * np.float64(digits % 3 - 1))
        digits //= 3
    return end
