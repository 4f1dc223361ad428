"""Uniform quantiser: a fixed step, unbounded integers, Elias-gamma codes."""

from typing import Annotated, ClassVar

import numpy as np

from distopt.compressors.base import Absolute, Guarantee, Local
from distopt.compressors.coded import Coded, Entropy
from distopt.compressors.coders.bits import flush_bits, padding_is_zero
from distopt.compressors.coders.gamma import MAX_BITS, read_gamma, write_gamma
from distopt.compressors.coders.wire import PADDING, accepted
from distopt.core.arrays import F64, I64, U8, U32, Codes
from distopt.core.errors import ConfigError, DivergedError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE, fill_tile
from distopt.core.workspace import Workspace


@parameters("compressor")
class Uniform(Coded):
    """C(x)_i = delta q_i, q_i = floor(x_i / delta + 1/2), or dithered floor(x_i / delta + u_i).

    u_i is uniform on [0, 1), so that the dithered E C(x) = x. With an `inset` q_i = +-1 means
    +-(1 - inset) delta: of numbers that are more often small, those are the nearer ones on average.

    Class: absolute, derived (docs: compressors/uniform): nearest p = inf, C = (1/2 + inset) delta;
    dithered p = 2, C = sqrt(d) delta / 2. Local in the maximum norm with 1 - phi = (1/2 + inset) delta
    nearest and delta dithered, where that is below 1.
    Wire: the Elias-gamma codes of q (docs: compressors, Elias-gamma), padded to whole bytes; with
    `entropy` q entropy coded (docs: compressors/entropy).

    Raises
    ------
    DivergedError
        By `encode`, where |x_i| / delta is not below 2^63.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Uniform(delta=0.5), [0.2, 0.3, -1.4, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('4d 03', [0.0, 0.5, -1.5, 0.0])
    """

    candidates = ({},)

    delta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # step of the grid
    dithered: bool = False  # unbiased, with random bits
    entropy: Entropy = "none"  # a coder that learns from earlier messages; none: Elias-gamma codes
    inset: Annotated[float, Field(ge=0, lt=0.5)] = 0.0  # of what +-1 means, in steps
    alone: bool = False  # with an entropy coder: the vector is all of its message

    code_type: ClassVar[type] = np.int64

    def __post_init__(self) -> None:
        if self.dithered and self.inset:
            raise ConfigError(
                f"compressor.inset = {self.inset:g} cannot be combined with compressor.dithered = true, "
                "which is unbiased; accepted there: 0."
            )

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        found: list[Guarantee] = []
        if self.dithered:
            found.append(Absolute(p=2, C=float(np.sqrt(d)) * self.delta / 2))
        else:
            found.append(Absolute(p=np.inf, C=(0.5 + self.inset) * self.delta))
        error = self.delta if self.dithered else (0.5 + self.inset) * self.delta
        if error < 1:
            found.append(Local(p=np.inf, phi=1 - error))
        return tuple(found)

    def magnitudes(self) -> tuple[float, float]:
        return 0.0, self.delta * 2.0**50  # beyond, x itself is no finer than its last bits

    def code_bounds(self) -> tuple[int, int]:
        return 1 - (1 << 63), (1 << 63) - 1

    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        words = work.array("words", TILE, np.uint32)
        self._check(x, to_integers(x, self.delta, self.dithered, key, words, codes))
        return 0

    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        add_integers(codes, self.delta, self.inset, weight, acc)

    def plain_nbytes(self, d: int) -> int:
        return (MAX_BITS * d + 7) // 8

    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        words = work.array("words", TILE, np.uint32)
        codes = work.array("integers", TILE, np.int64)
        return self._check(x, encode_uniform(x, self.delta, self.dithered, key, words, codes, out))

    def _check(self, x: F64, status: int) -> int:
        if status < 0:
            at = -status - 1
            raise DivergedError(
                f"A vector's entry {at} is {x[at]:.6g}, more than 2^63 steps of compressor.delta = "
                f"{self.delta:.6g}; a smaller algorithm.eta, a larger algorithm.mu or a larger "
                "compressor.delta may help."
            )
        return status

    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        codes = work.array("integers", acc.size, np.int64)
        status = decode_uniform(payload, self.delta, self.inset, codes, weight, acc)
        return accepted(status, payload, acc.size)


@kernel
def round_tile(
    x: F64, start: int, count: int, delta: float, dithered: bool, key: U32, words: U32, codes: I64
) -> int:
    """codes[:count] = q of x[start:], where a tile begins; return 0, or -1 - i where q_i does not fit."""
    largest = 0.0
    if dithered:
        fill_tile(key, start // TILE, words)
    for i in range(count):
        # Comparing the fractional part, not adding to it, keeps values on the grid where they are.
        level = x[start + i] / delta
        floor = np.floor(level)
        rest = level - floor
        up = rest >= 0.5
        if dithered:
            up = (words[i] + 0.5) * 2.0**-32 < rest
        level = floor + up
        largest = max(largest, abs(level))
        codes[i] = np.int64(level)
    if not largest < 2.0**63:
        for i in range(count):
            if not abs(np.floor(x[start + i] / delta)) < 2.0**63:
                return -1 - (start + i)
    return 0


@kernel
def to_integers(x: F64, delta: float, dithered: bool, key: U32, words: U32, codes: I64) -> int:
    """codes_i = q_i; return 0, or -1 - i where q_i does not fit. words : uint32[TILE] is work space."""
    for start in range(0, x.size, TILE):
        count = min(TILE, x.size - start)
        status = round_tile(x, start, count, delta, dithered, key, words, codes[start:])
        if status < 0:
            return status
    return 0


@kernel
def encode_uniform(
    x: F64, delta: float, dithered: bool, key: U32, words: U32, codes: I64, out: U8
) -> int:
    """Write d integers; return the bytes, or -1 - i where q_i does not fit.

    Work space: words : uint32[TILE], codes : int64[TILE].
    """
    at, buffer, held = 0, np.uint64(0), 0
    for start in range(0, x.size, TILE):
        count = min(TILE, x.size - start)
        status = round_tile(x, start, count, delta, dithered, key, words, codes)
        if status < 0:
            return status
        at, buffer, held = write_gamma(codes, count, out, at, buffer, held)
    return flush_bits(out, at, buffer, held)


@kernel
def decode_uniform(
    payload: U8, delta: float, inset: float, codes: I64, weight: float, acc: F64
) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status.

    codes : int64[d] is work space.
    """
    bit = read_gamma(payload, 0, codes, acc.size)
    if bit < 0:
        return bit
    if not padding_is_zero(payload, 0, bit):
        return PADDING
    add_integers(codes[: acc.size], delta, inset, weight, acc)
    return (bit + 7) // 8


@kernel
def add_integers(codes: I64, delta: float, inset: float, weight: float, acc: F64) -> None:
    """Add weight delta codes to acc, where +-1 stands for +-(1 - inset)."""
    for i in range(acc.size):
        level = np.float64(codes[i])
        if inset > 0.0 and abs(level) == 1.0:
            level -= inset * level
        acc[i] += weight * (level * delta)
