"""zest: zooming exact sums over a spanning tree, a quasi-Newton step at its root."""

from typing import Any, ClassVar, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.along_tree import (
    HEAD_NBYTES,
    Branches,
    Broadcast,
    Place,
)
from distopt.algorithms.base import AUTO, Algorithm, Positive, Step
from distopt.algorithms.letter import NOTHING
from distopt.algorithms.quasi_newton import ROUNDING, GradientStep, QuasiNewton
from distopt.algorithms.state import State, View
from distopt.compressors.base import Absolute, Compressor, Guarantee
from distopt.core.arrays import F64, U8
from distopt.core.errors import ConfigError
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import Steps


@parameters("algorithm")
class Zest(Algorithm):
    """Zooming exact sums over a spanning tree (ours, measured; form = "gradient" proven); docs: zest.

    From the leaves to the root, agent i with the children c:

        T = g + sum_c S_c
        pi = S + b dx;  q = C((T - pi) / Delta_u)                        sent to the parent
        S' = pi + Delta_u q;  w = (S' - S).dx / dx.dx;  b = (b + w) / 2;  S = S'      at both ends

    At the root, and back to all:

        G = (g + sum_c S_c) / n
        p = -H G, or -eta G;  q = C(p / Delta_d)                         sent to the children
        dx = Delta_d q;  x = x + dx;  g = g(x)

    All agents hold the same bits of x. Both steps of the grids shrink with G and p; the root chooses them.
    """

    eta: Positive = AUTO  # of the first step -eta G, or of all
    form: Literal["newton", "gradient"] = "newton"
    hessian: Literal["pairs", "own"] = "pairs"  # first matrix of L-BFGS

    vectors = 1
    needs: ClassVar[type[Guarantee] | None] = Absolute
    compressor: ClassVar[str] = "uniform"
    coding: ClassVar[dict[str, Any]] = {"entropy": "range", "inset": 0.08, "alone": True}

    def __post_init__(self) -> None:
        if self.form == "gradient" and self.hessian == "own":
            raise ConfigError(
                'algorithm.hessian = "own" cannot be combined with algorithm.form = "gradient"; accepted '
                'there: "pairs".'
            )

    def choose(self, facts: Facts) -> Self:
        L = facts.mean_smoothness or facts.require_smoothness("algorithm.eta")
        return self.with_numbers(eta=(0.5 if self.form == "gradient" else 1.0) / L)

    def steps(self) -> Steps | None:
        if self.form == "newton":
            return None
        return Steps("V4", Absolute, self.eta, 1.0, rounding_up=ROUNDING, rounding_down=ROUNDING)

    def max_nbytes(self, compressor: Compressor, d: int) -> int:
        return max(HEAD_NBYTES + compressor.max_nbytes(d), 8 * d)

    def init(self, agent: Agent, x0: F64) -> State:
        d, s = agent.dimension, State()
        if agent.batches is not None and self.form == "newton":
            raise ConfigError(
                'algorithm.form = "newton" needs exact gradients, but run.batch is not 0; accepted with '
                'mini-batches: "gradient".'
            )
        place = Place(agent)
        s.keep(x=x0.copy(), dx=np.zeros(d), g=np.empty(d))
        s.keep(sums=Branches(agent, place), down=Broadcast(agent, place))
        if place.root:
            own = self.hessian == "own"
            newton = self.form == "newton"
            s.keep(
                root=QuasiNewton(agent, self.eta, own) if newton else GradientStep(agent, self.eta)
            )
        s.work(place=place, T=np.empty(d), p=np.empty(d))
        agent.gradient(s.x, out=s.g)
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        """Take the root's start point where they differ."""
        if not facts.same_start:
            point = yield from s.place.down(s.x.view(np.uint8))
            s.down.read_point(point, s.x)
            agent.gradient(s.x, out=s.g)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        sums, down = s.sums, s.down

        def hear(child: int, message: U8) -> None:
            sums.below[child].take(message, down.grid_up, s.dx, down.age)

        def speak() -> U8:
            sums.add(s.g, out=s.T)
            return sums.encode(s.T, down.grid_up, s.dx, down.age)  # type: ignore[no-any-return]

        yield from s.place.up(hear, speak)
        message = self.decide(agent, s) if s.place.root else NOTHING
        message = yield from s.place.down(message)
        down.read(message, out=s.dx)
        s.x += s.dx
        agent.gradient(s.x, out=s.g)

    def decide(self, agent: Agent, s: State) -> U8:
        """Choose p and both grids, at the root."""
        s.sums.add(s.g, out=s.T)
        G = np.divide(s.T, agent.topology.agents, out=s.T)
        grids = s.root.choose(s.x, G, s.dx, s.p, s.down.age)
        agent.require_finite("step", s.p)
        return s.down.encode(s.p, *grids)  # type: ignore[no-any-return]

    def view(self, s: State) -> View:
        copies = {"the sum of the gradients": s.sums.copies()}
        direction = s.root.numbers.direction if s.place.root else 0.0
        return View(s.x, gradient=s.g, common=s.x, squared_direction=direction, copies=copies)
