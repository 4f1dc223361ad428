"""The compressed primal-dual method, one message an iteration."""

from typing import Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following, mixing_step


@parameters("algorithm")
class PrimalDual(Algorithm):
    """Compressed primal-dual method (Yi, Zhang, Yang, Chai and Johansson, "Communication compression
    for distributed nonconvex optimization"); docs: primal_dual.

        q = C(x - h)                                                     sent to all neighbours
        mixed = sum_j W_ij ((h_j + q_j) - (h_i + q_i)),   h += alpha q
        x+ = x + gamma mixed - eta (g + v)
        v+ = v - (beta / eta) mixed;  g = g(x+)

    In the letters of that paper, with the Laplacian I - W: gamma = eta a and beta = (eta b)^2 for its
    gains a, b, and v is b times its dual variable. The v_i sum to zero, so the mean of g + v is the
    mean gradient.
    """  # noqa: D205

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    beta: Positive = AUTO  # dual step
    alpha: Positive = AUTO  # memory step
    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"  # h of x before the first message

    vectors = 1
    together = True
    single = True

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        mixing = self.with_numbers(
            alpha=found.alpha,
            gamma=mixing_step(facts, found.lag),
            eta=0.4 / facts.require_smoothness("algorithm.eta"),
        )
        slower = (1 + found.delay) * (1 + found.lag) ** 0.5
        return mixing.with_numbers(beta=0.25 * mixing.gamma / slower)

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.keep(x=x0.copy(), v=np.zeros_like(x0), g=np.empty_like(x0))
        s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
        s.work(dx=np.empty_like(x0), direction=np.empty_like(x0))
        agent.gradient(s.x, out=s.g)
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        received = yield agent.pack_differences(k, x=(s.x, s.hx))
        agent.mix(received, s.hx, alpha=self.alpha)
        s.x -= np.multiply(s.g, self.eta, out=s.dx)
        s.x -= np.multiply(s.v, self.eta, out=s.dx)
        s.x += np.multiply(s.hx.mixed, self.gamma, out=s.dx)
        s.v -= np.multiply(s.hx.mixed, self.beta / self.eta, out=s.dx)
        agent.gradient(s.x, out=s.g)

    def conserved(self, s: State) -> tuple[F64, None]:
        return s.v, None

    def view(self, s: State) -> View:
        tracker = np.add(s.g, s.v, out=s.direction)
        return View(s.x, gradient=s.g, tracker=tracker, memories={"x": (s.x, s.hx)})
