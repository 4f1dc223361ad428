"""Compressed gradient tracking for compressors with a globally bounded absolute error."""

from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import ArithmeticField
from distopt.algorithms.base import AUTO, Fraction, Positive, Rate, Step
from distopt.algorithms.control import as_numbers
from distopt.algorithms.memory import MemoryKind
from distopt.algorithms.state import State, View
from distopt.algorithms.tracking import CompressedTracking
from distopt.algorithms.updates import difference
from distopt.compressors.base import Absolute, Guarantee
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import mixing_step, scale_factor, tracking_step


@parameters("algorithm")
class CompressedTracking2(CompressedTracking):
    """Compressed gradient tracking for class 2, bounded absolute compression error.

    The error is scaled down together with the differences, s_k = s0 mu^k, known to all and never
    sent. Agent i, iteration k (docs: cgt2; derived there):

        qx = C((x - hx) / sx),  qy = C((y - hy) / sy)                    sent to all neighbours
        h_j += s q_j for all members j;  mixed_x = sum_j W_ij (hx_j - hx_i)         (y alike)
        x+ = x + gamma mixed_x - eta y
        y+ = y + gamma mixed_y + g(x+) - g(x)
        s+ = max(mu s, s_min)
    """

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    s0x: Positive = AUTO  # first scale of x; "auto" costs one max-consensus at the start
    s0y: Positive = AUTO  # first scale of y
    mu: Rate = AUTO  # factor of the scales an iteration
    s_min: Annotated[float, Field(gt=0)] = 1e-14  # floor of the scales
    memory: MemoryKind = "replicas"
    arithmetic: ArithmeticField = None  # of the section [arithmetic]; float64 without it

    needs: ClassVar[type[Guarantee] | None] = Absolute
    lyapunov: ClassVar[str | None] = "V2"
    pilot = True
    overlaps = True

    flattest: ClassVar[float] = 3.0  # share of the flattest curvature in the rule for mu

    def choose(self, facts: Facts) -> Self:
        mixing = self.with_numbers(gamma=mixing_step(facts, self.unknown(facts)))
        steps = mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))
        return steps.with_numbers(
            mu=scale_factor(facts, steps.eta, steps.gamma, share=self.flattest)
        )

    def unknown(self, facts: Facts) -> float:
        """Return the lag of the memories for the rule for gamma."""
        return 0.0

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(sx=np.ones(1), sy=np.ones(1))
        s.work(dx=np.empty_like(x0), dy=np.empty_like(x0))
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        largest = np.array([np.abs(s.x).max(), np.abs(s.y).max()], np.float64)
        if AUTO in (self.s0x, self.s0y):
            yield from max_consensus(agent, largest, facts.diameter)
        s.sx[0] = self.first_scale_x(*largest) if self.s0x == AUTO else self.s0x
        s.sy[0] = self.first_scale_y(*largest) if self.s0y == AUTO else self.s0y

    def started(self, s: State) -> Self:
        return self.with_numbers(s0x=float(s.sx[0]), s0y=float(s.sy[0]))

    def first_scale_x(self, largest_x: float, largest_g: float) -> float:
        """Return s0x from max |x_i0| and max |g_i(x_0)| over all agents and coordinates."""
        return max(largest_x, self.eta * largest_g, self.s_min)

    def first_scale_y(self, largest_x: float, largest_g: float) -> float:
        """Return s0y from max |x_i0| and max |g_i(x_0)| over all agents and coordinates."""
        return max(largest_g, self.s_min)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        sx, sy = float(s.sx[0]), float(s.sy[0])
        reach_x = difference(s.x, s.hx.own, sx, s.dx)
        reach_y = difference(s.y, s.hy.own, sy, s.dy)
        self.observe_reach(s, reach_x, reach_y)
        received = yield agent.pack(k, x=s.dx, y=s.dy)
        agent.mix(received, s.hx, s.hy, scales=(sx, sy))
        self.descend(s, s.hx.mixed, s.y)
        agent.gradient(s.x, out=s.g_next)
        yield from agent.rest()
        self.track(s, s.hy.mixed)
        self.shrink(s)

    def shrink(self, s: State) -> None:
        """s+ = max(mu s, s_min)."""
        # Repeated multiplication: pow() differs between math libraries, and both ends must agree.
        s.sx[0] = max(self.mu * float(s.sx[0]), self.s_min)
        s.sy[0] = max(self.mu * float(s.sy[0]), self.s_min)

    def observe_reach(self, s: State, reach_x: float, reach_y: float) -> None:
        """Note the largest entries that are about to be compressed."""

    def view(self, s: State) -> View:
        return replace(super().view(s), squared_scales=float(s.sx[0] ** 2 + s.sy[0] ** 2))


def max_consensus(agent: Agent, numbers: F64, rounds: int) -> Step:
    """Replace each number by its maximum over all agents; `rounds` >= the diameter of the graph."""
    for _ in range(rounds):
        received = yield numbers.copy().view(np.uint8)
        for _, others in as_numbers(agent, received, np.float64, numbers.size):
            np.maximum(numbers, others, out=numbers)
