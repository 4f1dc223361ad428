"""A sketch of a vector: a few numbers whose squares add up to about its own."""

import numpy as np

from distopt.core.arrays import F64, U32
from distopt.core.kernel import kernel
from distopt.core.randomness import make_key, words
from distopt.core.streams import Stream

WIDTH = 32  # numbers; the relative deviation of the squares is (2 / WIDTH)^(1/2), a quarter


def signs_for(d: int) -> U32:
    """Return random signs for d coordinates, a bit each, the same for all agents."""
    return words(make_key(0, 0, Stream.SKETCH), -(-d // WIDTH))


@kernel
def fill_sketch(x: F64, signs: U32, out: F64) -> None:
    """out[b] = sum of the coordinates b, b + 32, b + 64, ... of x : float64[d], with random signs.

    It is linear in x, and E ||out||^2 = ||x||^2.
    """
    out[:] = 0.0
    whole = x.size // 32
    for w in range(whole):
        bits = signs[w]
        for b in range(32):
            out[b] += x[32 * w + b] * (1.0 - 2.0 * ((bits >> np.uint32(b)) & np.uint32(1)))
    for b in range(x.size - 32 * whole):
        out[b] += x[32 * whole + b] * (1.0 - 2.0 * ((signs[whole] >> np.uint32(b)) & np.uint32(1)))


def stationarity_of(models: F64, gradients: F64) -> float:
    """Guess P from sketches : float64[agents, WIDTH] of all x_i and grad f_i(x_i), to the bit on any host.

    ||grad f(xbar)||^2 is taken for ||(1/n) sum_i grad f_i(x_i)||^2, which differ by the consensus error.
    """
    n = len(models)
    mean, gradient = np.zeros(WIDTH), np.zeros(WIDTH)
    for x, g in zip(models, gradients, strict=True):
        mean += x
        gradient += g
    mean, gradient = mean / n, gradient / n
    consensus = sum(sum(((x - mean) ** 2).tolist()) for x in models) / n
    return float(sum((gradient**2).tolist()) + consensus)
