"""Spanning trees of a graph of agents, which is given by everybody's neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import TypeAlias

Near: TypeAlias = Sequence[Sequence[int]]

CENTRES = 32  # roots that are tried at most


@dataclass(frozen=True)
class Tree:
    """A spanning tree of a graph; every agent is as near to the root as the graph allows."""

    parents: tuple[int, ...]  # -1 of the root
    depths: tuple[int, ...]

    @property
    def height(self) -> int:
        """The largest depth."""
        return max(self.depths)

    @property
    def inner(self) -> int:
        """How many agents have children."""
        return len({*self.parents} - {-1})


def eccentricities(near: Near) -> list[int]:
    """Return each agent's distance to the farthest one: the round in which it has heard of all.

    >>> eccentricities([[1], [0, 2], [1]])
    [2, 1, 2]
    """
    heard = [1 << i for i in range(len(near))]  # sets of agents, a bit each
    everybody = (1 << len(near)) - 1
    found, rounds = [0] * len(near), 0
    while left := [i for i, h in enumerate(heard) if h != everybody]:
        rounds += 1
        heard = [reduce(or_, (heard[j] for j in js), heard[i]) for i, js in enumerate(near)]
        for i in left:
            found[i] = rounds
    return found


def centre(near: Near) -> list[int]:
    """Return the agents from which the farthest one is nearest, ascending."""
    far = eccentricities(near)
    least = min(far)
    return [i for i, distance in enumerate(far) if distance == least]


def layers_from(near: Near, root: int) -> list[list[int]]:
    """Return the agents by their distance from the root, ascending in each layer."""
    layers, known = [[root]], {root}
    while farther := {j for i in layers[-1] for j in near[i]} - known:
        layers.append(sorted(farther))
        known |= farther
    return layers


def depths_of(layers: Sequence[Sequence[int]]) -> list[int]:
    """Return each agent's place in the layers."""
    depths = {i: depth for depth, layer in enumerate(layers) for i in layer}
    return [depths[i] for i in range(len(depths))]


def tree_from_centre(near: Near) -> Tree:
    """Return a tree from the centre of the graph; each agent's parent is the first one possible."""
    far = depths_of(layers_from(near, centre(near)[0]))
    parents = [min((j for j in js if far[j] < far[i]), default=-1) for i, js in enumerate(near)]
    return Tree(tuple(parents), tuple(far))


def lean_tree(near: Near) -> Tree:
    """Return a tree of least height with few inner agents, the same on every process.

    Few, not fewest: each layer takes as parents, one after the other, those who reach most of the next.

    >>> lean_tree([[1, 3], [0, 2], [1, 3], [0, 2]]).parents
    (-1, 0, 1, 0)
    """
    roots = centre(near)[:CENTRES]
    return min((lean_tree_from(near, root) for root in roots), key=lambda tree: tree.inner)


def lean_tree_from(near: Near, root: int) -> Tree:
    """Return such a tree of one root."""
    layers = layers_from(near, root)
    parents = [-1] * len(near)
    for upper, lower in pairwise(layers):
        for parent, children in covering(near, upper, lower).items():
            for child in children:
                parents[child] = parent
    return Tree(tuple(parents), tuple(depths_of(layers)))


def covering(near: Near, upper: Sequence[int], lower: Sequence[int]) -> Mapping[int, set[int]]:
    """Choose parents in one layer for all agents of the next."""
    left, chosen = set(lower), dict[int, set[int]]()
    reach = {i: left.intersection(near[i]) for i in upper}
    while left:
        best = max(upper, key=lambda i: (len(reach[i] & left), -i))
        chosen[best] = reach[best] & left
        left -= chosen[best]
    return chosen
