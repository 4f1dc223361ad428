"""Graphs that change: in every iteration some edges are down (docs: topologies).

Which ones is a pure function of the iteration: of (seed, iteration, edge or agent), or of a file's table.
So all agents know it without a message. The weight of an edge that is down goes to its two ends: W_k is
symmetric, and its rows sum to one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np

from distopt.core.arrays import Bools
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.problems.topology import OWN_WEIGHTS, Links, Topology

WINDOW: Final = 32  # iterations in which every edge of a drawn graph is up once at least
PREFIX: Final = 4  # bytes in front of a message that comes late


class ChangingTopology(Topology, ABC):
    """A graph of which some edges are down in some iterations.

    Attributes
    ----------
    whole : Topology
        The graph with all edges.
    cause : str
        The keys that make it change, with their values, for sentences.
    window : int
        Iterations in which every edge is up once at least, so that what it misses stays bounded.
    share : float
        Of the iterations in which an edge is up, as a mean.
    """

    changes = True

    def __init__(self, whole: Topology) -> None:
        own = {edge: whole.weight(*edge) for edge in whole.edges}
        weights = own if whole.rule == OWN_WEIGHTS else whole.rule
        super().__init__(whole.agents, whole.edges, whole.name, weights)
        self.whole = whole
        self._present: dict[int, Present] = {}  # of the last iterations that were asked for

    @abstractmethod
    def up_at(self, k: int) -> Bools:
        """Tell of every edge whether it is up in iteration k."""

    @cached_property
    def _numbers(self) -> dict[tuple[int, int], int]:
        return {edge: e for e, edge in enumerate(self.edges)}

    def at(self, k: int) -> Topology:
        """Return the graph of iteration k, of which `links` may be asked."""
        found = self._present.get(k)
        if found is None:
            if len(self._present) > 2 * self.window:
                self._present.clear()
            found = self._present[k] = Present(self, self.up_at(k))
        return found

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

    def __init__(self, whole: ChangingTopology, up: Bools) -> None:
        self._whole, self._up = whole, up

    def links(self, i: int) -> Links:
        """Return the links of agent i over the edges that are up."""
        links, numbers = self._whole.links(i), self._whole._numbers
        pairs = zip(links.hears, links.weights, strict=True)
        heard = {j: w for j, w in pairs if self._up[numbers[min(i, j), max(i, j)]]}
        return Links(tuple(heard), tuple(heard.values()), tuple(heard))


class DrawnTopology(ChangingTopology):
    """A graph whose edges are up with probability `up`, and whose agents sleep with probability `asleep`.

    All draws are independent. An edge is up if its own draw says so and both its ends are awake. In every
    iteration k with k + e = 0 modulo `WINDOW` edge e is up anyway, and wakes its ends.

    Parameters
    ----------
    whole : Topology
        The graph with all edges.
    up : float
        In (0, 1].
    asleep : float
        In [0, 1).
    seed : int
        Of the draws.

    Examples
    --------
    >>> ring = DrawnTopology(Topology(4, [(0, 1), (1, 2), (2, 3), (3, 0)]), up=0.5, seed=1)
    >>> [ring.at(k).links(0).hears for k in (1, 2, 5)]
    [(), (1, 3), (1, 3)]
    """

    window = WINDOW

    def __init__(
        self, whole: Topology, up: float = 1.0, asleep: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__(whole)
        self.up, self.asleep, self.seed = up, asleep, seed
        given = {"up": up} if up < 1 or not asleep else {}
        given |= {"asleep": asleep} if asleep else {}
        self.cause = " and ".join(f"topology.{key} = {value:g}" for key, value in given.items())
        self.share = 1 - (1 - up * (1 - asleep) ** 2) * (1 - 1 / WINDOW)
        self._ends = np.array(self.edges, np.int64).reshape(-1, 2)

    def up_at(self, k: int) -> Bools:
        """Draw."""
        edges = np.arange(len(self.edges))
        up: Bools = uniform(make_key(self.seed, 0, Stream.LINKS, k), edges.size) < self.up
        if self.asleep:
            awake = uniform(make_key(self.seed, 0, Stream.SLEEP, k), self.agents) >= self.asleep
            up &= awake[self._ends].all(axis=1)
        up |= (k + edges) % WINDOW == 0
        return up

    def without(self, lost: Sequence[int]) -> Topology:
        """Return the graph of the other agents, whose edges are drawn by new numbers."""
        left = self.whole.without(lost)
        return DrawnTopology(left, self.up, self.asleep, self.seed) if lost else self

    def described(self) -> str:
        """Write edges, weights and what changes them."""
        asleep = f" asleep {self.asleep!r}" if self.asleep else ""
        return f"{self.whole.described()} up {self.up!r} {self.seed}{asleep}"


class ScheduledTopology(ChangingTopology):
    """A graph whose edges are up when a table says so, over and over.

    Parameters
    ----------
    whole : Topology
        The graph with all edges.
    table : bool[period, edges]
        Which edges are up in iterations 0, ..., period - 1; each is in one of them at least.
    file : str
        Where the table is from, for sentences.

    Examples
    --------
    >>> path = Topology(3, [(0, 1), (1, 2)])
    >>> turns = ScheduledTopology(path, np.array([[True, False], [False, True], [False, True]]))
    >>> [turns.at(k).links(1).hears for k in range(4)], turns.window
    ([(0,), (2,), (2,), (0,)], 3)
    """

    def __init__(self, whole: Topology, table: Bools, file: str = "") -> None:
        super().__init__(whole)
        self.table, self.file = table, file
        self.cause = f'topology.schedule = "{file}"'
        times = [np.flatnonzero(column) for column in table.T]
        waits = [np.diff(ks, append=ks[0] + len(table)).max() for ks in times]
        self.window = int(max(waits, default=1))
        self.share = float(table.mean())

    def up_at(self, k: int) -> Bools:
        """Look it up."""
        row: Bools = self.table[k % len(self.table)]
        return row

    def without(self, lost: Sequence[int]) -> Topology:
        """Return the graph of the other agents, with what is left of the table."""
        kept = [e for e, edge in enumerate(self.edges) if not {*edge} & {*lost}]
        left = self.whole.without(lost)
        return ScheduledTopology(left, self.table[:, kept], self.file) if lost else self

    def described(self) -> str:
        """Write edges, weights and the table."""
        digest = hashlib.sha256(np.packbits(self.table).tobytes()).hexdigest()
        return f"{self.whole.described()} schedule {len(self.table)} {digest}"
