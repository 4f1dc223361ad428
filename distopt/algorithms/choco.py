"""CHOCO: compressed gossip on the iterates after a local gradient step."""

from typing import Annotated, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import lag_at_one, mixing_step, untracked_step


@parameters("algorithm")
class Choco(Algorithm):
    """CHOCO with exact gradients (Koloskova, Stich and Jaggi, "Decentralized stochastic optimization
    and gossip algorithms with compressed communication"); docs: choco.

        z = x - eta_k g(x),   eta_k = eta / (1 + k)^decay
        h += C(z - h)                                                    sent to all neighbours
        x+ = z + gamma sum_j W_ij (h_j - h_i)

    There is no gradient tracker: with heterogeneous costs and a constant step (decay = 0) it stops
    in a neighbourhood of a stationary point whose size is proportional to eta.
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0  # exponent of the decreasing step size
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    vectors = 1
    together = True
    single = True

    def choose(self, facts: Facts) -> Self:
        known = lag_at_one(facts)
        mixing = self.with_numbers(gamma=mixing_step(facts, known))
        return mixing.with_numbers(eta=untracked_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.work(dx=np.empty_like(x0), g=np.empty_like(x0))
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta_k = self.eta / (1 + k) ** self.decay
        agent.gradient(s.x, out=s.g)
        s.x -= np.multiply(s.g, eta_k, out=s.g)
        received = yield agent.pack_differences(k, x=(s.x, s.hx))
        agent.mix(received, s.hx)
        s.x += np.multiply(s.hx.mixed, self.gamma, out=s.dx)

    def view(self, s: State) -> View:
        return View(s.x, memories={"x": (s.x, s.hx)})
