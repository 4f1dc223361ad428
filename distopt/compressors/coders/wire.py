"""Numbers as little-endian bytes, readable at any offset.

Payloads follow each other without padding, so nothing is aligned. Bytes are put together by shifts;
LLVM turns that into one load, vectorised where there are many (measured: as fast as an aligned
array). That needs unsigned indices: of a signed one numba asks whether it counts from the end.
"""

import numpy as np
from numba import types  # type: ignore[attr-defined]
from numba.extending import overload

from distopt.core.arrays import F64, U8
from distopt.core.errors import MessageError
from distopt.core.kernel import kernel
from distopt.core.magnitude import INFINITE, magnitude

# What decoding kernels return, before their first write, instead of a byte count.
TOO_SHORT = -1
INVALID_SCALE = -2
INVALID_CODE = -3
INVALID_INDEX = -4
PADDING = -5
NOT_FINITE = -6

_REASONS = {
    TOO_SHORT: "the payload is too short",
    INVALID_SCALE: "a scale is negative or not finite",
    INVALID_CODE: "a code is none that the sender can produce",
    INVALID_INDEX: "an index is not below the dimension",
    PADDING: "padding bits are not zero",
    NOT_FINITE: "a number is not finite",
}


@kernel
def load_u16(payload: U8, at: int) -> np.uint16:
    """Return the uint16 in payload[at:at + 2]."""
    first = np.uint64(at)
    low, high = payload[first], payload[first + np.uint64(1)]
    return np.uint16(np.uint16(low) | np.uint16(high) << np.uint16(8))


@kernel
def load_u32(payload: U8, at: int) -> np.uint32:
    """Return the uint32 in payload[at:at + 4]."""
    first = np.uint64(at)
    word = np.uint32(0)
    for i in range(4):
        word |= np.uint32(payload[first + np.uint64(i)]) << np.uint32(8 * i)
    return word


@kernel
def load_u64(payload: U8, at: int) -> np.uint64:
    """Return the uint64 in payload[at:at + 8]."""
    first = np.uint64(at)
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(payload[first + np.uint64(i)]) << np.uint64(8 * i)
    return word


@kernel
def store_u16(out: U8, at: int, value: np.uint16) -> None:
    """out[at:at + 2] = value."""
    first = np.uint64(at)
    out[first] = np.uint8(value & np.uint16(0xFF))
    out[first + np.uint64(1)] = np.uint8(value >> np.uint16(8))


@kernel
def store_u32(out: U8, at: int, value: np.uint32) -> None:
    """out[at:at + 4] = value."""
    first = np.uint64(at)
    for i in range(4):
        out[first + np.uint64(i)] = np.uint8(value >> np.uint32(8 * i))


@kernel
def store_u64(out: U8, at: int, value: np.uint64) -> None:
    """out[at:at + 8] = value."""
    first = np.uint64(at)
    for i in range(8):
        out[first + np.uint64(i)] = np.uint8(value >> np.uint64(8 * i))


@kernel
def load_f32(payload: U8, at: int) -> float:
    """Return the float32 in payload[at:at + 4], widened to float64."""
    return np.float64(np.uint32(load_u32(payload, at)).view(np.float32))


@kernel
def load_f64(payload: U8, at: int) -> float:
    """Return the float64 in payload[at:at + 8]."""
    return np.uint64(load_u64(payload, at)).view(np.float64)  # type: ignore[no-any-return]


@kernel
def store_f32(out: U8, at: int, value: float) -> None:
    """out[at:at + 4] = value, rounded to float32."""
    store_u32(out, at, np.float32(value).view(np.uint32))


@kernel
def store_f64(out: U8, at: int, value: float) -> None:
    """out[at:at + 8] = value."""
    store_u64(out, at, np.float64(value).view(np.uint64))


# Numbers in the precision of a vector: which of two it is, kernels know when they are compiled.


def width(like: F64) -> int:
    """Return the bytes of a number of a vector, 4 or 8."""
    return like.itemsize


def load(payload: U8, at: int, like: F64) -> float:
    """Return the number at byte `at`, in the precision of `like`, widened to float64."""
    return float(payload[at : at + like.itemsize].copy().view(like.dtype)[0])


def store(out: U8, at: int, like: F64, value: float) -> None:
    """Write a number at byte `at` in the precision of `like`."""
    out[at : at + like.itemsize] = np.array([value], like.dtype).view(np.uint8)


@overload(width)
def _width(like):  # type: ignore[no-untyped-def]
    return (lambda like: 4) if like.dtype == types.float32 else (lambda like: 8)


@overload(load)
def _load(payload, at, like):  # type: ignore[no-untyped-def]
    if like.dtype == types.float32:
        return lambda payload, at, like: load_f32(payload, at)
    return lambda payload, at, like: load_f64(payload, at)


@overload(store)
def _store(out, at, like, value):  # type: ignore[no-untyped-def]
    if like.dtype == types.float32:
        return lambda out, at, like, value: store_f32(out, at, value)
    return lambda out, at, like, value: store_f64(out, at, value)


@kernel
def add_numbers(payload: U8, weight: float, acc: F64) -> int:
    """Add weight v to acc for the v at the start, in acc's precision; return the bytes or a status."""
    nbytes = width(acc) * acc.size
    if nbytes > payload.size:
        return TOO_SHORT
    largest = np.int64(0)
    for i in range(acc.size):
        largest = max(largest, magnitude(load(payload, width(acc) * i, acc)))
    if largest >= INFINITE:
        return NOT_FINITE
    for i in range(acc.size):
        acc[i] += weight * load(payload, width(acc) * i, acc)
    return nbytes


def accepted(status: int, payload: U8, d: int) -> int:
    """Return the byte count of a decoding kernel, or raise for its negative status.

    Raises
    ------
    MessageError
        A sentence without its end: `Agent` puts receiver, sender and iteration before it.
    """
    if status >= 0:
        return status
    raise MessageError(f"{_REASONS[status]} ({payload.size} bytes for {d} coordinates)")
