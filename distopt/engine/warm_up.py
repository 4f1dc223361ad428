"""Two iterations before the first one, so that every kernel is compiled or loaded when it counts."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from distopt.config.build import Parts
from distopt.core.arrays import F64, I64
from distopt.core.errors import DistoptError
from distopt.engine.agents import make_crew, release
from distopt.engine.driver import iterate, start
from distopt.engine.sketch import WIDTH, fill_sketch, signs_for
from distopt.engine.starts import Start
from distopt.problems.costs.base import Cost
from distopt.problems.topology import Topology
from distopt.theory.facts import Facts
from distopt.transport.local import LocalTransport


class Likeness:
    """A quadratic with a cost's value and gradient where it is first asked, and its smoothness.

    So a cost whose gradient takes minutes computes one. Everything else is that of the cost.
    """

    def __init__(self, cost: Cost, smoothness: float) -> None:
        self._cost, self._smoothness = cost, smoothness
        self._at: dict[str, tuple[F64, Any]] = {}  # what was computed, and where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cost, name)

    def value(self, x: F64) -> float:
        """Return f, where it is first asked, + L/2 of the squared distance from there."""
        if "value" not in self._at:
            self._at["value"] = x.copy(), self._cost.value(x)
        start, value = self._at["value"]
        return float(value + self._smoothness / 2 * np.sum((x - start) ** 2))

    def gradient(self, x: F64, out: F64) -> None:
        """out = g, where it is first asked, + L times the difference from there."""
        self._extend(x, out, lambda: self._cost.gradient(x, out))

    def batch_gradient(self, x: F64, index: I64, out: F64) -> None:
        """out = the same, of the first batch."""
        self._extend(x, out, lambda: self._cost.batch_gradient(x, index, out))  # type: ignore[attr-defined]

    def _extend(self, x: F64, out: F64, compute: Callable[[], None]) -> None:
        if "gradient" not in self._at:
            compute()
            self._at["gradient"] = x.copy(), out.copy()
        start, gradient = self._at["gradient"]
        out[:] = gradient + self._smoothness * (x - start)


def warm_up(parts: Parts, facts: Facts, own: Start, together: bool, travels: bool) -> None:
    """Compile or load every kernel of the run by two iterations of two agents, so none does it later.

    Both have this process's own cost: no other agent's data is needed to compile. What fails here is
    left to fail in the run itself, where the error names the right agent. `together` is as of `prepare`;
    where messages travel all are decoded, those of an agent in one process may not be.
    """
    topology, cost = Topology(2, [(0, 1)]), Likeness(own.cost, facts.smoothness or 1.0)
    transport = LocalTransport(topology)
    transport.travels = travels
    with suppress(DistoptError), np.errstate(all="ignore"):
        starts = [own._replace(agent=i, cost=cost) for i in (0, 1)]
        hosted, driven = make_crew(parts, topology, starts, together)
        start(parts.algorithm, driven, facts, transport)
        for k in range(2):
            iterate(parts.algorithm, driven, transport, k)
        model = parts.algorithm.view(hosted[0].state).model
        if parts.run.record_every == "auto" and parts.run.stop.stationarity and model.ndim == 1:
            fill_sketch(model, signs_for(model.size), np.empty(WIDTH))  # of glances
        release([*hosted, *driven])
