"""Decentralized gradient descent: mix and descend, nothing else."""

from typing import Annotated, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.state import State
from distopt.algorithms.updates import descend
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import mixing_step, untracked_step


@parameters("algorithm")
class DecentralizedGradientDescent(Algorithm):
    """Decentralized gradient descent without compression (Nedic and Ozdaglar, "Distributed subgradient
    methods for multi-agent optimization"); docs: dgd.

        x+ = x + gamma sum_j W_ij (x_j - x_i) - eta_k g(x),   eta_k = eta / (1 + k)^decay

    With a constant step (decay = 0) it stops in a neighbourhood whose size is proportional to eta.
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0  # exponent of the decreasing step size

    vectors = 1
    needs = None
    together = True
    single = True

    def choose(self, facts: Facts) -> Self:
        mixing = self.with_numbers(gamma=mixing_step(facts))
        return mixing.with_numbers(eta=untracked_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy())
        s.work(wx=np.empty_like(x0), g=np.empty_like(x0))
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta_k = self.eta / (1 + k) ** self.decay
        received = yield agent.pack(k, x=s.x)
        agent.average(received, (s.x, s.wx))
        agent.gradient(s.x, out=s.g)
        descend(s.x, s.wx, s.g, self.gamma, eta_k)
