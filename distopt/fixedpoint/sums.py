"""Exact sums of products of codes: integers add without rounding, so any order or split gives the same."""

import numpy as np
from numpy.typing import NDArray

from distopt.core.arrays import I64
from distopt.core.kernel import kernel


@kernel
def dot(a: NDArray[np.integer], b: NDArray[np.integer]) -> int:
    """Return sum_i a_i b_i in int64."""
    total = np.int64(0)
    for i in range(a.size):
        total += np.int64(a[i]) * np.int64(b[i])
    return total  # type: ignore[return-value]


CHUNK = 1 << 16  # products of int8 whose sum always fits an int32: 2^14 2^16 = 2^30


@kernel
def matvec_int8(a: NDArray[np.int8], x: NDArray[np.int8], out: I64) -> None:
    """out = a x, for int8 both, with sums in int32 over chunks of columns."""
    rows, columns = a.shape
    for i in range(rows):
        total = np.int64(0)
        for start in range(0, columns, CHUNK):
            stop = min(start + CHUNK, columns)
            row = a[i, start:stop]
            part = x[start:stop]
            chunk = np.int32(0)
            for j in range(part.size):
                chunk = np.int32(chunk + np.int32(np.int32(row[j]) * np.int32(part[j])))
            total += chunk
        out[i] = total


@kernel
def matvec(a: NDArray[np.integer], x: NDArray[np.integer], out: I64) -> None:
    """out = a x in int64."""
    for i in range(a.shape[0]):
        out[i] = dot(a[i], x)


@kernel
def matvec_transposed(a: NDArray[np.integer], r: NDArray[np.integer], out: I64) -> None:
    """out = a' r in int64, row by row, so that `a` is read once and in order."""
    out[:] = 0
    for i in range(a.shape[0]):
        factor = np.int64(r[i])
        row = a[i]
        for j in range(row.size):
            out[j] += factor * np.int64(row[j])


@kernel
def look_up(
    table: NDArray[np.int32], codes: NDArray[np.integer], lowest: int, out: NDArray[np.int32]
) -> None:
    """out_i = table[codes_i - lowest]; the table covers every code of the format."""
    for i in range(codes.size):
        out[i] = table[np.int64(codes[i]) - lowest]
