"""Cast: each coordinate rounded to a shorter floating-point format."""

from typing import Literal

import numpy as np

from distopt.compressors.base import CodecState, Compressor, Guarantee, Local, Relative
from distopt.compressors.coders.wire import (
    NOT_FINITE,
    TOO_SHORT,
    accepted,
    load_u16,
    load_u32,
    store_u16,
    store_u32,
)
from distopt.core.arrays import F64, U8, U32
from distopt.core.errors import DivergedError
from distopt.core.kernel import kernel
from distopt.core.magnitude import magnitude
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace

_MANTISSA = {"float32": 23, "bfloat16": 7, "float16": 10}  # stored bits
_LOWEST = {"float32": -126, "bfloat16": -126, "float16": -14}  # exponent of the least normal number
_HIGHEST = {"float32": 127, "bfloat16": 127, "float16": 15}


@parameters("compressor")
class Cast(Compressor):
    """C(x)_i = x_i rounded once to `dtype`, to nearest, ties to even.

    Class: relative, r = 1 and psi = 1 - 4^-(m + 1) with m = 23, 7, 10 stored bits of mantissa for
    float32, bfloat16, float16, derived, while all nonzero |x_i| lie in the normal range (2^-126 for
    float32 and bfloat16, 2^-14 for float16, up to the largest number); below it the error of a
    coordinate is at most 2^-150, 2^-134, 2^-25 and at most |x_i|. Local in the maximum norm with
    phi = 1 - 2^-(m + 2), without that exception (docs: compressors/cast).
    Wire: d little-endian numbers of 4, 2, 2 bytes.

    Raises
    ------
    DivergedError
        By `encode`, where a coordinate rounds to more than the format's largest number.

    >>> from distopt.compressors.base import compress
    >>> payload, decoded = compress(Cast(dtype="bfloat16"), [1.0, -3.14159])
    >>> payload.hex(" "), decoded.tolist()
    ('80 3f 49 c0', [1.0, -3.140625])
    """

    candidates = ({"dtype": "bfloat16"},)

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    def guarantees(self, d: int) -> tuple[Guarantee, ...]:
        m = _MANTISSA[self.dtype]
        return Relative(r=1.0, psi=1 - 4.0 ** -(m + 1)), Local(p=np.inf, phi=1 - 2.0 ** -(m + 2))

    def magnitudes(self) -> tuple[float, float]:
        m, highest = _MANTISSA[self.dtype], _HIGHEST[self.dtype]
        return 2.0 ** _LOWEST[self.dtype], (2 - 2.0**-m) * 2.0**highest

    def max_nbytes(self, d: int) -> int:
        return (4 if self.dtype == "float32" else 2) * d

    def encode(self, x: F64, out: U8, key: U32, state: CodecState, work: Workspace) -> int:
        if self.dtype == "float32":
            status = encode_float32(x, out)
        else:
            status = encode_short(x, _MANTISSA[self.dtype], _LOWEST[self.dtype], out)
        if status < 0:
            at = -status - 1
            raise DivergedError(
                f"A vector's entry {at} is {x[at]:.6g}, but the largest {self.dtype} is "
                f"{self.magnitudes()[1]:.6g}; {self._remedy()}."
            )
        return status

    def _remedy(self) -> str:
        if self.dtype == "float16":
            return 'compressor.dtype = "bfloat16" or "float32" reaches further'
        return "a smaller algorithm.eta or algorithm.gamma may help"

    def decode_add(
        self, payload: U8, weight: float, acc: F64, key: U32, state: CodecState, work: Workspace
    ) -> int:
        if self.dtype == "float32":
            status = decode_float32(payload, weight, acc)
        elif self.dtype == "bfloat16":
            status = decode_bfloat16(payload, weight, acc)
        else:
            status = decode_float16(payload, weight, acc)
        return accepted(status, payload, acc.size)


@kernel
def encode_float32(x: F64, out: U8) -> int:
    """Write d float32; return the bytes, or -1 - i where x_i rounds to infinity."""
    largest = np.uint32(0)
    for i in range(x.size):
        bits = np.float32(x[i]).view(np.uint32)
        largest = max(largest, bits & np.uint32(0x7FFFFFFF))
        store_u32(out, 4 * i, bits)
    if largest >= np.uint32(0x7F800000):
        for i in range(x.size):
            if np.isinf(np.float32(x[i])):
                return -1 - i
    return 4 * x.size


