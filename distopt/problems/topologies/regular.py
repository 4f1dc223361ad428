"""Graphs that are given by their number of agents alone (and a shape where they have one)."""

import math
from itertools import combinations

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.problems.topologies.base import Edges, GraphKind


@parameters("topology")
class Ring(GraphKind):
    """Agent i is linked with i - 1 and i + 1 modulo n; two agents share one edge."""

    def graph(self, agents: int) -> Edges:
        return line(agents, closed=True)


@parameters("topology")
class PathGraph(GraphKind):
    """Agent i is linked with i - 1 and i + 1; the two ends have one neighbour."""

    def graph(self, agents: int) -> Edges:
        return line(agents)


@parameters("topology")
class Star(GraphKind):
    """Agent 0 is linked with all others, and they only with agent 0."""

    def graph(self, agents: int) -> Edges:
        return [(0, i) for i in range(1, agents)]


@parameters("topology")
class Complete(GraphKind):
    """Everybody is linked with everybody."""

    def graph(self, agents: int) -> Edges:
        return list(combinations(range(agents), 2))


@parameters("topology")
class Hypercube(GraphKind):
    """Agents are linked when the binary forms of their numbers differ in one digit."""

    def graph(self, agents: int) -> Edges:
        digits = agents.bit_length() - 1
        if agents != 1 << digits:
            raise ConfigError(
                f'topology.graph = "hypercube" cannot have {agents} agents; accepted: powers of '
                f"two, the nearest are problem.agents = {1 << digits} and {2 << digits}."
            )
        return [(i, i ^ 1 << b) for i in range(agents) for b in range(digits)]


@parameters("topology")
class Exponential(GraphKind):
    """Agent i is linked with i + 1, i + 2, i + 4, i + 8, ... modulo n, in both directions."""

    def graph(self, agents: int) -> Edges:
        far = [1 << b for b in range((agents - 1).bit_length())]
        return [(i, (i + step) % agents) for i in range(agents) for step in far]


@parameters("topology")
class Grid(GraphKind):
    """A rectangle of rows x columns; agent i stands in row i // columns. Neighbours touch.

    Without `rows` the most square rectangle is taken.
    """

    rows: int | None = Field(default=None, ge=1)

    def graph(self, agents: int) -> Edges:
        return lattice("grid", agents, self.rows, one_row="path")


@parameters("topology")
class Torus(Grid):
    """A grid whose opposite borders are linked; a side of two keeps its one edge.

    Without `rows` the most square rectangle is taken.
    """

    def graph(self, agents: int) -> Edges:
        return lattice("torus", agents, self.rows, one_row="ring")


def lattice(name: str, agents: int, rows: int | None, one_row: str) -> Edges:
    """Make a grid or torus of rows x (agents / rows) nodes, numbered row by row."""
    if rows is None:
        rows = short_side(agents)
        if rows == 1 and agents > 1:
            around = [n for n in range(max(agents - 3, 4), agents + 4) if short_side(n) > 1]
            sizes = " or ".join(map(str, sorted(around, key=lambda n: (abs(n - agents), n))[:2]))
            raise ConfigError(
                f'topology.graph = "{name}" cannot have {agents} agents; accepted: products of two '
                f"sides of at least 2, such as problem.agents = {sizes}. "
                f'For one row set topology.rows = 1, or topology.graph = "{one_row}".'
            )
    elif agents % rows:
        divisors = ", ".join(str(r) for r in range(1, agents + 1) if agents % r == 0)
        raise ConfigError(
            f"topology.rows = {rows} does not divide problem.agents = {agents}; "
            f"accepted: {divisors}."
        )
    columns, closed = agents // rows, name == "torus"
    across = [
        (columns * r + i, columns * r + j) for r in range(rows) for i, j in line(columns, closed)
    ]
    down = [
        (columns * i + c, columns * j + c) for i, j in line(rows, closed) for c in range(columns)
    ]
    return across + down


def line(nodes: int, closed: bool = False) -> Edges:
    """Link each node with the next, and the last of three or more with the first if `closed`."""
    return [(i, i + 1) for i in range(nodes - 1)] + [(nodes - 1, 0)] * (closed and nodes > 2)


def short_side(agents: int) -> int:
    """Return the shorter side of the most square rectangle of this many agents."""
    return next(r for r in range(math.isqrt(agents), 0, -1) if agents % r == 0)
