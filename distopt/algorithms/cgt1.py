"""Compressed gradient tracking for compressors with a bounded relative error."""

from typing import Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import (
    ArithmeticField,
    make_numbers,
    refuse_in_fixed_point,
    saturations,
)
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.core.arrays import F64
from distopt.core.parameters import parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import following, mixing_step, tracking_step


@parameters("algorithm")
class CompressedTracking1(Algorithm):
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

    def __post_init__(self) -> None:
        if self.memory != "replicas":
            refuse_in_fixed_point(self.arithmetic, "memory", self.memory, '"replicas"')
        if self.memory_start != "zeros":
            refuse_in_fixed_point(self.arithmetic, "memory_start", self.memory_start, '"zeros"')

    def choose(self, facts: Facts) -> Self:
        found = following(facts.compressor, facts.dimension)
        mixing = self.with_numbers(alpha=found.alpha, gamma=mixing_step(facts, found.lag))
        return mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        d, s = agent.dimension, State()
        s.keep(x=x0.copy(), y=np.empty(d), g=np.empty(d))
        s.keep(hx=agent.new_memory(self.memory))
        s.keep(hy=agent.new_memory(self.memory))
        if self.memory_start == "x0":
            s.hx.start_at(x0)
        s.work(dx=np.empty(d), dy=np.empty(d), g_next=np.empty(d))
        agent.gradient(s.x, out=s.g)
        s.y[:] = s.g
        s.numbers = make_numbers(self.arithmetic, agent, s, self.gamma)
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        np.subtract(s.x, s.hx.own, out=s.dx)
        np.subtract(s.y, s.hy.own, out=s.dy)
        received = yield agent.pack(k, x=s.dx, y=s.dy)
        agent.mix(received, s.hx, s.hy, alpha=self.alpha)
        s.numbers.descend(s, s.hx.mixed, s.y, self.gamma, self.eta)
        agent.gradient(s.x, out=s.g_next)
        s.numbers.track(s, s.hy.mixed, self.gamma)

    def view(self, s: State) -> View:
        memories = {"x": (s.x, s.hx), "y": (s.y, s.hy)}
        return View(s.x, gradient=s.g, tracker=s.y, memories=memories, series=saturations(s))
