"""LEAD: compressed exact diffusion, one message an iteration."""

from math import sqrt
from typing import Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import Balance
from distopt.algorithms.step_search import steps_of
from distopt.algorithms.updates import correct_and_descend, descend_both
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following

BOUND = 1.0  # of eta times a curvature: half of what is stable without compression
TRUST = 0.7  # of the agents' steepest curvature, measured


@parameters("algorithm")
class Lead(Algorithm):
    """LEAD (Liu, Li, Wang, Tang and Yan, "Linear convergent decentralized optimization with
    compression"); docs: lead. With compressor identity and gamma = 1 it is exact diffusion (NIDS).

        z = x - eta (g + D)
        q = C(z - h)                                                     sent to all neighbours
        mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)),   h += alpha q
        D = D - gamma / (2 eta) mixed
        x = x - eta (g + D);  g = g(x)

    The mean of g + D is the mean gradient, because the D_i sum to zero.
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    alpha: Positive = AUTO  # memory step
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    vectors = 1
    searches = True
    changing = True
    together = True
    single = True
    pilot = True

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        steps, gamma = self.with_numbers(alpha=found.alpha), (1 + found.lag) ** -1.5
        if found.delay > 0.5:
            # D integrates a vector that comes too late; only curvature damps this (docs: auto, lead).
            steps = steps.with_numbers(eta=0.5 / facts.require_smoothness("algorithm.eta"))
            if facts.flattest is not None:
                slowness = facts.kappa * max(1.0, found.delay - 1)
                gamma = min(gamma, steps.eta * facts.flattest / slowness)
        return steps.with_numbers(gamma=gamma)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), D=np.zeros_like(x0), g=np.empty_like(x0))
        s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.work(z=np.empty_like(x0), direction=np.empty_like(x0))
        agent.gradient(s.x, out=s.g)
        s.keep(steps=steps_of(self, agent, s))
        return s

    def balance(self, gap: float) -> Balance:
        return Balance(BOUND, 2 * sqrt(self.gamma * gap / 2), trust=TRUST)

    def step(self, agent: Agent, s: State, k: int) -> Step:
        eta = s.steps.eta
        descend_both(s.x, s.g, s.D, eta, s.z)
        received = yield from s.steps.exchange(agent.pack_differences(k, z=(s.z, s.hx)))
        agent.mix(received, s.hx, alpha=self.alpha)
        correct_and_descend(s.x, s.g, s.D, s.hx.mixed, self.gamma / (2 * eta), eta)
        agent.gradient(s.x, out=s.g)
        s.steps.watch(s.hx.mixed)

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.D, None

    def view(self, s: State) -> View:
        tracker = np.add(s.g, s.D, out=s.direction)
        return View(
            s.x, gradient=s.g, tracker=tracker, memories={"x": (s.x, s.hx)}, series=s.steps.series()
        )
