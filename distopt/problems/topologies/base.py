"""The contract of a kind of graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx


class GraphKind(ABC):
    """A rule that makes a connected graph for a number of agents.

    The fields are keys of ``[topology]``. A rule is deterministic: every rank calls it for
    itself and must get the same graph, so random kinds draw from `distopt.core.randomness`.
    """

    @abstractmethod
    def graph(self, agents: int) -> networkx.Graph:
        """Return the graph, nodes 0 .. agents - 1; node attribute ``pos`` = (x, y) where natural.

        Raises
        ------
        ConfigError
            Where the rule has no connected graph of this size; the sentence names sizes that work.
        """
