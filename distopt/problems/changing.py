"""Graphs that change: in every iteration some edges are down (docs: topologies).

Which ones is a pure function of (seed, iteration, edge), so all agents know it without a message. The
weight of an edge that is down goes to its two ends: W_k is symmetric, and its rows sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.problems.topology import OWN_WEIGHTS, Links, Topology

WINDOW: Final = 32  # iterations in which every edge is up once at least
PREFIX: Final = 4  # bytes in front of a message that comes late


class ChangingTopology(Topology):
    """A graph whose edges are up with probability `up`, independently in every iteration.

    So that what an edge misses stays bounded, edge e is up in every iteration k with
    k + e = 0 modulo `WINDOW` as well.

    Parameters
    ----------
    whole : Topology
        The graph with all edges.
    up : float
        In (0, 1].
    seed : int
        Of the draws.

    Examples
    --------
    >>> ring = ChangingTopology(Topology(4, [(0, 1), (1, 2), (2, 3), (3, 0)]), up=0.5, seed=1)
    >>> [ring.at(k).links(0).hears for k in (1, 2, 5)]
    [(), (1, 3), (1, 3)]
    """

    changes = True
    window = WINDOW

    def __init__(self, whole: Topology, up: float, seed: int) -> None:
        own = {edge: whole.weight(*edge) for edge in whole.edges}
        weights = own if whole.rule == OWN_WEIGHTS else whole.rule
        super().__init__(whole.agents, whole.edges, whole.name, weights)
        self.whole, self.up, self.seed = whole, up, seed
        self._present: dict[int, Present] = {}  # of the last iterations that were asked for

    @cached_property
    def _numbers(self) -> dict[tuple[int, int], int]:
        return {edge: e for e, edge in enumerate(self.edges)}

    def at(self, k: int) -> Topology:
        """Return the graph of iteration k, of which `links` may be asked."""
        found = self._present.get(k)
        if found is None:
            if len(self._present) > 2 * WINDOW:
                self._present.clear()
            found = self._present[k] = Present(self, k)
        return found

    def without(self, lost: Sequence[int]) -> Topology:
        """Return the graph of the other agents, whose edges are drawn by new numbers."""
        return ChangingTopology(self.whole.without(lost), self.up, self.seed) if lost else self

    def described(self) -> str:
        """Write edges, weights and what changes them."""
        return f"{self.whole.described()} up {self.up!r} {self.seed}"

    def missed(self, i: int, j: int, k: int) -> list[int]:
        """List the iterations before k whose messages agent i has for j, since their edge was last up.

        An agent without any edge waits, and has none.
        """
        found: list[int] = []
        before = k - 1
        while before >= 0:
            links = self.at(before).links(i)
            if j in links.hears:
                break
            if links.hears:
                found.append(before)
            before -= 1
        return found[::-1]


class Present(Topology):
    """The edges that are up in one iteration; it has nothing but `links`."""

    def __init__(self, whole: ChangingTopology, k: int) -> None:
        edges = np.arange(len(whole.edges))
        drawn = uniform(make_key(whole.seed, 0, Stream.LINKS, k), edges.size) < whole.up
        self._whole, self._up = whole, drawn | ((k + edges) % WINDOW == 0)

    def links(self, i: int) -> Links:
        """Return the links of agent i over the edges that are up."""
        links, numbers = self._whole.links(i), self._whole._numbers
        pairs = zip(links.hears, links.weights, strict=True)
        heard = {j: w for j, w in pairs if self._up[numbers[min(i, j), max(i, j)]]}
        return Links(tuple(heard), tuple(heard.values()), tuple(heard))
