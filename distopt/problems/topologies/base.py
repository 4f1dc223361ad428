"""The contract of a kind of graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from distopt.core.errors import ConfigError

if TYPE_CHECKING:
    import networkx


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


def require_connected(graph: networkx.Graph, what: str) -> None:
    """Raise `ConfigError` unless a path leads from every agent to every other."""
    import networkx

    parts = [min(part) for part in networkx.connected_components(graph)]
    if len(parts) > 1:
        raise ConfigError(
            f"{what} has {len(parts)} components for {len(graph)} agents (no path leads from agent "
            f"{parts[0]} to agent {parts[1]}); add edges between them, or change the number of agents."
        )
