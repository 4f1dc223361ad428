"""BEER as published: mix first, send afterwards, memory step 1."""

from typing import ClassVar, Self

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State
from distopt.algorithms.tracking import CompressedTracking
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import lag_at_one, mixing_step, tracking_step


@parameters("algorithm")
class Beer(CompressedTracking):
    """BEER (Zhao, Li, Li, Richtarik and Chi, "BEER: Fast O(1/T) rate for decentralized nonconvex
    optimization with communication compression"); docs: beer.

        x+ = x + gamma sum_j W_ij (hx_j - hx_i) - eta y
        y+ = y + gamma sum_j W_ij (hy_j - hy_i) + g(x+) - g(x)
        hx += C(x+ - hx),  hy += C(y+ - hy)                              sent to all neighbours

    From h = 0 this is the trajectory of cgt1 with alpha = 1 started at x0 - eta g(x0).
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    lyapunov: ClassVar[str | None] = "V1"
    together = True

    def choose(self, facts: Facts) -> Self:
        known = lag_at_one(facts)
        mixing = self.with_numbers(gamma=mixing_step(facts, known))
        return mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(mixed_x=s.hx.mixed, mixed_y=s.hy.mixed)  # used in the next iteration
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        self.descend(s, s.mixed_x, s.y)
        agent.gradient(s.x, out=s.g_next)
        self.track(s, s.mixed_y)
        received = yield agent.pack_differences(k, x=(s.x, s.hx), y=(s.y, s.hy))
        agent.mix(received, s.hx, s.hy)
