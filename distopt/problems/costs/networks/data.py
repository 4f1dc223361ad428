"""Samples (y, x) of sparse recovery, y = A x + noise: synthetic signals and patches of real images.

Sample s is a pure function of (seed, s), so an agent makes its own samples only.
"""

import math
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError, DataError
from distopt.core.randomness import make_key, normal, uniform, words
from distopt.core.streams import Stream
from distopt.problems.costs.spectrum import orthogonal

Data: TypeAlias = Literal["synthetic", "patches"]
Dictionary: TypeAlias = Literal["dct", "random"]


HELD_OUT = 1 << 31  # number of the first sample that no training set uses


def share(samples: int, agents: int, agent: int) -> I64:
    """Return the numbers of one agent's samples, at least one; sizes differ by at most one."""
    if samples < agents:
        raise DataError(
            f"problem.samples = {samples} are too few for {agents} agents; accepted: at least "
            f"{agents}."
        )
    return np.array_split(np.arange(samples), agents)[agent]


def sensing(m: int, n: int, seed: int) -> F64:
    """Return A, float64[n, m], with entries uniform on [-1, 1], scaled to Frobenius norm sqrt(m)."""
    A: F64 = 2.0 * uniform(make_key(seed, 0, Stream.SENSING), n * m).reshape(n, m) - 1.0
    A *= np.sqrt(m) / np.linalg.norm(A)
    return A


def measure(X: F64, A: F64, index: I64, seed: int, sparsity: float, snr: float) -> F64:
    """Return A x + noise for each row x, float64[T, n].

    The noise is normal with the same deviation in all samples, `snr` decibels below the root mean
    square of A x for targets of mean square `sparsity`.
    """
    n, m = A.shape
    deviation = np.sqrt(sparsity * m / n) * 10.0 ** (-snr / 20.0)
    noise = [normal(make_key(seed, 0, Stream.NOISE, int(s)), n) for s in index]
    noisy: F64 = X @ A.T + deviation * np.reshape(noise, (index.size, n))
    return noisy


def bernoulli_gaussian(m: int, index: I64, seed: int, sparsity: float) -> F64:
    """Return targets, float64[T, m]: N(0, 1) with probability `sparsity`, else 0; never all 0."""
    X = np.empty((index.size, m))
    for row, s in enumerate(index):
        dice = uniform(make_key(seed, 0, Stream.SUPPORT, int(s)), m)
        chosen = dice < sparsity
        chosen[np.argmin(dice)] = True
        X[row] = chosen * normal(make_key(seed, 0, Stream.ENTRIES, int(s)), m)
    return X


@lru_cache(maxsize=1)
def images() -> tuple[F64, ...]:
    """Return the grey values of the two photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_image

    return tuple(
        np.asarray(load_sample_image(name), np.float64).mean(axis=2)
        for name in ("china.jpg", "flower.jpg")
    )


def side(m: int) -> int:
    """Return the side of a square patch of m pixels."""
    root = math.isqrt(m)
    if root * root != m:
        raise ConfigError(
            f'problem.m = {m} is not a square, which problem.data = "patches" needs; '
            f"accepted near it: {root * root} and {(root + 1) ** 2}."
        )
    return root


def patches(m: int, index: I64, seed: int) -> F64:
    """Return the pixels of random square patches without their means, float64[T, m]."""
    edge = side(m)
    pictures = images()
    most = min(min(picture.shape) for picture in pictures)
    if edge > most:
        raise ConfigError(
            f"problem.m = {m} makes patches of {edge} x {edge} pixels, larger than the images; "
            f"accepted: at most {most**2}."
        )
    out = np.empty((index.size, m))
    for row, s in enumerate(index):
        which, down, right = words(make_key(seed, 0, Stream.PATCH, int(s)), 3).tolist()
        picture = pictures[which % len(pictures)]
        top, left = (
            word % (size - edge + 1)
            for word, size in zip((down, right), picture.shape, strict=True)
        )
        out[row] = picture[top : top + edge, left : left + edge].ravel()
        out[row] -= out[row].mean()
    return out


def dictionary(kind: Dictionary, m: int, seed: int) -> F64:
    """Return an orthogonal matrix B, float64[m, m]; a patch is B x with the target x.

    ``"dct"``: products of cosines, the two-dimensional discrete cosine transform of type II.
    ``"random"``: a random orthogonal matrix.
    """
    if kind == "random":
        return orthogonal(make_key(seed, 0, Stream.DICTIONARY), m)
    edge = side(m)
    grid = np.arange(edge)
    cosines = np.cos(np.pi * (grid[:, None] + 0.5) * grid / edge) * np.sqrt(2.0 / edge)
    cosines[:, 0] /= np.sqrt(2.0)
    return np.kron(cosines, cosines)


@lru_cache(maxsize=4)
def patch_unit(m: int, sparsity: float) -> float:
    """Return the number by which patches are divided so that targets have mean square `sparsity`.

    Computed from 2000 patches of a separate stream: the same for all agents and every `problem.seed`.
    """
    return float(
        np.sqrt(np.mean(patches(m, np.arange(HELD_OUT, HELD_OUT + 2000), 0) ** 2) / sparsity)
    )


def patch_targets(m: int, index: I64, seed: int, sparsity: float, kind: Dictionary) -> F64:
    """Return the coefficients of random patches in a dictionary, float64[T, m]."""
    return patches(m, index, seed) @ dictionary(kind, m, seed) / patch_unit(m, sparsity)
