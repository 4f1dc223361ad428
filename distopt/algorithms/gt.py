"""Gradient tracking without compression: the baseline."""

from typing import Annotated, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import (
    ArithmeticField,
    make_numbers,
    refuse_in_fixed_point,
    saturations,
)
from distopt.algorithms.base import AUTO, Algorithm, Fraction, Positive, Step
from distopt.algorithms.state import State, View
from distopt.algorithms.updates import accumulate
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import mixing_step, tracking_step


@parameters("algorithm")
class GradientTracking(Algorithm):
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

    def __post_init__(self) -> None:
        if self.form != "cta":
            refuse_in_fixed_point(self.arithmetic, "form", self.form, '"cta"')
        if self.beta:
            refuse_in_fixed_point(self.arithmetic, "beta", self.beta, "0")

    def choose(self, facts: Facts) -> Self:
        mixing = self.with_numbers(gamma=mixing_step(facts))
        return mixing.with_numbers(eta=(1 - self.beta) * tracking_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        d, s = agent.dimension, State()
        s.keep(x=x0.copy(), y=np.empty(d), g=np.empty(d))
        s.work(wx=np.empty(d), wy=np.empty(d), g_next=np.empty(d))
        if self.beta:
            s.keep(v=np.zeros(d))
        agent.gradient(s.x, out=s.g)
        s.y[:] = s.g
        s.numbers = make_numbers(self.arithmetic, agent, s, self.gamma)
        s.forget("hx", "hy")  # memories of one iteration only
        return s

    def step(self, agent: Agent, s: State, k: int) -> Step:
        v = self.direction(s)
        if self.form == "cta":
            received = yield agent.pack(k, x=s.x, y=s.y)
            if self.arithmetic is None:
                agent.average(received, (s.x, s.wx), (s.y, s.wy))
            else:  # the messages are the vectors themselves
                s.hx.forget()
                s.hy.forget()
                agent.mix(received, s.hx, s.hy)
            s.numbers.descend(s, s.wx, v, self.gamma, self.eta)
            agent.gradient(s.x, out=s.g_next)
            s.numbers.track(s, s.wy, self.gamma)
        else:
            s.x -= np.multiply(v, self.eta, out=s.wx)
            received = yield agent.pack(k, x=s.x)
            agent.average(received, (s.x, s.wx))
            s.x += np.multiply(s.wx, self.gamma, out=s.wx)
            agent.gradient(s.x, out=s.g_next)
            s.y += np.subtract(s.g_next, s.g, out=s.wy)
            received = yield agent.pack(k, 1, y=s.y)
            agent.average(received, (s.y, s.wy), first=1)
            s.y += np.multiply(s.wy, self.gamma, out=s.wy)
            s.g, s.g_next = s.g_next, s.g

    def view(self, s: State) -> View:
        return View(s.x, gradient=s.g, tracker=s.y, series=saturations(s))

    def direction(self, s: State) -> F64:
        """Advance the momentum; return the vector that x descends along."""
        if not self.beta:
            return s.y  # type: ignore[no-any-return]
        accumulate(s.v, self.beta, s.y)
        return s.v  # type: ignore[no-any-return]
