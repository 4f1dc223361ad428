"""Distances in large graphs, where a search from every agent must be quick."""

import numpy as np

from distopt.core.arrays import I64
from distopt.core.kernel import kernel


@kernel
def longest_distance(starts: I64, members: I64) -> int:
    """Return the diameter of a connected graph; node i has members[starts[i]:starts[i + 1]]."""
    n = starts.size - 1
    distance, queue = np.empty(n, np.int64), np.empty(n, np.int64)
    longest = 0
    for root in range(n):
        distance[:] = -1
        distance[root], queue[0] = 0, root
        at, end = 0, 1
        while at < end:
            i = queue[at]
            at += 1
            for m in range(starts[i], starts[i + 1]):
                j = members[m]
                if distance[j] < 0:
                    distance[j], queue[end] = distance[i] + 1, j
                    end += 1
        longest = max(longest, distance[queue[n - 1]])
    return longest
