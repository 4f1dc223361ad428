"""Nonconvex costs whose average is PL (Polyak-Lojasiewicz) and has a known minimum."""

from functools import lru_cache

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.kernel import kernel
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.core.workspace import ThreadWorkspace
from distopt.problems.costs.base import Family
from distopt.problems.costs.spectrum import Basis, orthogonal, require_dense, singular_values

GRID = 2.0**-40  # coefficients are whole multiples of it, so that they add up without rounding


@parameters("problem")
class PL(Family):
    """f_i(x) = sum_l (1 + a_il) z_l^2 + 3 (1 + b_il) sin^2 z_l + c_il sin z_l + e_il z_l, z = U x.

    The coefficients sum to zero over the agents, exactly, so that (docs: costs, pl)

        f(x) = (1/n) sum_i f_i(x) = sum_l z_l^2 + 3 sin^2 z_l,   min f = f(0) = 0 (exact).

    f is nonconvex but PL with the constant smallest singular value of U squared over 32 (exact for
    the scalar function by Karimi, Nutini and Schmidt, hence a bound here): 1/32, as the singular
    values of U run from 1 to `condition`. The f_i are nonconvex and their minimisers differ.
    """

    dimension: int = Field(default=20, ge=1)
    condition: float = Field(default=2.0, ge=1)
    basis: Basis = "dense"
    a: float = Field(default=0.5, ge=0)
    b: float = Field(default=0.5, ge=0)
    c: float = Field(default=2.0, ge=0)
    e: float = Field(default=2.0, ge=0)

    def cost(self, agent: int, agents: int, seed: int) -> "PLCost":
        """Build one agent's cost; those of a process share U, and O(agents dimension) work."""
        rows = self._coefficients(agent, agents, seed)
        if self.basis == "diagonal":
            return PLCost(*diagonal_map(self.dimension, self.condition), rows)
        require_dense(self.dimension)
        return PLCost(*dense_map(self.dimension, self.condition, seed), rows)

    def dimension_for(self, agents: int, seed: int) -> int:
        return self.dimension

    def minimum(self, agents: int, seed: int) -> float:
        return 0.0

    def _coefficients(self, agent: int, agents: int, seed: int) -> F64:
        """Return the rows a_i, b_i, c_i, e_i of one agent, float64[4, d]."""
        rows = np.empty((4, self.dimension))
        for kind, size in enumerate((self.a, self.b, self.c, self.e)):
            total = total_of_all(kind, size, self.dimension, agents, seed)
            own = draw(kind, size, self.dimension, agent, seed)
            rows[kind] = (own - share(total, agent, agents)) * GRID
        return rows


@lru_cache(maxsize=1)
def diagonal_map(d: int, condition: float) -> tuple[F64, float]:
    """Return the diagonal of U, float64[d], and its 2-norm; all agents share it."""
    U = singular_values(d, condition)
    U.flags.writeable = False
    return U, float(np.abs(U).max())


@lru_cache(maxsize=1)
def dense_map(d: int, condition: float, seed: int) -> tuple[F64, float]:
    """Return U = Q1 diag(s) Q2 with orthogonal Q, float64[d, d], and its 2-norm; all agents share it."""
    left = orthogonal(make_key(seed, 0, Stream.BASIS, 0), d)
    right = orthogonal(make_key(seed, 0, Stream.BASIS, 1), d)
    U = np.ascontiguousarray((left * singular_values(d, condition)) @ right)
    U.flags.writeable = False
    return U, float(np.linalg.norm(U, 2))


def draw(kind: int, size: float, d: int, agent: int, seed: int) -> I64:
    """Uniform numbers in [-size, size] in units of `GRID`, int64[d]."""
    key = make_key(seed, agent, Stream.COEFFICIENTS, kind)
    return np.rint((2 * uniform(key, d) - 1) * (size / GRID)).astype(np.int64)


@lru_cache(maxsize=4)
def total_of_all(kind: int, size: float, d: int, agents: int, seed: int) -> I64:
    """Return the sum of the numbers of all agents, int64[d]."""
    total = np.zeros(d, np.int64)
    for agent in range(agents):
        total += draw(kind, size, d, agent, seed)
    total.flags.writeable = False
    return total


def share(total: I64, agent: int, agents: int) -> I64:
    """Split whole numbers into `agents` whole parts that differ by at most one; return one part."""
    part, rest = np.divmod(total, agents)
    return part + (agent < rest)


