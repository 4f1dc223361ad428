"""Tables of signed samples B = diag(b) A, dense or sparse, and their products with vectors."""

from copy import copy
from typing import Any

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.kernel import kernel
from distopt.core.workspace import ThreadWorkspace


def make_table(rows: Any, signs: F64) -> "Dense | Sparse":
    """Make the table with rows b_s a_s of float64[m, d] or of a scipy CSR array of that shape."""
    if isinstance(rows, np.ndarray):
        return Dense(np.ascontiguousarray(rows * signs[:, None]))
    return Sparse(rows, signs)


def append_ones(rows: Any) -> Any:
    """Append a column of ones to a dense or CSR table."""
    if isinstance(rows, np.ndarray):
        return np.column_stack([rows, np.ones(len(rows))])
    from scipy.sparse import csr_array, hstack

    return hstack([rows, csr_array(np.ones((rows.shape[0], 1)))], format="csr")


class Dense:
    """The matrix B with rows b_s a_s, float64[m, d]."""

    def __init__(self, B: F64) -> None:
        self.B = B
        self.shape = B.shape
        self._work = ThreadWorkspace()

    def take(self, index: I64) -> "Dense":
        """Return the table of the rows `index`; valid until the next call."""
        part = self._work.array("part", (index.size, self.shape[1]))
        np.take(self.B, index, axis=0, out=part, mode="clip")  # "raise" would make a new array
        return Dense(part)

    def times(self, x: F64, out: F64) -> None:
        """Write out[m] = B x."""
        np.dot(self.B, x, out=out)

    def transposed_times(self, c: F64, out: F64) -> None:
        """Write out[d] = B'c."""
        np.dot(c, self.B, out=out)

    def norm(self) -> float:
        """||B||_2, which is ||A||_2."""
        gram = self.B @ self.B.T if self.shape[0] < self.shape[1] else self.B.T @ self.B
        return float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)))


class Sparse:
    """The same matrix as three arrays of compressed rows, or some of its rows."""

    def __init__(self, rows: Any, signs: F64) -> None:
        self.values = np.asarray(rows.data * np.repeat(signs, np.diff(rows.indptr)))
        self.columns = np.asarray(rows.indices, np.int64)
        self.ends = np.asarray(rows.indptr, np.int64)
        self.index = np.arange(rows.shape[0])
        self.shape = rows.shape

    def take(self, index: I64) -> "Sparse":
        """Return the table of the rows `index`, which stay where they are."""
        part = copy(self)
        part.index, part.shape = index, (index.size, self.shape[1])
        return part

    def times(self, x: F64, out: F64) -> None:
        """Write out[m] = B x."""
        sparse_times(self.values, self.columns, self.ends, self.index, x, out)

    def transposed_times(self, c: F64, out: F64) -> None:
        """Write out[d] = B'c."""
        sparse_transposed_times(self.values, self.columns, self.ends, self.index, c, out)

    def norm(self) -> float:
        """||B||_2 by Lanczos iteration, raised by its tolerance."""
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import svds

        B = csr_array((self.values, self.columns, self.ends), shape=self.shape)
        if min(self.shape) < 3:
            return float(np.linalg.norm(B.toarray(), 2))
        v0 = np.ones(min(self.shape))
        largest = svds(B, k=1, v0=v0, tol=1e-7, return_singular_vectors=False)
        return float(largest[0]) * (1 + 1e-6)


@kernel
def sparse_times(values: F64, columns: I64, ends: I64, index: I64, x: F64, out: F64) -> None:
    """out = B[index] x for compressed rows; ends[s] : ends[s + 1] are the entries of row s."""
    for j in range(index.size):
        total = 0.0
        for at in range(ends[index[j]], ends[index[j] + 1]):
            total += values[at] * x[columns[at]]
        out[j] = total


@kernel
def sparse_transposed_times(
    values: F64, columns: I64, ends: I64, index: I64, c: F64, out: F64
) -> None:
    """out = B[index]'c for compressed rows."""
    for k in range(out.size):
        out[k] = 0.0
    for j in range(index.size):
        for at in range(ends[index[j]], ends[index[j] + 1]):
            out[columns[at]] += values[at] * c[j]
