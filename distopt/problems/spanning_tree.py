"""Spanning trees of a graph of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from distopt.problems.distances import centre_of

if TYPE_CHECKING:
    import networkx

CENTRES = 32  # roots that are tried at most


@dataclass(frozen=True)
class Tree:
    """A spanning tree of a graph; every agent is as near to the root as the graph allows."""

    parents: tuple[int, ...]  # -1 of the root
    depths: tuple[int, ...]

    @cached_property
    def height(self) -> int:
        """The largest depth."""
        return max(self.depths)

    @cached_property
    def with_children(self) -> frozenset[int]:
        """The agents that have children."""
        return frozenset(self.parents) - {-1}

    @property
    def inner(self) -> int:
        """How many agents have children."""
        return len(self.with_children)


def tree_from_centre(graph: networkx.Graph) -> Tree:
    """Return a tree from the centre of the graph; each agent's parent is the first one possible."""
    import networkx

    root = centre_of(graph)[0]
    far = networkx.single_source_shortest_path_length(graph, root)
    near = [[j for j in sorted(graph[i]) if far[j] < far[i]] for i in range(len(graph))]
    return Tree(tuple(min(js, default=-1) for js in near), tuple(far[i] for i in range(len(graph))))


def lean_tree(graph: networkx.Graph) -> Tree:
    """Return a tree of least height with few inner agents, the same on every process.

    Few, not fewest: each layer takes as parents, one after the other, those who reach most of the next.

    >>> import networkx
    >>> lean_tree(networkx.cycle_graph(4)).parents
    (-1, 0, 1, 0)
    """
    roots = centre_of(graph)[:CENTRES]
    return min((lean_tree_from(graph, root) for root in roots), key=lambda tree: tree.inner)


def lean_tree_from(graph: networkx.Graph, root: int) -> Tree:
    """Return such a tree of one root."""
    import networkx

    far = networkx.single_source_shortest_path_length(graph, root)
    layers: list[list[int]] = [[] for _ in range(max(far.values()) + 1)]
    for i in range(len(graph)):
        layers[far[i]].append(i)
    parents = [-1] * len(graph)
    for upper, lower in pairwise(layers):
        for parent, children in covering(graph, upper, lower).items():
            for child in children:
                parents[child] = parent
    return Tree(tuple(parents), tuple(far[i] for i in range(len(graph))))


def covering(
    graph: networkx.Graph, upper: Sequence[int], lower: Sequence[int]
) -> Mapping[int, set[int]]:
    """Choose parents in one layer for all agents of the next."""
    left, chosen = set(lower), dict[int, set[int]]()
    reach = {i: left.intersection(graph[i]) for i in upper}
    while left:
        best = max(upper, key=lambda i: (len(reach[i] & left), -i))
        chosen[best] = reach[best] & left
        left -= chosen[best]
    return chosen
