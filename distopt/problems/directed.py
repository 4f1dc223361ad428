"""Directed graphs of agents and their two matrices of weights (docs: topologies).

An agent cannot know what others weigh it with, so no matrix is symmetric, and one with rows and columns
that sum to one would take an agreement of all. So there are two: R, whose rows sum to one, for what agents
pull (models), and C, whose columns sum to one, for what they push (trackers).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import show
from distopt.problems.topologies.base import require_connected
from distopt.problems.topology import OWN_WEIGHTS, Links, Topology

if TYPE_CHECKING:
    import networkx

UNIFORM: Final = "uniform"


class DirectedTopology(Topology):
    """A strongly connected directed graph of agents with a row-stochastic and a column-stochastic matrix.

    Parameters
    ----------
    agents : int
        n >= 1.
    edges : Iterable[tuple[int, int]]
        (j, i): agent j tells agent i.
    name : str
    weights : "uniform", or Mapping[tuple[int, int], tuple[float, float]]
        Uniform: R_ij = 1 / (1 + how many i hears), C_ij = 1 / (1 + how many j tells). Else (R_ij, C_ij) of
        every edge (j, i), positive; R_ii and C_jj are what a row and a column lack to one, positive too.

    Examples
    --------
    >>> ring = DirectedTopology(3, [(0, 1), (1, 2), (2, 0)])
    >>> ring.links(1).hears, ring.links(1).tells
    ((0,), (2,))
    """

    directed: ClassVar[bool] = True

    def __init__(
        self,
        agents: int,
        edges: Iterable[tuple[int, int]],
        name: str = "custom",
        weights: str | Mapping[tuple[int, int], tuple[float, float]] = UNIFORM,  # type: ignore[override]
    ) -> None:
        import networkx

        if agents < 1:
            raise ConfigError(f"A topology needs at least one agent, not {agents}.")
        self.agents, self.name = agents, name
        self.edges = tuple(sorted(set(edges)))
        for j, i in self.edges:
            if i == j or min(i, j) < 0 or max(i, j) >= agents:
                raise ConfigError(
                    f"The edge ({j}, {i}) is not possible; accepted: two different agents of 0 to "
                    f"{agents - 1}."
                )
        self._graph = networkx.empty_graph(agents, networkx.DiGraph)
        self._graph.add_edges_from(self.edges)
        require_connected(self._graph, f"The {name} graph")
        self.rule = weights if isinstance(weights, str) else OWN_WEIGHTS
        if isinstance(weights, str):
            if weights != UNIFORM:
                raise ConfigError(
                    f'The weights {show(weights)} are not known on a directed graph; accepted: "uniform", '
                    "or two numbers for every edge."
                )
            heard, told = dict(self._graph.in_degree), dict(self._graph.out_degree)
            weights = {(j, i): (1 / (1 + heard[i]), 1 / (1 + told[j])) for j, i in self.edges}
        self._pairs = dict(weights)
        self._require_stochastic()

    @classmethod
    def from_graph(
        cls, graph: networkx.Graph, name: str = "custom", weights: str | None = None
    ) -> DirectedTopology:
        """Take a networkx DiGraph; ``"own"`` weights are the edges' attributes ``weight`` and ``push``."""
        own = {(j, i): (w.get("weight"), w.get("push")) for j, i, w in graph.edges.data()}
        there = bool(own) and all(None not in pair for pair in own.values())
        if weights == OWN_WEIGHTS and not there:
            raise ConfigError(
                f'topology.weights = "own" needs a graph with two weights on every edge, and {name} has '
                'none; accepted: "uniform".'
            )
        if there and weights in {None, OWN_WEIGHTS}:
            return cls(len(graph), own, name, own)
        return cls(len(graph), own, name, weights or UNIFORM)

    def _require_stochastic(self) -> None:
        """Refuse weights that are not positive, the agents' own included."""
        for edge in self.edges:
            pair = self._pairs.get(edge)
            if pair is None or not all(np.isfinite(w) and w > 0 for w in pair):
                given = (
                    "has no weights"
                    if pair is None
                    else f"has the weights {pair[0]:g}, {pair[1]:g}"
                )
                raise ConfigError(
                    f"The edge from agent {edge[0]} to agent {edge[1]} {given}; accepted: two positive "
                    "numbers, R_ij and C_ij."
                )
        pulled, pushed = np.zeros(self.agents), np.zeros(self.agents)
        for (j, i), (row, column) in self._pairs.items():
            pulled[i] += row
            pushed[j] += column
        for sums, what in ((pulled, "hears in its row of R"), (pushed, "gives in its column of C")):
            most = int(np.argmax(sums))
            if sums[most] >= 1:
                raise ConfigError(
                    f"The weights of the {self.name} graph are not stochastic: what agent {most} {what} "
                    f"sums to {sums[most]:.6g}; accepted: less than 1, the rest is its own."
                )

    def without(self, lost: Sequence[int]) -> Topology:
        """Return the graph of the other agents; own weights stay, and what is lost falls to each itself."""
        if not lost:
            return self
        self.require_some_left(lost)
        rest = [i for i in range(self.agents) if i not in lost]
        at = {old: new for new, old in enumerate(rest)}
        own = {(at[j], at[i]): w for (j, i), w in self._pairs.items() if j in at and i in at}
        try:
            return DirectedTopology(
                len(at), own, self.name, own if self.rule == OWN_WEIGHTS else UNIFORM
            )
        except ConfigError as error:
            raise ConfigError(
                f"problem.lost = {[*lost]} is not possible (the others are numbered anew): {error}"
            ) from None

    @cached_property
    def _links(self) -> list[Links]:
        made = []
        for i in range(self.agents):
            hears = tuple(sorted(self._graph.pred[i]))
            tells = tuple(sorted(self._graph.succ[i]))
            pushes = tuple(self._pairs[j, i][1] for j in hears)
            surplus = sum(pushes) - sum(self._pairs[i, j][1] for j in tells)
            made.append(
                Links(hears, tuple(self._pairs[j, i][0] for j in hears), tells, pushes, surplus)
            )
        return made

    def degree(self, i: int) -> int:
        """Count the agents that agent i tells."""
        return len(self._graph.succ[i])

    def weight(self, i: int, j: int) -> float:
        """Return R_ij; agent j tells agent i."""
        return self._pairs[j, i][0]

    def matrix(self) -> F64:
        """Return R, float64[n, n]: rows sum to one."""
        R = np.zeros((self.agents, self.agents))
        for (j, i), (row, _) in self._pairs.items():
            R[i, j] = row
        np.fill_diagonal(R, 1 - R.sum(axis=1))
        return R

    def push_matrix(self) -> F64:
        """Return C, float64[n, n]: columns sum to one."""
        C = np.zeros((self.agents, self.agents))
        for (j, i), (_, column) in self._pairs.items():
            C[i, j] = column
        np.fill_diagonal(C, 1 - C.sum(axis=0))
        return C

    def described(self) -> str:
        """Write edges and weights, as far as hosts agree on them."""
        weights = [[float(f"{w:.6g}") for w in self._pairs[edge]] for edge in self.edges]
        return json.dumps(["directed", self.edges, weights])

    @cached_property
    def gap(self) -> float:
        """1 - the largest modulus of the eigenvalues of R and C besides their 1, in (0, 1]."""
        return 1.0 - max(map(abs, self.spectrum), default=0.0)

    @cached_property
    def spectrum(self) -> tuple[complex, ...]:  # type: ignore[override]
        """The eigenvalues of R and C besides their 1."""
        found: list[complex] = []
        for M in (self.matrix(), self.push_matrix()):
            values = np.linalg.eigvals(M)
            found += np.delete(values, np.argmin(abs(values - 1))).tolist()
        return tuple(found)

    @cached_property
    def kappa(self) -> float:
        """The larger one of ||R - I||_2 and ||C - I||_2."""
        eye = np.eye(self.agents)
        return float(max(np.linalg.norm(M - eye, 2) for M in (self.matrix(), self.push_matrix())))

    @cached_property
    def alignment(self) -> float:  # type: ignore[override]
        """n pi' rho of the eigenvectors pi' R = pi', C rho = rho, each of sum one."""
        return float(self.agents * stationary(self.matrix().T) @ stationary(self.push_matrix()))

    @cached_property
    def diameter(self) -> int:
        """Largest number of edges from one agent to another."""
        import networkx

        return int(networkx.diameter(self._graph))


def stationary(M: F64) -> F64:
    """Return the vector of sum one that a column-stochastic matrix leaves as it is."""
    n = len(M)
    system = np.vstack([M - np.eye(n), np.ones(n)])
    found: F64 = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
    return found
