"""Spanning trees of a graph of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from distopt.problems.distances import centre_of, distances_from

Neighbours: TypeAlias = Sequence[Sequence[int]]  # of each agent, ascending

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


def tree_from_centre(near: Neighbours) -> Tree:
    """Return a tree from the centre of the graph; each agent's parent is the first one possible."""
    far = distances_from(near, centre_of(near)[0])
    nearer = [[j for j in near[i] if far[j] < far[i]] for i in range(len(near))]
    return Tree(
        tuple(min(js, default=-1) for js in nearer), tuple(far[i] for i in range(len(near)))
    )


def lean_tree(near: Neighbours) -> Tree:
    """Return a tree of least height with few inner agents, the same on every process.

    Few, not fewest: each layer takes as parents, one after the other, those who reach most of the next.

    >>> lean_tree([(1, 3), (0, 2), (1, 3), (0, 2)]).parents
    (-1, 0, 1, 0)
    """
    roots = centre_of(near)[:CENTRES]
    return min((lean_tree_from(near, root) for root in roots), key=lambda tree: tree.inner)


def lean_tree_from(near: Neighbours, root: int) -> Tree:
    """Return such a tree of one root."""
    far = distances_from(near, root)
    layers: list[list[int]] = [[] for _ in range(max(far.values()) + 1)]
    for i in range(len(near)):
        layers[far[i]].append(i)
    parents = [-1] * len(near)
    for upper, lower in pairwise(layers):
        for parent, children in covering(near, upper, lower).items():
            for child in children:
                parents[child] = parent
    return Tree(tuple(parents), tuple(far[i] for i in range(len(near))))


def covering(
    near: Neighbours, upper: Sequence[int], lower: Sequence[int]
) -> Mapping[int, set[int]]:
    """Choose parents in one layer for all agents of the next."""
    left, chosen = set(lower), dict[int, set[int]]()
    reach = {i: left.intersection(near[i]) for i in upper}
    while left:
        best = max(upper, key=lambda i: (len(reach[i] & left), -i))
        chosen[best] = reach[best] & left
        left -= chosen[best]
    return chosen
