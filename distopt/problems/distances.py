"""Distances in a connected graph, given by the neighbours of each node 0 .. n - 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distopt.core.arrays import I64
from distopt.core.kernel import kernel

SEARCHED = 500  # nodes up to which no kernel needs to be loaded
LONG = 64  # edges from one node on, from which one search after the other is quicker
WORD = 64  # searches that go on together, a bit each


def diameter_of(near: Sequence[Sequence[int]]) -> int:
    """Return the largest distance.

    >>> diameter_of([(1,), (0, 2), (1,)])
    2
    """
    return max(eccentricities(near))


def centre_of(near: Sequence[Sequence[int]]) -> list[int]:
    """Return the nodes from which the farthest one is nearest, ascending."""
    farthest = eccentricities(near)
    least = min(farthest)
    return [i for i, distance in enumerate(farthest) if distance == least]


def distances_from(near: Sequence[Sequence[int]], root: int) -> dict[int, int]:
    """Return the distances from a node of all those that a path leads to."""
    far, queue = {root: 0}, [root]
    for i in queue:
        for j in near[i]:
            if j not in far:
                far[j] = far[i] + 1
                queue.append(j)
    return far


def eccentricities(near: Sequence[Sequence[int]]) -> list[int]:
    """Return for each node how far the farthest one is."""
    if len(near) <= SEARCHED:
        return few_eccentricities(near)
    starts = np.cumsum([0, *map(len, near)], dtype=np.int64)
    members = np.concatenate(near).astype(np.int64)
    first = farthest_from(0, 1, starts, members)
    search = farthest_from if first[0] >= LONG else farthest_together
    return search(0, len(near), starts, members).tolist()  # type: ignore[no-any-return]


def few_eccentricities(near: Sequence[Sequence[int]]) -> list[int]:
    """Do the same with sets of nodes as the bits of integers, in n steps for each node."""
    linked = [sum(1 << j for j in js) for js in near]
    farthest = []
    for root in range(len(near)):
        seen = reached = 1 << root
        distance = -1
        while reached:
            distance += 1
            layer, reached = reached, 0
            while layer:
                last = layer & -layer
                reached |= linked[last.bit_length() - 1]
                layer ^= last
            reached &= ~seen
            seen |= reached
        farthest.append(distance)
    return farthest


@kernel
def farthest_from(first: int, end: int, starts: I64, members: I64) -> I64:
    """Return how far the farthest node is from each of first .. end - 1, by one search after the other.

    Node i of the graph, which is connected, has the neighbours members[starts[i]:starts[i + 1]].
    """
    n = starts.size - 1
    distance, queue = np.empty(n, np.int64), np.empty(n, np.int64)
    farthest = np.empty(end - first, np.int64)
    for root in range(first, end):
        distance[:] = -1
        distance[root], queue[0] = 0, root
        at, last = 0, 1
        while at < last:
            i = queue[at]
            at += 1
            for m in range(starts[i], starts[i + 1]):
                j = members[m]
                if distance[j] < 0:
                    distance[j], queue[last] = distance[i] + 1, j
                    last += 1
        farthest[root - first] = distance[queue[n - 1]]
    return farthest


@kernel
def farthest_together(first: int, end: int, starts: I64, members: I64) -> I64:
    """Do the same from 64 nodes at a time, edge by edge outwards: quick in graphs that are not long."""
    n = starts.size - 1
    seen, grown = np.empty(n, np.uint64), np.empty(n, np.uint64)
    farthest = np.zeros(end - first, np.int64)
    for root in range(first, end, WORD):
        roots = min(WORD, end - root)
        seen[:] = 0
        for b in range(roots):
            seen[root + b] = np.uint64(1) << np.uint64(b)
        distance, found = 0, np.uint64(1)
        while found:
            distance += 1
            found = np.uint64(0)
            for i in range(n):
                reached = seen[i]
                for m in range(starts[i], starts[i + 1]):
                    reached |= seen[members[m]]
                grown[i] = reached
                found |= reached & ~seen[i]
            seen, grown = grown, seen
            for b in range(roots):
                if (found >> np.uint64(b)) & np.uint64(1):
                    farthest[root - first + b] = distance
    return farthest
