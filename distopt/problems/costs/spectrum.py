"""Matrices with chosen singular values, dense or diagonal, for the synthetic costs."""

from typing import Literal, TypeAlias

import numpy as np

from distopt.core.arrays import F64, U32
from distopt.core.errors import ConfigError
from distopt.core.randomness import normal, words

Basis: TypeAlias = Literal["dense", "diagonal"]

DENSE = 4096  # dimension up to which a dense basis is made: 128 MiB of float64


def require_dense(d: int) -> None:
    """Refuse a dense basis of a dimension at which it would take minutes and gigabytes."""
    if d > DENSE:
        raise ConfigError(
            f'problem.basis = "dense" needs problem.dimension <= {DENSE}, not {d}; '
            'set problem.basis = "diagonal".'
        )


def singular_values(d: int, condition: float) -> F64:
    """Return d numbers from 1 to `condition`, evenly spaced in their logarithm, ascending."""
    if d == 1:
        return np.ones(1)
    values = np.exp(np.linspace(0.0, np.log(condition), d))
    values[-1] = condition
    return values


def orthogonal(key: U32, d: int) -> F64:
    """Return a random orthogonal matrix, float64[d, d] (QR of a normal one, signs made unique)."""
    q, r = np.linalg.qr(normal(key, d * d).reshape(d, d))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def permutation(key: U32, count: int) -> np.ndarray:
    """Return a random order of 0 .. count - 1, int64[count]."""
    # 64 bits a sample: ties are as good as impossible, and the stable sort settles them anyway.
    pairs = words(key, 2 * count).astype(np.uint64)
    return np.argsort((pairs[:count] << np.uint64(32)) | pairs[count:], kind="stable")
