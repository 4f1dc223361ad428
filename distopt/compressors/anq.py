"""Adaptive non-uniform quantiser: cells that grow with the distance from zero."""

from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np

from distopt.compressors.base import Guarantee, LocalAndBeyond
from distopt.compressors.coded import Coded, Entropy
from distopt.compressors.coders.bits import flush_bits, padding_is_zero
from distopt.compressors.coders.gamma import read_gamma, write_gamma
from distopt.compressors.coders.wire import INVALID_CODE, PADDING, accepted
from distopt.core.arrays import F64, I64, U8, U32, Codes
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE
from distopt.core.workspace import Workspace

LARGEST = 2.0**40  # of |x_i|: beyond, codes saturate


@parameters("compressor")
class Anq(Coded):
    """C(x)_i = sign(x_i) v_q, q the first with |x_i| <= t_q; |C(x)_i - x_i| <= a + w |x_i|.

    a and w are `absolute` and `relative`; v_0 = 0, v_{q+1} = ((1 + w) v_q + 2 a) / (1 - w), and
    t_q = (v_q + a) / (1 - w): no grid with that error has fewer values.

    Class: local in the maximum norm, 1 - phi <= a + w, derived (docs: compressors/anq). The error law holds
    outside the ball too, up to |x_i| = 2^40.
    Wire: the Elias-gamma codes of sign(x_i) q (docs: compressors, Elias-gamma), padded to whole bytes;
    with `entropy` the same integers entropy coded (docs: compressors/entropy).

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Anq(absolute=0.25, relative=0.5), [0.5, -0.6, 9.0, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('c5 03', [0.0, -1.0, 13.0, 0.0])
    """

    candidates = ({},)

    absolute: Annotated[float, Field(ge=2.0**-20, lt=1)] = 0.25  # a, of the error at zero
    relative: Annotated[float, Field(ge=2.0**-6, lt=1)] = 0.25  # w, how fast it grows
    entropy: Entropy = "none"  # a coder that learns from earlier messages; none: Elias-gamma codes
    alone: bool = False  # with an entropy coder: the vector is all of its message

    code_type: ClassVar[type] = np.int64

    def __post_init__(self) -> None:
        if self.absolute + self.relative >= 1:
            raise ConfigError(
                f"compressor.absolute = {self.absolute:g} and compressor.relative = {self.relative:g} "
                "together allow an error as large as the ball; accepted: a sum below 1."
            )

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        v, t = self.grid
        q = int(np.searchsorted(t, 1.0))  # of 1, the end of the ball; at least 1, since a + w < 1
        phi = 1 - float(max(t[q - 1] - v[q - 1], abs(1 - v[q])))
        return (LocalAndBeyond(p=np.inf, phi=phi, w=self.relative),)

    def magnitudes(self) -> tuple[float, float]:
        return 0.0, LARGEST

    @property
    def grid(self) -> F64:
        """v and t: float64[2, codes]."""
        return make_grid(self.absolute, self.relative)

    def code_bounds(self) -> tuple[int, int]:
        top = int(self.grid.shape[1]) - 1
        return -top, top

    def quantise(self, x: F64, out: U8, key: U32, codes: Codes, work: Workspace) -> int:
        find_cells(x, 0, x.size, self.grid[1], codes)
        return 0

    def add_codes(self, codes: Codes, weight: float, acc: F64, work: Workspace) -> None:
        add_values(codes, self.grid[0], weight, acc)

    def plain_nbytes(self, d: int) -> int:
        longest = 2 * (2 * self.code_bounds()[1] + 1).bit_length() - 1
        return (longest * d + 7) // 8

    def encode_plain(self, x: F64, out: U8, key: U32, work: Workspace) -> int:
        return encode_cells(x, self.grid[1], work.array("integers", TILE, np.int64), out)

    def decode_add_plain(self, payload: U8, weight: float, acc: F64, work: Workspace) -> int:
        codes = work.array("integers", acc.size, np.int64)
        status = decode_cells(payload, self.grid[0], codes, weight, acc)
        return accepted(status, payload, acc.size)


@lru_cache(maxsize=64)
def make_grid(absolute: float, relative: float) -> F64:
    """Return v and t, float64[2, codes], up to the first t >= `LARGEST`; sums and quotients alone."""
    v, t = [0.0], [absolute / (1 - relative)]
    while t[-1] < LARGEST:
        v.append(((1 + relative) * v[-1] + 2 * absolute) / (1 - relative))
        t.append((v[-1] + absolute) / (1 - relative))
    return np.array([v, t])


@kernel
def find_cells(x: F64, start: int, count: int, t: F64, codes: Codes) -> None:
    """codes[:count] = sign q of x[start:], q the first with |x| <= t_q, the last one beyond."""
    for i in range(count):
        size, low, high = abs(x[start + i]), 0, t.size - 1
        if size <= t[0]:
            high = 0
        while low < high:
            middle = (low + high) // 2
            if size <= t[middle]:
                high = middle
            else:
                low = middle + 1
        codes[i] = high if x[start + i] >= 0.0 else -high


@kernel
def encode_cells(x: F64, t: F64, codes: I64, out: U8) -> int:
    """Write d integers; return the bytes. codes : int64[TILE] is work space."""
    at, buffer, held = 0, np.uint64(0), 0
    for start in range(0, x.size, TILE):
        count = min(TILE, x.size - start)
        find_cells(x, start, count, t, codes)
        at, buffer, held = write_gamma(codes, count, out, at, buffer, held)
    return flush_bits(out, at, buffer, held)


@kernel
def decode_cells(payload: U8, v: F64, codes: I64, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status.

    codes : int64[d] is work space.
    """
    bit = read_gamma(payload, 0, codes, acc.size)
    if bit < 0:
        return bit
    for i in range(acc.size):
        if not -v.size < codes[i] < v.size:
            return INVALID_CODE
    if not padding_is_zero(payload, 0, bit):
        return PADDING
    add_values(codes[: acc.size], v, weight, acc)
    return (bit + 7) // 8


@kernel
def add_values(codes: Codes, v: F64, weight: float, acc: F64) -> None:
    """Add weight sign(code) v_|code| to acc."""
    for i in range(acc.size):
        value = v[abs(codes[i])]
        acc[i] += weight * (value if codes[i] >= 0 else -value)
