"""Push-pull: gradient tracking on directed graphs, its messages compressed."""

from typing import Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryStart
from distopt.algorithms.state import State
from distopt.algorithms.tracking import CompressedTracking
from distopt.algorithms.updates import accumulate
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import directed_step, following, mixing_step


@parameters("algorithm")
class PushPull(CompressedTracking):
    """Push-pull (Pu, Shi, Xu and Nedic, "Push-pull gradient methods for distributed optimization in
    networks"), its messages compressed as those of cgt1; docs: push_pull. Compressed push-pull is from
    Song, Shi, Pu and Yan, "Compressed gradient tracking for decentralized optimization over general
    directed networks".

        qx = C(x - hx),  qy = C(y - hy)                              sent to all who hear this agent
        hat_j = h_j + q_j,  h += alpha q
        mixed_x = sum_j R_ij (hatx_j - hatx_i)                       rows of R sum to one
        mixed_y = sum_j C_ij haty_j - sum_j C_ji haty_i              columns of C sum to one
        x+ = x + gamma mixed_x - eta y
        y+ = y + gamma mixed_y + g(x+) - g(x)

    The mean of y is the mean gradient, because the mixed_y sum to zero.
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    alpha: Positive = AUTO  # memory step
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    directed = True
    overlaps = True

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        mixing = self.with_numbers(alpha=found.alpha, gamma=mixing_step(facts, found.lag))
        if mixing.eta != AUTO:
            return mixing
        return mixing.with_numbers(eta=directed_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.work(mixed=np.empty_like(x0))
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        received = yield agent.pack_differences(k, x=(s.x, s.hx), y=(s.y, s.hy))
        agent.mix(received, s.hx, s.hy, alpha=self.alpha)
        self.descend(s, s.hx.mixed, s.y)
        agent.gradient(s.x, out=s.g_next)
        yield from agent.rest()
        # The memory's sum C_ij (haty_j - haty_i), and what comes in beyond what goes out.
        accumulate(s.hy.hat(self.alpha, out=s.mixed), agent.surplus, s.hy.mixed)
        self.track(s, s.mixed)
