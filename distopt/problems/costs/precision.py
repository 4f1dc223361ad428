"""Costs that take float64 only, for agents whose state is in float32."""

from typing import Any

import numpy as np

from distopt.core.arrays import F64, I64, Precision
from distopt.core.workspace import Workspace
from distopt.problems.costs.base import Cost


class Widened:
    """The gradients of a cost at float32 vectors, by copies in float64 that agents in turn share."""

    def __init__(self, cost: Cost, work: Workspace) -> None:
        self.cost, self.work = cost, work

    def gradient(self, x: F64, out: F64) -> None:
        """out = gradient at x."""
        point, slope = self._copies(x)
        self.cost.gradient(point, slope)
        out[:] = slope

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        """out = gradient at x of a batch."""
        point, slope = self._copies(x)
        self.cost.batch_gradient(point, index, slope)  # type: ignore[attr-defined]
        out[:] = slope

    def _copies(self, x: F64) -> tuple[F64, F64]:
        """Return x in float64, and room for the gradient."""
        point, slope = self.work.array("wide x", x.size), self.work.array("wide gradient", x.size)
        point[:] = x
        return point, slope


def in_precision(cost: Cost, dtype: Precision, work: Workspace) -> Any:
    """Return a cost as the steps of an agent ask it, whose vectors have this type."""
    return cost if dtype is np.float64 or not getattr(cost, "wide", False) else Widened(cost, work)


def advice(error: Exception, dtype: Precision) -> str:
    """Return what may help a cost that failed, by an error of numpy's or Python's, at such vectors."""
    if dtype is np.float64 or not isinstance(error.__cause__, TypeError | ValueError):
        return ""
    return (
        ' Its vectors are float32 here (run.dtype = "float32"); a cost that takes float64 only says so by '
        "an attribute wide = True."
    )
