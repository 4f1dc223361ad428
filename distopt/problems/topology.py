"""The graph of the agents and its mixing weights (docs: topologies).

Metropolis weights: W_ij = 1 / (1 + max(deg_i, deg_j)) on an edge, W_ii = 1 - sum_j W_ij. Each is
computed from two integers by one formula, so both ends of an edge hold the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.files import locate
from distopt.core.parameters import field_names, require_known, show
from distopt.problems.topologies import REGISTRY
from distopt.problems.topologies.base import GraphKind, require_connected
from distopt.problems.topologies.edge_file import EdgeFile

if TYPE_CHECKING:
    import networkx

DENSE = 2000  # agents up to which eigenvalues come from the dense matrix


@dataclass(frozen=True)
class Links:
    """The agents with which one agent exchanges messages in an iteration.

    On an undirected graph `hears` and `tells` are equal; they are separate for directed ones.
    """

    hears: tuple[int, ...]  # ascending
    weights: tuple[float, ...]  # W_ij for j in `hears`, bit-identical at both ends of an edge
    tells: tuple[int, ...]  # ascending


class Topology:
    """A connected undirected graph of agents with Metropolis weights.

    Parameters
    ----------
    agents : int
        n >= 1.
    edges : Iterable[tuple[int, int]]
        Pairs of different agents; order and repetitions do not matter.
    name : str
        As in reports.

    Examples
    --------
    >>> path = Topology(3, [(0, 1), (1, 2)])
    >>> path.neighbours(1), path.degree(1)
    ((0, 2), 2)
    >>> round(path.gap, 3)
    0.333
    """

    def __init__(self, agents: int, edges: Iterable[tuple[int, int]], name: str = "custom") -> None:
        if agents < 1:
            raise ConfigError(f"A topology needs at least one agent, not {agents}.")
        self.agents = agents
        self.name = name
        self.edges = tuple(sorted({(min(i, j), max(i, j)) for i, j in edges}))
        for i, j in self.edges:
            if i == j or i < 0 or j >= agents:
                raise ConfigError(
                    f"The edge ({i}, {j}) is not possible; accepted: two different agents "
                    f"of 0 to {agents - 1}."
                )
        import networkx

        self._graph = networkx.empty_graph(agents)
        self._graph.add_edges_from(self.edges)
        require_connected(self._graph, f"The {name} graph")

    @classmethod
    def from_graph(cls, graph: networkx.Graph, name: str = "custom") -> Topology:
        """Take a networkx graph with nodes 0 .. n - 1."""
        return cls(len(graph), graph.edges, name)

    def at(self, k: int) -> Topology:
        """Return the graph of iteration k: this one, as it does not change."""
        return self

    def links(self, i: int) -> Links:
        """Return the links of agent i."""
        return self._links[i]

    @cached_property
    def _links(self) -> list[Links]:
        linked = [tuple(sorted(self._graph[i])) for i in range(self.agents)]
        return [Links(js, tuple(self.weight(i, j) for j in js), js) for i, js in enumerate(linked)]

    def neighbours(self, i: int) -> tuple[int, ...]:
        """List the agents that agent i ever hears, ascending."""
        return self.links(i).hears

    def degree(self, i: int) -> int:
        """Count the neighbours of agent i."""
        return len(self._graph[i])

    def weight(self, i: int, j: int) -> float:
        """Return W_ij of an edge."""
        return 1.0 / (1 + max(self.degree(i), self.degree(j)))

    def matrix(self) -> F64:
        """Return the mixing matrix W, float64[n, n]: symmetric, rows sum to one."""
        W = np.zeros((self.agents, self.agents))
        for i, j in self.edges:
            W[i, j] = W[j, i] = self.weight(i, j)
        np.fill_diagonal(W, self._own_weights())
        return W

    @cached_property
    def gap(self) -> float:
        """Spectral gap delta = 1 - ||W - 11'/n||_2, in (0, 1]."""
        lowest, second = self._eigenvalues
        return 1.0 - max(second, -lowest)

    @cached_property
    def kappa(self) -> float:
        """||W - I||_2 = 1 - the smallest eigenvalue of W, at most 2."""
        return 1.0 - self._eigenvalues[0]

    @cached_property
    def diameter(self) -> int:
        """Largest number of edges between two agents."""
        import networkx

        return int(networkx.diameter(self._graph, usebounds=True))

    @cached_property
    def _eigenvalues(self) -> tuple[float, float]:
        """The smallest and the second largest eigenvalue of W (of one agent: 1 and 0)."""
        if self.agents == 1:
            return 1.0, 0.0
        if self.agents <= DENSE:
            values = np.linalg.eigvalsh(self.matrix())
            return float(values[0]), float(values[-2])
        from scipy.sparse.linalg import eigsh

        # A fixed start vector makes the answer the same at every call. Near 1 the eigenvalues of
        # long graphs crowd together; inverting about a point just above 1 pulls them apart.
        W, v0 = self._sparse(), np.cos(np.arange(self.agents, dtype=np.float64))
        largest = eigsh(W, k=2, sigma=1 + 1e-6, v0=v0, return_eigenvectors=False)
        lowest = eigsh(W, k=1, which="SA", tol=1e-9, v0=v0, return_eigenvectors=False)
        return float(lowest[0]), float(min(largest))

    def _own_weights(self) -> list[float]:
        return [1.0 - sum(links.weights) for links in self._links]

    def _sparse(self) -> Any:
        from scipy.sparse import coo_array, diags_array

        w = [self.weight(i, j) for i, j in self.edges]
        half = coo_array((w, np.array(self.edges).T), shape=(self.agents, self.agents))
        return (half + half.T + diags_array(self._own_weights())).tocsc()


def build_topology(section: dict[str, Any], agents: int, folder: Path) -> Topology:
    """Make the topology that ``[topology]`` describes; a relative file is looked for in `folder` first."""
    name, kind = graph_kind(section, folder)
    return Topology.from_graph(kind.graph(agents), name)


def graph_kind(section: dict[str, Any], folder: Path) -> tuple[str, GraphKind]:
    """Read ``[topology]``: the name of the graph and the object that makes it."""
    rest = dict(section)
    name = rest.pop("graph", "ring")
    if "file" in rest:
        if "graph" in section:
            raise ConfigError(
                f"topology.graph = {show(name)} and topology.file = {show(rest['file'])} exclude "
                "each other; keep one of them."
            )
        return "file", EdgeFile(file=str(locate(EdgeFile(**rest).file, folder)))
    if not isinstance(name, str):
        raise ConfigError(
            f"topology.graph = {show(name)} is not acceptable; accepted: a string in quotes."
        )
    cls = REGISTRY.get(name)
    known = sorted(["file", "graph", *field_names(cls)])
    require_known("topology", rest, known, f' with topology.graph = "{name}"')
    return name, cls(**rest)
