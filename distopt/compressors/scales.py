"""Norms as scales: rounded up before anything is quantised with them, and how they travel.

A scale is a number >= 0 with |x_i| <= scale for all coordinates that it belongs to. By default it
travels as a float32: the smallest one that is not below the norm. Where the norm is positive but
outside the normal range of float32, [2^-126, 2^128), an escape is written instead, so that every
constant of every class holds for such vectors too. A field ``scale = "float64"`` sends the norm itself.

Wire: 4 bytes, a little-endian float32 >= 0; or the 4 bytes 00 00 00 80 (minus zero), then the norm as
little-endian float64. With ``scale = "float64"``: the 8 bytes of the norm.
"""

from typing import Literal, TypeAlias

import numpy as np

from distopt.compressors.coders.wire import (
    INVALID_SCALE,
    TOO_SHORT,
    load_f32,
    load_f64,
    load_u32,
    store_f32,
    store_f64,
    store_u32,
)
from distopt.core.arrays import F64, U8
from distopt.core.kernel import kernel
from distopt.core.magnitude import as_number, magnitude

ScaleType: TypeAlias = Literal["float32", "float64"]

MAX_NBYTES = 12  # of one scale
SLACK = {"float32": 2.0**-23, "float64": 0.0}  # scale <= (1 + slack) norm

_ESCAPE = np.uint32(0x80000000)
_SMALLEST = 2.0**-126  # normal float32
_LARGEST = (2.0 - 2.0**-23) * 2.0**127


@kernel
def max_abs(x: F64) -> float:
    """Return max |x_i|."""
    largest = np.int64(0)
    for i in range(x.size):
        largest = max(largest, magnitude(x[i]))
    return as_number(largest)


@kernel
def two_norm(x: F64) -> float:
    """Return ||x||_2, but never less than max |x_i|; infinite only where it exceeds float64."""
    largest = max_abs(x)
    if largest == 0.0:
        return 0.0
    # Scaling by a power of two is exact, and keeps the squares from overflow and underflow.
    biased = np.float64(largest).view(np.int64) >> np.int64(52)
    biased = min(max(biased, np.int64(23)), np.int64(2023))
    down = np.int64((np.int64(2046) - biased) << np.int64(52)).view(np.float64)
    up = np.int64(biased << np.int64(52)).view(np.float64)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0  # eight sums hide the latency of the additions
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += (x[i] * down) ** 2
        s1 += (x[i + 1] * down) ** 2
        s2 += (x[i + 2] * down) ** 2
        s3 += (x[i + 3] * down) ** 2
        s4 += (x[i + 4] * down) ** 2
        s5 += (x[i + 5] * down) ** 2
        s6 += (x[i + 6] * down) ** 2
        s7 += (x[i + 7] * down) ** 2
    for i in range(whole, x.size):
        s0 += (x[i] * down) ** 2
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    return max(float(np.sqrt(total) * up), largest)


@kernel
def subtract(x: F64, h: F64, z: F64) -> None:
    """z[: x.size] = x - h."""
    for i in range(x.size):
        z[i] = x[i] - h[i]


@kernel
def max_abs_difference(x: F64, h: F64) -> float:
    """Return max |x_i - h_i|."""
    largest = np.int64(0)
    for i in range(x.size):
        largest = max(largest, magnitude(x[i] - h[i]))
    return as_number(largest)


@kernel
def round_scale(norm: float, wide: bool) -> float:
    """Return the scale that travels for this norm: the smallest one on the wire that is >= norm."""
    if wide or norm < _SMALLEST or norm > _LARGEST:
        return norm
    nearest = np.float32(norm)
    if np.float64(nearest) < norm:
        nearest = np.uint32(np.float32(nearest).view(np.uint32) + np.uint32(1)).view(np.float32)
    return np.float64(nearest)  # type: ignore[no-any-return]


@kernel
def is_escaped(scale: float) -> bool:
    """Tell whether a scale does not travel as a float32."""
    return scale != 0.0 and not _SMALLEST <= scale <= _LARGEST


@kernel
def store_scale(out: U8, at: int, scale: float, wide: bool) -> int:
    """Write a scale that `round_scale` made; return the bytes used."""
    if wide:
        store_f64(out, at, scale)
        return 8
    if is_escaped(scale):
        store_u32(out, at, _ESCAPE)
        store_f64(out, at + 4, scale)
        return 12
    store_f32(out, at, scale)
    return 4


@kernel
def load_scale(payload: U8, at: int, wide: bool) -> tuple[float, int]:
    """Return the scale at byte `at` and the bytes that it takes, or (0, negative status)."""
    nbytes = 8 if wide else 4
    if at + nbytes > payload.size:
        return 0.0, TOO_SHORT
    if wide:
        scale = load_f64(payload, at)
    elif load_u32(payload, at) == _ESCAPE:
        nbytes = 12
        if at + nbytes > payload.size:
            return 0.0, TOO_SHORT
        scale = load_f64(payload, at + 4)
    else:
        scale = load_f32(payload, at)
    if not (0.0 <= scale < np.inf):
        return 0.0, INVALID_SCALE
    return scale, nbytes
