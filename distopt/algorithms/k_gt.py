"""K-GT: gradient tracking with K local steps between two messages."""

from typing import Annotated, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import Balance
from distopt.algorithms.step_search import steps_of
from distopt.algorithms.tracking import BOUND
from distopt.algorithms.updates import descend_both
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following, mixing_step


@parameters("algorithm")
class LocalTracking(Algorithm):
    """K-GT (Liu, Lin, Koloskova and Stich, "Decentralized gradient tracking with local steps"), its
    messages compressed as those of cgt1; docs: k_gt.

        z = x;  local_steps times:  z = z - eta (g(z) + c)
        y = (x - z) / (eta local_steps)
        qx = C(z - hx),  qy = C(y - hy)                                  sent to all neighbours
        mixed_x = sum_j W_ij ((hx_j + qx_j) - (hx_i + qx_i)),  h += alpha q     (y alike)
        x = z + gamma mixed_x
        c = c + gamma mixed_y

    One local step is gradient tracking with y = g + c. The c_i sum to zero, so the mean of g + c is the
    mean gradient.
    """  # noqa: D205

    eta: Positive = AUTO  # step size of a local step
    gamma: Fraction = AUTO  # consensus step
    alpha: Positive = AUTO  # memory step
    local_steps: Annotated[int, Field(ge=1)] = 5
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    searches = True
    together = True
    overlaps = True
    single = True

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        return self.with_numbers(alpha=found.alpha, gamma=mixing_step(facts, found.lag))

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), c=np.zeros_like(x0), g=np.empty_like(x0))
        s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.keep(hy=agent.new_memory(self.memory))
        s.work(z=np.empty_like(x0), y=np.empty_like(x0))
        agent.gradient(s.x, out=s.g)
        s.keep(steps=steps_of(self, agent, s))
        return s

    def balance(self, gap: float) -> Balance:
        return Balance(BOUND, self.gamma * gap).over(self.local_steps)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = s.steps.eta
        descend_both(s.x, s.g, s.c, eta, s.z)
        for _ in range(1, self.local_steps):
            agent.gradient(s.z, out=s.g)
            descend_both(s.z, s.g, s.c, eta, s.z)
        np.divide(np.subtract(s.x, s.z, out=s.y), eta * self.local_steps, out=s.y)
        packed = agent.pack_differences(k, x=(s.z, s.hx), y=(s.y, s.hy))
        received = yield from s.steps.exchange(packed)
        agent.mix(received, s.hx, s.hy, alpha=self.alpha)
        np.add(s.z, np.multiply(s.hx.mixed, self.gamma, out=s.y), out=s.x)
        agent.gradient(s.x, out=s.g)
        yield from agent.rest()
        s.c += np.multiply(s.hy.mixed, self.gamma, out=s.y)
        s.steps.watch(s.hx.mixed)

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.c, None

    def view(self, s: State) -> View:
        tracker = np.add(s.g, s.c, out=s.y)
        memories = {"x": (s.x, s.hx), "y": (tracker, s.hy)}
        series = s.steps.series()
        return View(s.x, gradient=s.g, tracker=tracker, memories=memories, series=series)