class PLCost:
    """One agent's f_i of `PL`.

    Gradient: U' h(z) with h_l = 2 (1 + a_l) z_l + 3 (1 + b_l) sin 2 z_l + c_l cos z_l + e_l.
    Constants: `smoothness` is a bound, ||U||^2 max_l (|2 (1 + a_l)| + 6 |1 + b_l| + |c_l|);
    `lower_bound` is a bound, there where all 1 + a_l > 0. `start` is the vector of ones, because
    zero is the minimiser of the average.

    Parameters
    ----------
    U : float64[d, d] or float64[d]
        The linear map, or its diagonal.
    norm : float
        Its 2-norm.
    coefficients : float64[4, d]
        Rows a, b, c, e.
    """

    def __init__(self, U: F64, norm: float, coefficients: F64) -> None:
        self.U = U
        self.coefficients = coefficients
        a, b, c, e = coefficients
        d = self.dimension = a.size
        self.start = np.ones(d)
        self.smoothness = norm**2 * float((2 * abs(1 + a) + 6 * abs(1 + b) + abs(c)).max())
        if (a > -1).all():
            # Each term at its lowest: a parabola, 3 (1 + b) sin^2, c sin.
            lowest = -(e**2) / (4 * (1 + a)) + np.minimum(3 * (1 + b), 0) - abs(c)
            self.lower_bound = float(lowest.sum())
        self.wide = U.ndim == 2  # as BLAS wants one precision
        self._work = ThreadWorkspace()

    def value(self, x: F64) -> float:
        return float(pl_value(self._forward(x), self.coefficients))

    def gradient(self, x: F64, out: F64) -> None:
        if self.U.ndim == 1:
            pl_gradient_diagonal(x, self.U, self.coefficients, out)
            return
        slope = self._work.array("slope", x.size)
        pl_slope(self._forward(x), self.coefficients, slope)
        np.dot(slope, self.U, out=out)

    def hvp(self, x: F64, v: F64, out: F64) -> None:
        curvature = self._work.array("slope", x.size)
        pl_curvature(self._forward(x), self.coefficients, curvature)
        if self.U.ndim == 1:
            np.multiply(curvature, self.U**2 * v, out=out)
        else:
            np.dot(curvature * (self.U @ v), self.U, out=out)

    def _forward(self, x: F64) -> F64:
        """Return z = U x, in a work array."""
        z: F64 = self._work.array("z", x.size)
        return np.multiply(self.U, x, out=z) if self.U.ndim == 1 else np.dot(self.U, x, out=z)


@kernel
def pl_value(z: F64, coefficients: F64) -> float:
    """sum_l (1 + a_l) z_l^2 + 3 (1 + b_l) sin^2 z_l + c_l sin z_l + e_l z_l."""
    total = 0.0
    for k in range(z.size):
        s = np.sin(z[k])
        a, b, c, e = coefficients[0, k], coefficients[1, k], coefficients[2, k], coefficients[3, k]
        total += ((1 + a) * z[k] + e) * z[k] + (3 * (1 + b) * s + c) * s
    return total


@kernel
def pl_slope(z: F64, coefficients: F64, out: F64) -> None:
    """out_l = 2 (1 + a_l) z_l + 3 (1 + b_l) sin 2 z_l + c_l cos z_l + e_l."""
    for k in range(z.size):
        s, co = np.sin(z[k]), np.cos(z[k])
        a, b, c, e = coefficients[0, k], coefficients[1, k], coefficients[2, k], coefficients[3, k]
        out[k] = 2 * (1 + a) * z[k] + (6 * (1 + b) * s + c) * co + e


@kernel
def pl_gradient_diagonal(x: F64, u: F64, coefficients: F64, out: F64) -> None:
    """out_l = u_l h_l(u_l x_l), with h as in `pl_slope`, in one pass."""
    for k in range(x.size):
        z = u[k] * x[k]
        s, co = np.sin(z), np.cos(z)
        a, b, c, e = coefficients[0, k], coefficients[1, k], coefficients[2, k], coefficients[3, k]
        out[k] = u[k] * (2 * (1 + a) * z + (6 * (1 + b) * s + c) * co + e)


@kernel
def pl_curvature(z: F64, coefficients: F64, out: F64) -> None:
    """out_l = 2 (1 + a_l) + 6 (1 + b_l) cos 2 z_l - c_l sin z_l."""
    for k in range(z.size):
        a, b, c = coefficients[0, k], coefficients[1, k], coefficients[2, k]
        out[k] = 2 * (1 + a) + 6 * (1 + b) * np.cos(2 * z[k]) - c * np.sin(z[k])
