"""Costs whose gradients are exact in integers, for descent in fixed point: functions given by formulas.

f is a sum of terms, which are dealt out to the agents in order: f_i is n times the terms of agent i, so
f = (1/n) sum_i f_i for every n. `integer` gives an agent's part of f on codes; the parts add up
to the gradient of f, to the bit, for any number of agents.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np

from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.fixedpoint.format import Format
from distopt.fixedpoint.problems import (
    DiagonalQuadratic,
    Himmelblau,
    IntegerProblem,
    Rosenbrock,
    terms_of,
)
from distopt.problems.costs.base import Cost, Family

FINEST = Format(16, 16)  # the format in which the float64 side of a cost takes x to be written
CENTER_BITS = 16


@parameters("problem")
class Diagonal(Family):
    """f(x) = sum_j a_j (x_j - c_j)^2 / 2, curvatures 2^-s to 1, exact f* = 0; term j is coordinate j.

    a_j = 2^(-s u_j) with u_j uniform on [0, 1), but a_0 = 1 and a_1 = 2^-s, so that L = 1 and mu = 2^-s;
    `spread` = s, 0 for the isotropic quadratic. Minimiser and start are uniform in [-box, box], seeded,
    the same for all agents: the minimiser on the grid 2^-16, curvatures on 2^-16, the start on `grid`.
    """

    dimension: Annotated[int, Field(ge=1)] = 100
    spread: Annotated[float, Field(ge=0, le=15)] = 4.0  # log2 of the condition number
    # Of minimiser and start, in every coordinate.
    box: Annotated[float, Field(gt=0, le=2**15)] = 2.4
    grid: Annotated[int, Field(ge=0, le=16)] = 5  # fraction bits of the start

    def cost(self, agent: int, agents: int, seed: int) -> Cost:
        u = uniform(make_key(seed, 0, Stream.DIAGONAL), 3 * self.dimension).reshape(3, -1)
        a = 2.0 ** (-self.spread * u[0])
        a[0] = 1.0
        if self.dimension > 1:
            a[1] = 2.0**-self.spread
        center = self.box * (2 * u[1] - 1)
        terms = terms_of(agent, agents, self.dimension)
        start = np.rint(self.box * (2 * u[2] - 1) * 2.0**self.grid) * 2.0**-self.grid
        return DiagonalCost(a, center, terms, agents, start)

    def dimension_for(self, agents: int, seed: int) -> int:
        return self.dimension

    def minimum(self, agents: int, seed: int) -> float:
        return 0.0


class DiagonalCost:
    """One agent's f_i of `Diagonal`. Exact: `smoothness` n max a over its terms, `lower_bound` 0."""

    lower_bound = 0.0

    def __init__(
        self, a: F64, center: F64, terms: tuple[int, int], agents: int, start: F64
    ) -> None:
        self._given = a, center, CENTER_BITS, terms
        exact = self.integer(FINEST)
        self.dimension, self.start = a.size, start
        self.center = exact.center
        self.a = np.zeros(a.size)
        self.a[terms[0] : terms[1]] = agents * exact.a[terms[0] : terms[1]]
        self.smoothness = float(self.a.max())

    def integer(self, format: Format) -> DiagonalQuadratic:
        """Return the agent's terms of f on codes."""
        return DiagonalQuadratic(format, *self._given)

    def value(self, x: F64) -> float:
        return float(((x - self.center) ** 2) @ self.a) / 2

    def gradient(self, x: F64, out: F64) -> None:
        np.subtract(x, self.center, out=out)
        out *= self.a

    def values(self, x: F64, out: F64) -> None:
        """out = f_i at each row."""
        out[:] = ((x - self.center) ** 2) @ self.a / 2

    gradients = gradient

    def hvp(self, x: F64, v: F64, out: F64) -> None:
        np.multiply(self.a, v, out=out)


class TwoTerms(Family):
    """The base of functions of two unknowns and two terms."""

    problem: Callable[..., Himmelblau | Rosenbrock]

    def cost(self, agent: int, agents: int, seed: int) -> Cost:
        return TwoTermsCost(type(self).problem, terms_of(agent, agents, 2), agents)

    def dimension_for(self, agents: int, seed: int) -> int:
        return 2

    def minimum(self, agents: int, seed: int) -> float:
        return 0.0


@parameters("problem")
class HimmelblauFamily(TwoTerms):
    """f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2, nonconvex, four minima of value 0; two terms."""

    problem = Himmelblau


@parameters("problem")
class RosenbrockFamily(TwoTerms):
    """f(x, y) = 100 (y - x^2)^2 + (1 - x)^2, nonconvex, minimum 0 at (1, 1); two terms."""

    problem = Rosenbrock


class TwoTermsCost:
    """One agent's f_i: n times its terms. No smoothness constant holds everywhere; `lower_bound` 0."""

    dimension = 2
    lower_bound = 0.0
    wide = True

    def __init__(
        self, make: Callable[..., Himmelblau | Rosenbrock], terms: tuple[int, int], agents: int
    ) -> None:
        self._make, self._terms, self._agents = make, terms, agents
        self._part = make(Format(8, 8), terms)

    def integer(self, format: Format) -> IntegerProblem:
        """Return the agent's terms of f on codes."""
        return self._make(format, self._terms)

    def value(self, x: F64) -> float:
        return self._agents * float(self._part.value(x[None])[0])

    def gradient(self, x: F64, out: F64) -> None:
        self.gradients(x[None], out[None])

    def values(self, x: F64, out: F64) -> None:
        """out = f_i at each row."""
        np.multiply(self._part.value(x), self._agents, out=out)

    def gradients(self, x: F64, out: F64) -> None:
        """out = the gradient at each row."""
        self._part.slope(x, out)
        out *= self._agents
