"""Compressed gradient tracking for compressors with a locally bounded absolute error."""

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from distopt.algorithms.agent import Agent
from distopt.algorithms.cgt2 import CompressedTracking2
from distopt.algorithms.cgt3_zoom import ZoomingTracking3
from distopt.algorithms.state import State, View
from distopt.compressors.base import Compressor, Guarantee, Local
from distopt.core.arrays import F64
from distopt.core.parameters import Field, parameters
from distopt.theory.facts import Facts


@parameters("algorithm")
class CompressedTracking3(CompressedTracking2):
    """Compressed gradient tracking for class 3, compression error bounded in the unit ball only.

    The update is that of cgt2, plus a contract (docs: cgt3; derived there): the error bound holds
    only while

        ||x_i - hx_i||_inf <= sx   and   ||y_i - hy_i||_inf <= sy          at every iteration,

    which needs s0 large enough for the start and mu close enough to 1. Every time that an agent's x
    or y is outside, `ball_violations` counts it: such a run has left the theory.

    With ``scale = "zoom"`` the compressor finds the scales itself: this class then makes a
    `distopt.algorithms.cgt3_zoom.ZoomingTracking3`.
    """

    scale: Literal["preset", "zoom"] = Field(default="preset", kw_only=True)

    needs: ClassVar[type[Guarantee] | None] = Local
    lyapunov: ClassVar[str | None] = "V3"
    flattest = 0.7

    def __new__(cls, *args: Any, **parameters: Any) -> Self:
        """Make the form that `scale` names."""
        zooms = parameters.get("scale") == "zoom"
        return ZoomingTracking3(*args, **parameters) if zooms else object.__new__(cls)  # type: ignore[return-value]

    def unknown(self, facts: Facts) -> float:
        phi = local_guarantee(facts.compressor, facts.dimension).phi
        return 3 * (1 - phi) / phi

    def first_scale_x(self, largest_x: float, largest_g: float) -> float:
        """Three times the start itself, or eight of the first moves eta g where those are longer."""
        return max(3 * largest_x, 8 * self.eta * largest_g, self.s_min)

    def first_scale_y(self, largest_x: float, largest_g: float) -> float:
        """Four times the start, but enough for the gradient's change when x moves by s0x / 4."""
        return max(4 * largest_g, self.s_min)

    def init(self, agent: Agent, x0: F64) -> State:
        s = super().init(agent, x0)
        s.keep(ball_violations=np.zeros(1, np.int64))
        return s

    def observe_reach(self, s: State, reach_x: float, reach_y: float) -> None:
        s.ball_violations[0] += (reach_x > 1.0) + (reach_y > 1.0)

    def view(self, s: State) -> View:
        shown = super().view(s)
        counted = {"ball_violations": float(s.ball_violations[0])}
        return replace(shown, series={**shown.series, **counted})


def local_guarantee(compressor: Compressor, d: int) -> Local:
    """Return what a compressor of class 3 promises for vectors of size d."""
    found = compressor.guarantee(d, Local)
    assert isinstance(found, Local)  # `accept` has made sure
    return found
