"""Files that say which edges are up in which iterations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from distopt.core.arrays import Bools
from distopt.core.errors import DataError
from distopt.core.files import read_text
from distopt.core.parameters import parameters
from distopt.problems.topologies.base import GraphKind, require_connected

if TYPE_CHECKING:
    import networkx

LONGEST: Final = 100_000  # iterations

Edge = tuple[int, int]


@parameters("topology")
class ScheduleFile(GraphKind):
    """The graph of all edges of the file `schedule`."""

    schedule: str

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        graph = networkx.empty_graph(agents)
        graph.add_edges_from(read_schedule(Path(self.schedule), agents))
        require_connected(graph, self.schedule)
        return graph


def read_schedule(path: Path, agents: int) -> dict[Edge, list[int]]:
    """Read a file with lines ``k i j``: in iteration k the edge (i, j) is up.

    Returns
    -------
    dict
        By pair (i, j), i < j, the iterations in which it is up, as the file lists them.

    Raises
    ------
    DataError
        Naming file, line and value where one makes no sense.
    """
    found: dict[Edge, list[int]] = {}
    for number, line in enumerate(read_text(path, "topology.schedule").splitlines(), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        where = f'{path}, line {number}: "{line.strip()}"'
        if len(fields) != 3 or not all(f.isascii() and f.isdigit() for f in fields):
            raise DataError(
                f"{where} is no edge of an iteration; accepted: an iteration and two agents' numbers, such "
                'as "4 0 3".'
            )
        k, (i, j) = int(fields[0]), sorted(map(int, fields[1:]))
        if k >= LONGEST:
            raise DataError(f"{where} is about iteration {k}; accepted: 0 to {LONGEST - 1}.")
        if j >= agents:
            raise DataError(
                f"{where} names agent {j}, but problem.agents = {agents}; "
                f"accepted: 0 to {agents - 1}."
            )
        if i == j:
            raise DataError(f"{where} links agent {i} with itself; remove the line.")
        found.setdefault((i, j), []).append(k)
    if not found:
        raise DataError(f'{path} lists no edge; accepted: lines such as "4 0 3".')
    return found


def table_of(schedule: dict[Edge, list[int]], edges: tuple[Edge, ...]) -> Bools:
    """Return which of the edges are up in each iteration: bool[period, edges]."""
    period = 1 + max(map(max, schedule.values()))
    table = np.zeros((period, len(edges)), np.bool_)
    for e, edge in enumerate(edges):
        table[schedule[edge], e] = True
    return table
