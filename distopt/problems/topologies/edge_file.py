"""A graph from a text file with one edge a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distopt.core.errors import DataError
from distopt.core.files import reason
from distopt.core.parameters import parameters
from distopt.problems.topologies.base import GraphKind, require_connected

if TYPE_CHECKING:
    import networkx


@parameters("topology")
class EdgeFile(GraphKind):
    """The edges of `file`: two agents' numbers a line, ``#`` starts a comment, order is free."""

    file: str

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        graph = networkx.empty_graph(agents)
        graph.add_edges_from(read_edges(Path(self.file), agents))
        require_connected(graph, self.file)
        return graph


def read_edges(path: Path, agents: int) -> list[tuple[int, int]]:
    """Read the edges of a file; raise `DataError` naming file and line where one makes no sense."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'topology.file = "{path}" cannot be read: {reason(error)}.') from None
    edges = []
    for number, line in enumerate(lines, start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        where = f'{path}, line {number}: "{line.strip()}"'
        if len(fields) != 2 or not all(field.isascii() and field.isdigit() for field in fields):
            raise DataError(
                f'{where} is not an edge; accepted: two agents\' numbers, such as "0 3".'
            )
        i, j = map(int, fields)
        if i == j:
            raise DataError(f"{where} links agent {i} with itself; remove the line.")
        if max(i, j) >= agents:
            raise DataError(
                f"{where} names agent {max(i, j)}, but problem.agents = {agents}; "
                f"accepted: 0 to {agents - 1}."
            )
        edges.append((i, j))
    return edges
