"""The contract of a kind of graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from distopt.core.errors import ConfigError

if TYPE_CHECKING:
    import networkx

Edges: TypeAlias = list[tuple[int, int]]


class GraphKind(ABC):
    """A rule that makes a connected graph for a number of agents.

    Where every edge of it has networkx's attribute ``weight``, those are the mixing weights W_ij.

    The fields are keys of ``[topology]``. A rule is deterministic: every rank calls it for
    itself and must get the same graph, so random kinds draw from `distopt.core.randomness`.
    """

    @abstractmethod
    def graph(self, agents: int) -> networkx.Graph:
        """Return the graph, nodes 0 .. agents - 1.

        Raises
        ------
        ConfigError
            Where the rule has no connected graph of this size; the sentence names sizes that work.
        """


class Pattern(GraphKind):
    """A kind that lists its edges: ranks need no networkx for it, whose import takes 0.1 s."""

    @abstractmethod
    def edges(self, agents: int) -> Edges:
        """Return the edges, pairs of nodes; raises as `graph`."""

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        graph = networkx.empty_graph(agents)
        graph.add_edges_from(self.edges(agents))
        return graph


def parts_of(agents: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Return the smallest member of every connected part, ascending.

    >>> parts_of(5, [(3, 4), (0, 2)])
    [0, 1, 3]
    """
    lower = list(range(agents))  # a smaller member of the same part, or the agent itself

    def least(i: int) -> int:
        while lower[i] != i:
            lower[i] = lower[lower[i]]
            i = lower[i]
        return i

    for i, j in edges:
        a, b = least(i), least(j)
        lower[max(a, b)] = min(a, b)
    return [i for i in range(agents) if lower[i] == i]


def require_connected(agents: int, edges: Iterable[tuple[int, int]], what: str) -> None:
    """Raise `ConfigError` unless a path leads from every agent to every other."""
    parts = parts_of(agents, edges)
    if len(parts) > 1:
        raise ConfigError(
            f"{what} has {len(parts)} components for {agents} agents (no path leads from agent "
            f"{parts[0]} to agent {parts[1]}); add edges between them, or change the number of agents."
        )
