"""Graphs from files: one edge a line, with weights or without, or a mixing matrix."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distopt.core.arrays import read_npy
from distopt.core.errors import DataError
from distopt.core.files import read_text
from distopt.core.parameters import parameters
from distopt.problems.topologies.base import GraphKind, require_connected

if TYPE_CHECKING:
    import networkx


TOLERANCE = 1e-9  # of sums that must be 1; files hold rounded numbers


@parameters("topology")
class EdgeFile(GraphKind):
    """The edges of `file`: two agents' numbers a line, ``#`` starts a comment, order is free.

    A third number is the weight W_ij; then all edges have one. A line ``i i w`` says W_ii, which follows
    from the others: it is only compared.
    """

    file: str

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        edges, own = read_edges(Path(self.file), agents)
        graph = networkx.empty_graph(agents)
        graph.add_edges_from(edges)
        for (i, j), weight in edges.items():
            if weight is not None:
                graph[i][j]["weight"] = weight
        for i, weight in own.items():
            total = weight + sum(link["weight"] for link in graph[i].values())
            if abs(total - 1) > TOLERANCE:
                raise DataError(
                    f"{self.file}: the weights of agent {i} sum to {total:.12g} ({weight:g} of itself); "
                    "accepted: 1."
                )
        require_connected(graph, self.file)
        return graph


Edges = dict[tuple[int, int], float | None]


def read_edges(path: Path, agents: int) -> tuple[Edges, dict[int, float]]:
    """Read a file of edges.

    Returns
    -------
    edges : dict
        By pair (i, j), i < j, the weight, None in a file without weights.
    own : dict
        By agent the weight W_ii, where the file says it.

    Raises
    ------
    DataError
        Naming file, line and value where one makes no sense.
    """
    edges: Edges = {}
    own: dict[int, float] = {}
    width = 0
    for number, line in enumerate(read_text(path, "topology.file").splitlines(), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        where = f'{path}, line {number}: "{line.strip()}"'
        if len(fields) not in {2, 3} or not all(f.isascii() and f.isdigit() for f in fields[:2]):
            raise DataError(
                f"{where} is not an edge; accepted: two agents' numbers and perhaps a weight, such as "
                '"0 3" or "0 3 0.25".'
            )
        if width and len(fields) != width:
            raise DataError(
                f"{where} has {'a' if len(fields) == 3 else 'no'} weight, unlike the lines before; "
                "accepted: a weight on all lines or on none."
            )
        width = len(fields)
        i, j = sorted(map(int, fields[:2]))
        if j >= agents:
            raise DataError(
                f"{where} names agent {j}, but problem.agents = {agents}; "
                f"accepted: 0 to {agents - 1}."
            )
        weight = read_weight(fields[2], where) if width == 3 else None
        if i == j and weight is None:
            raise DataError(f"{where} links agent {i} with itself; remove the line.")
        known = own.get(i) if i == j else edges.get((i, j))
        if known is not None and known != weight:
            raise DataError(
                f"{where}: an earlier line gives W_{i},{j} = {known:g}; accepted: the same, since W is "
                "symmetric."
            )
        if i == j:
            own[i] = float(weight or 0)
        elif weight == 0:
            raise DataError(f"{where}: the weight 0 links nobody; remove the line.")
        else:
            edges[i, j] = weight
    return edges, own


def read_weight(field: str, where: str) -> float:
    """Read one weight."""
    try:
        weight = float(field)
    except ValueError:
        weight = float("nan")
    if not isfinite(weight):
        raise DataError(f"{where}: {field} is not a weight; accepted: a finite number.")
    return weight


@parameters("topology")
class MatrixFile(GraphKind):
    """The mixing matrix W of the .npy file `file`; its entries that are not 0 are the edges."""

    file: str

    def graph(self, agents: int) -> networkx.Graph:
        import networkx

        key = f'topology.file = "{self.file}"'
        W = read_npy(Path(self.file), "topology.file")
        if W.shape != (agents, agents):
            raise DataError(
                f"{key} has shape {W.shape}, but problem.agents = {agents}; accepted: "
                f"({agents}, {agents})."
            )
        for wrong, words in ((~np.isfinite(W), "not finite"), (abs(W - W.T) > TOLERANCE, "")):
            if wrong.any():
                i, j = np.unravel_index(int(wrong.argmax()), W.shape)
                other = words or f"not W[{j}, {i}] = {W[j, i]:.12g}; a mixing matrix is symmetric"
                raise DataError(f"{key}: W[{i}, {j}] = {W[i, j]:.12g} is {other}.")
        off = abs(W.sum(axis=1) - 1)
        if off.max() > TOLERANCE:
            row = int(off.argmax())
            raise DataError(f"{key}: row {row} sums to {W[row].sum():.12g}; accepted: 1.")
        graph = networkx.empty_graph(agents)
        above = zip(*np.nonzero(np.triu(W, 1)), strict=True)
        graph.add_weighted_edges_from((int(i), int(j), float(W[i, j])) for i, j in above)
        require_connected(graph, self.file)
        return graph
