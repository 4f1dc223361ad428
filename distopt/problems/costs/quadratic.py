"""Strongly convex quadratics with a known condition number and a known common minimum."""

import numpy as np

from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.core.workspace import ThreadWorkspace
from distopt.problems.costs.base import Family
from distopt.problems.costs.spectrum import (
    Basis,
    orthogonal,
    permutation,
    require_dense,
    singular_values,
)


@parameters("problem")
class Quadratic(Family):
    """f_i(x) = (1/2) (x - b_i)' A_i (x - b_i), A_i symmetric with eigenvalues 1 to `condition`.

    A_i = Q_i diag(eigenvalues) Q_i' with a random orthogonal Q_i of each agent (basis "dense"), or
    the eigenvalues themselves in an order of each agent ("diagonal"). b_i is normal with standard
    deviation `spread` in every entry; 0 gives all agents the minimiser 0. The minimum of the
    average is found by one linear solve (docs: costs, quadratic).
    """

    dimension: int = Field(default=20, ge=1)
    condition: float = Field(default=10.0, ge=1)
    spread: float = Field(default=1.0, ge=0)
    basis: Basis = "dense"

    def cost(self, agent: int, agents: int, seed: int) -> "QuadraticCost":
        d = self.dimension
        centre = self.spread * normal(make_key(seed, agent, Stream.CENTRE), d)
        eigenvalues = singular_values(d, self.condition)
        key = make_key(seed, agent, Stream.MATRIX)
        if self.basis == "diagonal":
            return QuadraticCost(eigenvalues[permutation(key, d)], centre, float(eigenvalues[-1]))
        require_dense(d)
        Q = orthogonal(key, d)
        A = (Q * eigenvalues) @ Q.T
        return QuadraticCost((A + A.T) / 2, centre, float(eigenvalues[-1]))

    def dimension_for(self, agents: int, seed: int) -> int:
        return self.dimension

    def minimum(self, agents: int, seed: int) -> float:
        first = self.cost(0, agents, seed)
        A, right = first.A.copy(), first.times(first.b)
        for i in range(1, agents):  # two passes over the agents, so one matrix is held at a time
            cost = self.cost(i, agents, seed)
            A += cost.A
            right += cost.times(cost.b)
        x = np.asarray(right / A if A.ndim == 1 else np.linalg.solve(A, right), np.float64)
        return sum(self.cost(i, agents, seed).value(x) for i in range(agents)) / agents


class QuadraticCost:
    """f(x) = (1/2) (x - b)' A (x - b), gradient A (x - b).

    Constants, exact: `smoothness` the largest eigenvalue of A, `lower_bound` 0.

    Parameters
    ----------
    A : float64[d, d] or float64[d]
        A symmetric positive semidefinite matrix, or its diagonal.
    b : float64[d]
    smoothness : float, optional
        The largest eigenvalue, where the caller knows it already.
    """

    lower_bound = 0.0

    def __init__(self, A: F64, b: F64, smoothness: float | None = None) -> None:
        self.A = A
        self.b = b
        self.dimension = b.size
        self.wide = A.ndim == 2  # as BLAS wants one precision
        self._work = ThreadWorkspace()
        if smoothness is None:
            smoothness = float(A.max() if A.ndim == 1 else np.linalg.norm(A, 2))
        self.smoothness = smoothness

    def times(self, v: F64) -> F64:
        """Return A v in a new array."""
        return self.A * v if self.A.ndim == 1 else self.A @ v

    def value(self, x: F64) -> float:
        product = self._work.array("product", x.size)
        self.gradient(x, product)
        return 0.5 * float(np.dot(self._work.array("shifted", x.size), product))

    def gradient(self, x: F64, out: F64) -> None:
        shifted = np.subtract(x, self.b, out=self._work.array("shifted", x.size))
        if self.A.ndim == 1:
            np.multiply(self.A, shifted, out=out)
        else:
            np.dot(self.A, shifted, out=out)

    def hvp(self, x: F64, v: F64, out: F64) -> None:
        np.copyto(out, self.times(v))
