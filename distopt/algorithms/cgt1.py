"""Compressed gradient tracking for compressors with a bounded relative error."""

from typing import Self

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import ArithmeticField
from distopt.algorithms.base import AUTO, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State
from distopt.algorithms.tracking import CompressedTracking
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following, mixing_step, tracking_step


@parameters("algorithm")
class CompressedTracking1(CompressedTracking):
    """Compressed gradient tracking for class 1, bounded relative compression error.

    Agent i, iteration k (docs: cgt1; derived there, in the setting of Xu, Yi, Wen, Shi, Johansson and
    Yang, "Compressed Gradient Tracking Algorithms for Distributed Nonconvex Optimization"):

        qx = C(x - hx),  qy = C(y - hy)                              sent to all neighbours
        mixed_x = sum_j W_ij ((hx_j + qx_j) - (hx_i + qx_i)),  h += alpha q     (y alike)
        x+ = x + gamma mixed_x - eta y
        y+ = y + gamma mixed_y + g(x+) - g(x)
    """

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    alpha: Positive = AUTO  # memory step; the theory wants <= 1/r
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message
    arithmetic: ArithmeticField = None  # of the section [arithmetic]; float64 without it

    lyapunov = "V1"
    searches = True
    changing = True
    together = True
    overlaps = True

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        mixing = self.with_numbers(alpha=found.alpha, gamma=mixing_step(facts, found.lag))
        if self.searching:
            return mixing
        return mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))

    def step(self, agent: Agent, s: State, k: int) -> Step:
        packed = agent.pack_differences(k, x=(s.x, s.hx), y=(s.y, s.hy))
        received = yield from s.steps.exchange(packed)
        agent.mix(received, s.hx, s.hy, alpha=self.alpha)
        self.descend(s, s.hx.mixed, s.y)
        agent.gradient(s.x, out=s.g_next)
        yield from agent.rest()
        self.track(s, s.hy.mixed)
        s.steps.watch(s.hx.mixed)
