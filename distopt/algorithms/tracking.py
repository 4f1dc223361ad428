"""The base of methods with a gradient tracker: x, y, g and their updates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import Arithmetic
from distopt.algorithms.base import Algorithm
from distopt.algorithms.fixed_tracking import FixedPointUpdates
from distopt.algorithms.memory import MemoryKind, MemoryStart
from distopt.algorithms.state import State, View
from distopt.algorithms.step_rule import Balance
from distopt.algorithms.step_search import steps_of
from distopt.algorithms.updates import descend, track
from distopt.core.arrays import F64, U8
from distopt.core.errors import ConfigError
from distopt.core.parameters import show

BOUND = 0.7  # of eta times a curvature, for gamma kappa <= 0.8 (docs: auto)
# Parameters for which only one value goes with a section [arithmetic].
IN_FIXED_POINT: dict[str, Any] = {
    "form": "cta", "beta": 0, "memory": "replicas", "memory_start": "zeros", "scale": "preset"
}  # fmt: skip


class FloatUpdates:
    """x, y and g in floating point."""

    def __init__(self, agent: Agent, s: State, x0: F64) -> None:
        self.agent, self.state = agent, s
        s.keep(x=x0.copy(), y=np.empty_like(x0), g=np.empty_like(x0))
        agent.gradient(s.x, out=s.g)
        s.y[:] = s.g

    def average(self, received: Sequence[U8]) -> None:
        """Mix the messages x and y into s.wx and s.wy."""
        s = self.state
        self.agent.average(received, (s.x, s.wx), (s.y, s.wy))

    def descend(self, mixed: F64, direction: F64, gamma: float, eta: float) -> None:
        """Do x = x + gamma mixed - eta direction."""
        descend(self.state.x, mixed, direction, gamma, eta)

    def track(self, mixed: F64, gamma: float) -> None:
        """Do y = y + gamma mixed + g_next - g, then g = g_next."""
        s = self.state
        track(s.y, mixed, s.g_next, s.g, gamma)
        s.g, s.g_next = s.g_next, s.g

    def series(self) -> dict[str, float]:
        """Nothing is counted."""
        return {}


class Tracking(Algorithm):
    """A method that moves x along a tracker y, whose mean is the mean gradient.

    It computes in float64, or in fixed point where a section [arithmetic] gives the formats; the steps
    are written once, with the three updates below.
    """

    eta: float
    gamma: float
    arithmetic: Arithmetic | None = None

    single = True

    def __post_init__(self) -> None:
        for key, only in IN_FIXED_POINT.items():
            if self.arithmetic is not None and getattr(self, key, only) != only:
                raise ConfigError(
                    f"algorithm.{key} = {show(getattr(self, key))} cannot be combined with [arithmetic]; "
                    f"accepted there: {show(only)}."
                )

    @property
    def searching(self) -> bool:
        return super().searching and self.arithmetic is None

    def init(self, agent: Agent, x0: F64) -> State:
        s = State()
        s.work(g_next=np.empty_like(x0))
        if self.arithmetic is None:
            s.work(updates=FloatUpdates(agent, s, x0))
        else:
            s.work(updates=FixedPointUpdates(self.arithmetic, agent, s, x0, self.gamma))
        return s

    def keep_steps(self, agent: Agent, s: State) -> None:
        """Complete a state by what gives the step."""
        s.keep(steps=steps_of(self, agent, s))

    def balance(self, gap: float) -> Balance:
        return Balance(BOUND, self.gamma * gap, factor=1 - float(getattr(self, "beta", 0.0)))

    def average(self, s: State, received: Sequence[U8]) -> None:
        """Set wx = sum_j W_ij (x_j - x_i), wy alike, where the messages are x and y themselves."""
        s.updates.average(received)

    def descend(self, s: State, mixed: F64, direction: F64) -> None:
        """Set x = x + gamma mixed - eta direction."""
        s.updates.descend(mixed, direction, self.gamma, s.steps.eta)

    def track(self, s: State, mixed: F64) -> None:
        """Set y = y + gamma mixed + g_next - g, then g = g_next."""
        s.updates.track(mixed, self.gamma)

    def conserved(self, s: State) -> tuple[F64, F64 | None]:
        return s.y, s.g

    def view(self, s: State) -> View:
        return View(s.x, gradient=s.g, tracker=s.y, series=s.updates.series() | s.steps.series())


class CompressedTracking(Tracking):
    """A tracking method that sends x and y as compressed differences to the memories hx and hy."""

    memory: MemoryKind = "replicas"
    memory_start: MemoryStart = "zeros"

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        if self.arithmetic is None:
            s.keep(hx=agent.new_memory(self.memory, self.memory_start, x0))
            s.keep(hy=agent.new_memory(self.memory, pushes=self.directed))
        else:
            s.keep(hx=s.updates.hx, hy=s.updates.hy)
        self.keep_steps(agent, s)
        return s

    def view(self, s: State) -> View:
        return replace(super().view(s), memories={"x": (s.x, s.hx), "y": (s.y, s.hy)})
