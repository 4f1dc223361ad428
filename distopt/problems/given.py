"""A problem whose costs are Python objects: those of all agents, or under MPI this rank's only."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.problems.costs.base import Cost
from distopt.problems.costs.guarded import check_shape, guard, ours
from distopt.problems.topology import Topology

GIVEN = "given"  # its problem.name


class GivenProblem:
    """Costs that exist already.

    Parameters
    ----------
    costs : Mapping[int, Cost]
        By agent; those of the user's own classes are guarded (`distopt.problems.costs.guarded`).
    x0 : float64[d] or float64[n, d], optional
        Start of all agents, or one row each; by default the costs' own `start`, else 0.
    topology : Topology
    """

    minimum = None
    lost: tuple[int, ...] = ()  # agents, none here

    def __init__(self, costs: Mapping[int, Cost], x0: F64 | None, topology: Topology) -> None:
        self.topology = topology
        self.topology_table = {"graph": topology.name}  # as far as a file can say it
        self.whole, self.agents, self.total = topology, topology.agents, topology.agents
        for i, cost in costs.items():
            if not ours(cost):
                check_shape(cost, f"The cost of agent {i}")
        some = next(iter(costs.values()))
        self.dimension: int = some.dimension
        self.blocks: list[int] | None = getattr(some, "blocks", None)
        n, d = self.agents, self.dimension
        for i, cost in costs.items():
            if cost.dimension != d:
                raise ConfigError(
                    f"The cost of agent {i} has dimension {cost.dimension}, another has {d}; all "
                    "agents need the same."
                )
        self.start = "zeros" if x0 is None else "given"
        self.x0 = None if x0 is None else np.array(x0, dtype=np.float64)
        if self.x0 is not None and self.x0.shape not in {(d,), (n, d)}:
            raise ConfigError(f"x0 has shape {self.x0.shape}; accepted: ({d},) or ({n}, {d}).")
        self.costs = {
            i: guard(cost, f"The cost of agent {i}", x=self.start_point(i, cost))
            for i, cost in costs.items()
        }

    def member(self, i: int) -> int:
        """Return i: no agent is lost."""
        return i

    def cost(self, i: int) -> Cost:
        """Return the given cost of agent i."""
        return self.costs[i]

    def start_point(self, i: int, cost: Cost) -> F64:
        """Return agent i's start."""
        if self.x0 is not None:
            return (self.x0 if self.x0.ndim == 1 else self.x0[i]).copy()
        own = getattr(cost, "start", None)
        return np.zeros(self.dimension) if own is None else np.array(own, dtype=np.float64)

    def table(self) -> dict[str, Any]:
        """Describe the problem as far as a file can."""
        return {"name": GIVEN, "agents": self.agents}
