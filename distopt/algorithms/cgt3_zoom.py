"""cgt3 with scales that the compressor finds."""

from typing import ClassVar, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Step
from distopt.algorithms.cgt2 import CompressedTracking2
from distopt.algorithms.state import State, View
from distopt.algorithms.tracking import CompressedTracking
from distopt.compressors.base import Adaptive, Compressor, Guarantee
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts
from distopt.theory.rules import mixing_step, tracking_step


@parameters("algorithm")
class ZoomingTracking3(CompressedTracking2):
    """The form ``scale = "zoom"`` of cgt3: there is no ball, no s0 and no mu, and no theory either.

    Ours, measured (docs: zooming). Agent i, iteration k:

        qx = C(x - hx),  qy = C(y - hy)                                  sent to all neighbours
        h_j += q_j for all members j;  mixed_x = sum_j W_ij (hx_j - hx_i)           (y alike)
        x+ = x + gamma mixed_x - eta y
        y+ = y + gamma mixed_y + g(x+) - g(x)
    """

    scale: Literal["zoom"] = Field(default="zoom", kw_only=True)

    needs: ClassVar[type[Guarantee] | None] = Adaptive
    compressor: ClassVar[str] = "zoom_sign"
    lyapunov: ClassVar[str | None] = None
    pilot = False
    overlaps = True
    form_of = "cgt3"

    def accept(self, compressor: Compressor, d: int) -> None:
        super().accept(compressor, d)
        for key in ("s0x", "s0y", "mu"):
            if getattr(self, key) != AUTO:
                raise ConfigError(
                    f"algorithm.{key} = {getattr(self, key)} has no meaning with algorithm.scale = "
                    '"zoom", which finds the scales itself; leave it out.'
                )

    def choose(self, facts: Facts) -> Self:
        # What a sign leaves unknown, in moves: norm_sign's lag is 0.9 (docs: auto).
        mixing = self.with_numbers(gamma=mixing_step(facts, lagging=1.0))
        return mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(ball_violations=np.zeros(1, np.int64))  # always 0; checkpoints have it
        return s

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        return
        yield  # there are no scales to agree on

    def started(self, s: State) -> Self:
        return self

    def step(self, agent: Agent, s: State, k: int) -> Step:
        received = yield agent.pack_differences(k, x=(s.x, s.hx), y=(s.y, s.hy))
        agent.mix(received, s.hx, s.hy)
        self.descend(s, s.hx.mixed, s.y)
        agent.gradient(s.x, out=s.g_next)
        yield from agent.rest()
        self.track(s, s.hy.mixed)

    def view(self, s: State) -> View:
        return CompressedTracking.view(self, s)
