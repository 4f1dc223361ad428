"""Fixed-point messages: a format, or a power of two per block, with any rounding mode."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from distopt.compressors.base import (
    CodecState,
    Compressor,
    Guarantee,
    Local,
    Relative,
    as_float64,
)
from distopt.compressors.coders.bits import pack, packed_nbytes, padding_is_zero, unpack
from distopt.compressors.coders.wire import (
    INVALID_CODE,
    INVALID_SCALE,
    PADDING,
    TOO_SHORT,
    accepted,
    load_u16,
    store_u16,
)
from distopt.compressors.scales import max_abs
from distopt.core.arrays import F64, I64, U8, U16, U32
from distopt.core.errors import ConfigError, DivergedError
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import TILE
from distopt.core.workspace import Workspace
from distopt.fixedpoint import kernels
from distopt.fixedpoint.arithmetic import Rounding
from distopt.fixedpoint.format import Format

_SMALLEST, _LARGEST = -1000, 1000  # exponents of a unit


@parameters("compressor")
class FixedPoint(Compressor):
    """C(x)_i = u k_i with integers k_i, x_i / u rounded to a neighbour in the given mode.

    With `format`, such as "Q1.7": u = 2^-F and the codes k_i of I + F <= 16 bits saturate. Else `bits` = W,
    8 by default: every block of `block` coordinates (all by default) has its own unit u = 2^p, the
    smallest with max |x_i| <= K u, K = 2^(W-1) - 1, so nothing saturates.

    Class, derived, with n = min(block, d) (docs: compressors/fixed_point). Without `format` relative:

    * RN: r = 1, psi = (K^2 - 1) / (K^2 + n - 1); RZ: psi = (K^2 / 4 - 1) / (K^2 / 4 + n - 1);
    * SR: r = 1 + w, psi = 1 / (1 + w), w = (sqrt((K^2 - 1)^2 + 4 K^2 n) - K^2 + 1) / (2 K^2);
    * none for RD, RU and SR_eps, which move the smallest numbers by u.

    Local in the maximum norm with 1 - phi = u / 2 for RN and u else, where that is below 1; u = 2^-F (RN
    in Q1.F: u, since 1 saturates), and 2^(2 - W) without `format`.

    Wire: without `format` one int16 per block, the exponent p, little-endian; then d codes
    k_i + 2^(W-1) of W bits (docs: compressors, packed codes).

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(FixedPoint(bits=4), [3.0, -1.1, 0.0])
    >>> payload.hex(" "), decoded.tolist()
    ('ff ff 6e 08', [3.0, -1.0, 0.0])
    """

    format: str | None = None  # such as "Q1.7"; without it `bits` and one power of two per block
    bits: Annotated[int, Field(ge=2, le=16)] | None = None  # of a coordinate; 8 by default
    mode: Literal["RN", "RD", "RU", "RZ", "SR", "SR_eps"] = "RN"
    eps: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of SR_eps
    block: Annotated[int, Field(ge=1)] | None = None  # coordinates per unit; all by default

    def __post_init__(self) -> None:
        if self.eps and self.mode != "SR_eps":
            raise ConfigError(
                f'compressor.eps = {self.eps:g} means nothing with compressor.mode = "{self.mode}"; '
                'accepted with "SR_eps".'
            )
        if self.format is None:
            return
        for key in ("bits", "block"):
            if getattr(self, key) is not None:
                raise ConfigError(
                    f"compressor.{key} has no meaning with compressor.format, which fixes one unit for "
                    "all; give only one of the two."
                )
        if Format.parse(self.format).bits > 16:
            raise ConfigError(
                f'compressor.format = "{self.format}" has {Format.parse(self.format).bits} bits; '
                "accepted: 2 to 16."
            )

    @property
    def fixed(self) -> Format | None:
        """The format, if there is one."""
        return None if self.format is None else Format.parse(self.format)

    @property
    def width(self) -> int:
        """Bits of a coordinate, W."""
        return self.fixed.bits if self.fixed else self.bits or 8

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        found: list[Guarantee] = []
        if self.fixed:
            unit = self.fixed.unit
            error = unit / 2 if self.mode == "RN" and self.fixed.integer_bits > 1 else unit
        else:
            n, square = min(self.block or d, d), (2.0 ** (self.width - 1) - 1) ** 2
            if self.mode == "SR":
                root = float(np.sqrt((square - 1) ** 2 + 4 * square * n))
                w = (root - square + 1) / (2 * square)
                found.append(Relative(r=1 + w, psi=1 / (1 + w)))
            elif self.mode in {"RN", "RZ"} and square > 1:
                square = square if self.mode == "RN" else square / 4
                found.append(Relative(r=1.0, psi=(square - 1) / (square + n - 1)))
            unit = 2.0 ** (2 - self.width)
            error = unit / 2 if self.mode == "RN" else unit
        if error < 1:
            found.append(Local(p=np.inf, phi=1 - error))
        return tuple(found)

    def check(self, d: int) -> None:
        if not self.guarantees(d):
            name = f'format = "{self.format}"' if self.format else f"bits = {self.width}"
            raise ConfigError(
                f'compressor.{name} is too coarse for compressor.mode = "{self.mode}": an error may be '
                "as large as the vector; use more bits, or SR with one unit per block."
            )

    def max_nbytes(self, d: int) -> int:
        blocks = 0 if self.fixed else -(-d // (self.block or d))
        return 2 * blocks + packed_nbytes(d, self.width)

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        fixed, d, width = self.fixed, x.size, self.width
        head = 0
        if fixed:
            y = as_float64(x, work)
        else:
            y = work.array("scaled", d)
            head = store_units(x, width, self.block or d, y, out)
            if head < 0:
                raise DivergedError(
                    f"A vector has an entry beyond 2^{_LARGEST}, which fixed_point does not send; smaller "
                    "algorithm.eta or algorithm.gamma may help."
                )
        rounding = Rounding(self.mode, eps=self.eps)
        codes = work.array("signed codes", d, np.int16)
        words = work.array("words", TILE, np.uint32)
        kernels.ENCODE_WIDE[rounding.number](
            y, fixed.fraction_bits if fixed else 0, width, rounding.bias(32), y, key, 0,
            words, words.view(np.uint16), work.array("sub-units", kernels.HALVES, np.uint32), codes,
        )  # fmt: skip
        return store_codes(codes, width, work.array("codes", TILE, np.uint16), out, head)

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        d, fixed = acc.size, self.fixed
        block = self.block or d
        exponents = work.array("integers", -(-d // block), np.int64)
        head = 0
        if fixed:
            exponents[0] = -fixed.fraction_bits
        else:
            head = accepted(load_units(payload, -(-d // block), exponents), payload, d)
        codes = work.array("codes", TILE, np.uint16)
        status = decode_codes(
            payload, head, self.width, fixed is None, block, exponents, codes, weight, acc
        )
        return accepted(status, payload, d)


@kernel
def store_units(x: F64, width: int, block: int, y: F64, out: U8) -> int:
    """Write the exponent p of each block, y = 2^-p x; return the bytes, or -1 beyond 2^1000."""
    largest_code = np.float64((np.int64(1) << (width - 1)) - 1)
    at = 0
    for start in range(0, x.size, block):
        stop = min(start + block, x.size)
        largest = max_abs(x[start:stop])
        if largest > 2.0**_LARGEST:
            return -1
        # 2^E <= largest < 2^(E + 1), so that p is E + 2 - W or one more.
        p = (np.float64(largest).view(np.int64) >> np.int64(52)) - 1023 + 2 - width
        p = max(p, np.int64(_SMALLEST))
        if largest > largest_code * 2.0 ** np.float64(p):
            p += 1
        store_u16(out, at, np.uint16(p & 0xFFFF))
        at += 2
        factor = 2.0 ** np.float64(-p)
        for i in range(start, stop):
            y[i] = x[i] * factor
    return at


@kernel
def load_units(payload: U8, count: int, exponents: I64) -> int:
    """exponents[:count] = those that a payload begins with; return their bytes or a status."""
    if 2 * count > payload.size:
        return TOO_SHORT
    for number in range(count):
        p = np.int64(load_u16(payload, 2 * number))
        p = p - 65536 if p >= 32768 else p
        if not _SMALLEST <= p <= _LARGEST:
            return INVALID_SCALE
        exponents[number] = p
    return 2 * count


@kernel
def store_codes(signed: NDArray[np.int16], width: int, codes: U16, out: U8, head: int) -> int:
    """Write signed + 2^(W-1) from byte `head` on; return the byte after them."""
    offset = np.int32(1 << (width - 1))
    end = head + packed_nbytes(signed.size, width)
    for start in range(0, signed.size, TILE):
        count = min(TILE, signed.size - start)
        for i in range(count):
            codes[i] = np.int32(signed[start + i]) + offset
        pack(codes, count, width, out, head + packed_nbytes(start, width), end)
    return end


@kernel
def decode_codes(
    payload: U8, head: int, width: int, symmetric: bool, block: int, exponents: I64, codes: U16,
    weight: float, acc: F64,
) -> int:  # fmt: skip
    """Add weight 2^p k to acc; return the bytes consumed or a negative status.

    `symmetric` codes have |k| <= K, so that 0 on the wire, k = -2^(W-1), is refused.
    """
    d = acc.size
    end = head + packed_nbytes(d, width)
    if end > payload.size:
        return TOO_SHORT
    if not padding_is_zero(payload, head, d * width):
        return PADDING
    if symmetric:
        for start in range(0, d, TILE):
            count = min(TILE, d - start)
            unpack(payload, head + packed_nbytes(start, width), count, width, codes)
            for i in range(count):
                if codes[i] == 0:
                    return INVALID_CODE
    offset = np.int32(1 << (width - 1))
    for start in range(0, d, TILE):
        stop = min(start + TILE, d)
        unpack(payload, head + packed_nbytes(start, width), stop - start, width, codes)
        first = start
        while first < stop:  # the parts of blocks that lie in this tile
            last = min((first // block + 1) * block, stop)
            unit = 2.0 ** np.float64(exponents[first // block])
            for i in range(first, last):
                acc[i] += weight * (np.float64(np.int32(codes[i - start]) - offset) * unit)
            first = last
    return end
