"""The contract of a kind of graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from distopt.core.errors import ConfigError

if TYPE_CHECKING:
    import networkx

Edges: TypeAlias = list[tuple[int, int]]


class GraphKind(ABC):
    """A rule that makes a connected graph for a number of agents.

    Where every edge of it has networkx's attribute ``weight``, those are the mixing weights W_ij. A
    ``DiGraph`` makes a directed topology: an edge (j, i) lets j tell i, with R_ij as ``weight`` and C_ij
    as ``push``.

    The fields are keys of ``[topology]``. A rule is deterministic: every rank calls it for
    itself and must get the same graph, so random kinds draw from `distopt.core.randomness`.
    """

    @abstractmethod
    def graph(self, agents: int) -> networkx.Graph | Edges:
        """Return the graph, nodes 0 .. agents - 1; of an undirected one without weights a list will do.

        Raises
        ------
        ConfigError
            Where the rule has no connected graph of this size; the sentence names sizes that work.
        """


def require_connected(graph: networkx.Graph, what: str) -> None:
    """Raise `ConfigError` unless a path leads from every agent to every other."""
    import networkx

    if graph.is_directed():
        require_strongly_connected(graph, what)
        return
    parts = [min(part) for part in networkx.connected_components(graph)]
    require_one_component(parts, len(graph), what)


def require_one_component(parts: Sequence[int], agents: int, what: str) -> None:
    """Raise `ConfigError` unless there is one part only; they are given by an agent each."""
    if len(parts) > 1:
        raise ConfigError(
            f"{what} has {len(parts)} components for {agents} agents (no path leads from agent "
            f"{parts[0]} to agent {parts[1]}); add edges between them, or change the number of agents."
        )


def require_strongly_connected(graph: networkx.Graph, what: str) -> None:
    """Raise `ConfigError` unless messages can go from every agent to every other."""
    import networkx

    after, before = networkx.descendants(graph, 0) | {0}, networkx.ancestors(graph, 0) | {0}
    missing = next((i for i in graph if i not in after or i not in before), None)
    if missing is None:
        return
    a, b = (missing, 0) if missing in after else (0, missing)
    raise ConfigError(
        f"{what} is not strongly connected: no path along its edges leads from agent {a} to agent {b}, so "
        f"agent {b} would never learn of it; add edges, or turn some round."
    )
