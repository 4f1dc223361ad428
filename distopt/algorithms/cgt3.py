"""Compressed gradient tracking for compressors with a locally bounded absolute error."""

from typing import Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.arithmetic import refuse_in_fixed_point
from distopt.algorithms.base import AUTO, Facts, State, Step
from distopt.algorithms.cgt2 import CompressedTracking2
from distopt.compressors.base import Adaptive, Compressor, Guarantee, Local
from distopt.compressors.zoom_sign import ZoomSign
from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError
from distopt.core.parameters import parameters
from distopt.theory.rules import mixing_step, tracking_step


@parameters("algorithm")
class CompressedTracking3(CompressedTracking2):
    """Compressed gradient tracking for class 3, compression error bounded in the unit ball only.

    The update is that of cgt2. What is added is a contract (docs: cgt3; derived there): the error
    bound holds only while

        ||x_i - hx_i||_inf <= sx   and   ||y_i - hy_i||_inf <= sy          at every iteration,

    which needs s0 large enough for the start and mu close enough to 1. Every time that an agent's x
    or y is outside, `ball_violations` counts it: such a run has left the theory.

    With ``scale = "zoom"`` the compressor (zoom_sign) finds the scales itself: s = 1, there is no ball, no
    s0 and no mu, and no theory either (ours, measured; docs: zooming).
    """

    scale: Literal["preset", "zoom"] = "preset"

    needs = Local
    lyapunov = "V3"
    flattest = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zooms:
            refuse_in_fixed_point(self.arithmetic, "scale", self.scale, '"preset"')

    def takes(self) -> type[Guarantee]:
        return Adaptive if self.zooms else Local

    def own_compressor(self) -> Compressor:
        return ZoomSign() if self.zooms else super().own_compressor()

    def accept(self, compressor: Compressor, d: int) -> None:
        super().accept(compressor, d)
        for key in ("s0x", "s0y", "mu"):
            if self.zooms and getattr(self, key) != AUTO:
                raise ConfigError(
                    f"algorithm.{key} = {getattr(self, key)} has no meaning with algorithm.scale = "
                    '"zoom", which finds the scales itself; leave it out.'
                )

    @property
    def zooms(self) -> bool:
        """Whether the compressor finds the scales."""
        return self.scale == "zoom"

    def choose(self, facts: Facts) -> Self:
        if not self.zooms:
            return super().choose(facts)
        # What a sign leaves unknown, in moves: norm_sign's lag is 0.9 (docs: auto).
        mixing = self.with_numbers(gamma=mixing_step(facts, lagging=1.0))
        return mixing.with_numbers(eta=tracking_step(facts, mixing.gamma))

    def start(self, agent: Agent, s: State, facts: Facts) -> Step:
        if not self.zooms:
            yield from super().start(agent, s, facts)

    def started(self, s: State) -> Self:
        return self if self.zooms else super().started(s)

    def shrink(self, s: State) -> None:
        if not self.zooms:
            super().shrink(s)

    def squared_scales(self, s: State) -> float:
        return 0.0 if self.zooms else super().squared_scales(s)

    def unknown(self, facts: Facts) -> float:
        phi = self.phi(facts)
        return 3 * (1 - phi) / phi

    def first_scale_x(self, largest_x: float, largest_g: float) -> float:
        """Three times the start itself, or eight of the first moves eta g where those are longer."""
        return max(3 * largest_x, 8 * self.eta * largest_g, self.s_min)

    def first_scale_y(self, largest_x: float, largest_g: float) -> float:
        """Four times the start, but enough for what one move of x by s0x / 4 does to the gradient."""
        return max(4 * largest_g, self.s_min)

    @staticmethod
    def phi(facts: Facts) -> float:
        """Return the phi of the compressor's local guarantee."""
        guarantee = facts.compressor.guarantee(facts.dimension, Local)
        assert isinstance(guarantee, Local)  # `accept` has seen to that
        return guarantee.phi

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(ball_violations=np.zeros(1, np.int64))
        return s

    def observe_reach(self, s: State, reach_x: float, reach_y: float) -> None:
        if self.zooms:
            return
        s.ball_violations[0] += (reach_x > 1.0) + (reach_y > 1.0)

    def counts(self, s: State) -> dict[str, I64]:
        return {} if self.zooms else {"ball_violations": s.ball_violations}
