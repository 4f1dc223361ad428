"""Directed graphs from files: one edge a line, with weights or without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distopt.core.errors import DataError
from distopt.core.files import read_text
from distopt.core.parameters import parameters
from distopt.problems.topologies.base import GraphKind, require_connected
from distopt.problems.topologies.edge_file import TOLERANCE, read_weight

if TYPE_CHECKING:
    import networkx


@parameters("topology")
class DirectedFile(GraphKind):
    """The edges of `file`: a line ``j i`` lets agent j tell agent i, ``#`` starts a comment.

    Two further numbers are the weights R_ij and C_ij; then all edges have them. A line ``i i r c`` says
    R_ii and C_ii, which follow from the others: it is only compared.
    """

    file: str
    directed: bool = True

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        graph = networkx.empty_graph(agents, networkx.DiGraph)
        own: dict[int, dict[str, float]] = {}
        width = 0
        lines = read_text(Path(self.file), "topology.file").splitlines()
        for number, line in enumerate(lines, start=1):
            fields = line.partition("#")[0].split()
            if not fields:
                continue
            where = f'{self.file}, line {number}: "{line.strip()}"'
            j, i = directed_edge(fields, where, agents)
            if width and len(fields) != width:
                raise DataError(
                    f"{where} differs from the lines before; accepted: two weights on all lines or on none."
                )
            width = len(fields)
            names = zip(("weight", "push"), fields[2:], strict=False)
            weights = {name: read_weight(field, where) for name, field in names}
            if i != j:
                graph.add_edge(j, i, **weights)
            elif weights:
                own[i] = weights
            else:
                raise DataError(f"{where} links agent {i} with itself; remove the line.")
        for i, weights in own.items():
            self.compare(graph, i, weights)
        require_connected(graph, self.file)
        return graph

    def compare(self, graph: networkx.Graph, i: int, own: dict[str, float]) -> None:
        """Refuse weights of agent i itself with which its row of R or column of C does not sum to one."""
        sums = {
            "weight": ("row of R", graph.in_edges(i, "weight")),
            "push": ("column of C", graph.out_edges(i, "push")),
        }
        for key, (what, edges) in sums.items():
            total = own[key] + sum(w for _, _, w in edges)
            if abs(total - 1) > TOLERANCE:
                raise DataError(
                    f"{self.file}: agent {i}'s {what} sums to {total:.12g} ({own[key]:g} of itself); "
                    "accepted: 1."
                )


def directed_edge(fields: list[str], where: str, agents: int) -> tuple[int, int]:
    """Read the two agents of a line."""
    if len(fields) not in {2, 4} or not all(f.isascii() and f.isdigit() for f in fields[:2]):
        raise DataError(
            f"{where} is not a directed edge; accepted: the agent that tells, the one that hears, and "
            'perhaps their weights in R and C, such as "0 3" or "0 3 0.25 0.5".'
        )
    j, i = map(int, fields[:2])
    if max(i, j) >= agents:
        raise DataError(
            f"{where} names agent {max(i, j)}, but problem.agents = {agents}; accepted: 0 to {agents - 1}."
        )
    return j, i
