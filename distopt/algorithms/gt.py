"""Gradient tracking without compression: the baseline."""

from typing import Annotated, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import ArithmeticField
from distopt.algorithms.base import AUTO, Fraction, Positive, Step
from distopt.algorithms.state import State
from distopt.algorithms.tracking import Tracking
from distopt.algorithms.updates import accumulate
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import mixing_step, tracking_step


@parameters("algorithm")
class GradientTracking(Tracking):
    """Gradient tracking, x and y as float64 (docs: gt).

    Combine-then-adapt (``form = "cta"``), one exchange an iteration, M = I + gamma (W - I):

        x+ = M x - eta y,    y+ = M y + g(x+) - g(x)

    Adapt-then-combine (``form = "atc"``), two exchanges of one vector each:

        x+ = M (x - eta y),  y+ = M (y + g(x+) - g(x))

    With momentum beta > 0, v = beta v + y takes the place of y in the step of x.
    """

    eta: Positive = AUTO  # step size
    gamma: Fraction = AUTO  # consensus step
    form: Literal["cta", "atc"] = "cta"
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.0  # momentum

    arithmetic: ArithmeticField = None  # of the section [arithmetic]; float64 without it

    needs = None
    searches = True
    changing = True
    together = True
    overlaps = True

    def choose(self, facts: Facts) -> Self:
        mixing = self.with_numbers(gamma=mixing_step(facts))
        if self.searching:
            return mixing
        return mixing.with_numbers(eta=(1 - self.beta) * tracking_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.work(wx=np.empty_like(x0), wy=np.empty_like(x0))
        if self.beta:
            s.keep(v=np.zeros_like(x0))
        self.keep_steps(agent, s)
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        form = self.combine_then_adapt if self.form == "cta" else self.adapt_then_combine
        return form(agent, s, k)

    def combine_then_adapt(self, agent: Agent, s: State, k: int) -> Step:
        """Exchange x and y together."""
        received = yield from s.steps.exchange(agent.pack(k, x=s.x, y=s.y))
        self.average(s, received)
        self.descend(s, s.wx, self.direction(s))
        agent.gradient(s.x, out=s.g_next)
        yield from agent.rest()
        self.track(s, s.wy)
        s.steps.watch(s.wx)

    def adapt_then_combine(self, agent: Agent, s: State, k: int) -> Step:
        """Exchange x, then y."""
        s.x -= np.multiply(self.direction(s), s.steps.eta, out=s.wx)
        received = yield from s.steps.exchange(agent.pack(k, x=s.x))
        agent.average(received, (s.x, s.wx))
        s.x += np.multiply(s.wx, self.gamma, out=s.wx)
        agent.gradient(s.x, out=s.g_next)
        s.y += np.subtract(s.g_next, s.g, out=s.wy)
        received = yield agent.pack(k, 1, y=s.y)
        agent.average(received, (s.y, s.wy), first=1)
        s.y += np.multiply(s.wy, self.gamma, out=s.wy)
        s.g, s.g_next = s.g_next, s.g
        s.steps.watch(s.wx)

    def direction(self, s: State) -> F64:
        """Advance the momentum; return the vector that x descends along."""
        if not self.beta:
            return s.y  # type: ignore[no-any-return]
        accumulate(s.v, self.beta, s.y)
        return s.v  # type: ignore[no-any-return]