@kernel
def shorten(magnitude: np.int64, mantissa: int, lowest: int) -> np.int64:
    """Return the bits of a format with that mantissa and lowest normal exponent; no sign.

    Rounded once, from the bits of a float64 >= 0, to nearest, ties to even. Beyond the largest
    number the result is not below infinity's.
    """
    shift = np.int64(52 - mantissa)
    # Normal: drop the low bits. Half a unit is added first, less one where the kept part is even, so
    # that ties go to even; a carry runs into the exponent as it should.
    half = (np.int64(1) << (shift - np.int64(1))) - np.int64(1)
    normal = (magnitude + half + ((magnitude >> shift) & np.int64(1))) >> shift
    normal -= np.int64(lowest + 1022) << np.int64(mantissa)
    # Subnormal: 2^52 units are added, so the addition itself rounds to whole units, ties to even.
    base = np.int64(lowest - mantissa + 52 + 1023) << np.int64(52)
    total = np.int64(magnitude).view(np.float64) + np.int64(base).view(np.float64)
    subnormal = np.float64(total).view(np.int64) - base
    return subnormal if magnitude < np.int64(lowest + 1023) << np.int64(52) else normal


@kernel
def encode_short(x: F64, mantissa: int, lowest: int, out: U8) -> int:
    """Write d numbers of 16 bits; return the bytes, or -1 - i where x_i rounds to infinity."""
    infinity = np.int64(0x7FFF) >> np.int64(mantissa) << np.int64(mantissa)
    largest = np.int64(0)
    for i in range(x.size):
        short = shorten(magnitude(x[i]), mantissa, lowest)
        largest = max(largest, short)
        sign = (np.float64(x[i]).view(np.int64) >> np.int64(48)) & np.int64(0x8000)
        store_u16(out, 2 * i, np.uint16(short | sign))
    if largest >= infinity:
        for i in range(x.size):
            if shorten(magnitude(x[i]), mantissa, lowest) >= infinity:
                return -1 - i
    return 2 * x.size


@kernel
def decode_float32(payload: U8, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    nbytes = 4 * acc.size
    if nbytes > payload.size:
        return TOO_SHORT
    largest = np.uint32(0)
    for i in range(acc.size):
        largest = max(largest, load_u32(payload, 4 * i) & np.uint32(0x7FFFFFFF))
    if largest >= np.uint32(0x7F800000):
        return NOT_FINITE
    for i in range(acc.size):
        acc[i] += weight * np.float64(np.uint32(load_u32(payload, 4 * i)).view(np.float32))
    return nbytes


@kernel
def check_short(payload: U8, d: int, infinity: int) -> int:
    """Return the bytes of d numbers of 16 bits, or a negative status."""
    if 2 * d > payload.size:
        return TOO_SHORT
    largest = np.uint16(0)
    for i in range(d):
        largest = max(largest, load_u16(payload, 2 * i) & np.uint16(0x7FFF))
    return NOT_FINITE if largest >= infinity else 2 * d


@kernel
def decode_bfloat16(payload: U8, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    nbytes = check_short(payload, acc.size, 0x7F80)
    if nbytes < 0:
        return nbytes
    for i in range(acc.size):
        bits = np.uint32(load_u16(payload, 2 * i)) << np.uint32(16)
        acc[i] += weight * np.float64(np.uint32(bits).view(np.float32))
    return nbytes


@kernel
def decode_float16(payload: U8, weight: float, acc: F64) -> int:
    """Add weight C(x) to acc; return the bytes consumed or a negative status."""
    nbytes = check_short(payload, acc.size, 0x7C00)
    if nbytes < 0:
        return nbytes
    for i in range(acc.size):
        short = np.int64(load_u16(payload, 2 * i))
        sign = (short >> np.int64(15)) << np.int64(63)
        magnitude = short & np.int64(0x7FFF)
        # Normal: the exponent's bias grows from 15 to 1023. Subnormal: units of 2^-24.
        normal = (magnitude << np.int64(42)) + (np.int64(1008) << np.int64(52))
        subnormal = np.float64(np.float64(magnitude) * 2.0**-24).view(np.int64)
        bits = sign | (subnormal if magnitude < np.int64(0x400) else normal)
        acc[i] += weight * np.int64(bits).view(np.float64)
    return nbytes
