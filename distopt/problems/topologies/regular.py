"""Graphs that are given by their number of agents alone (and a shape where they have one)."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.problems.topologies.base import Edges, Pattern


@parameters("topology")
class Ring(Pattern):
    """Agent i is linked with i - 1 and i + 1 modulo n; two agents share one edge."""

    def edges(self, agents: int) -> Edges:
        return closed(range(agents))


@parameters("topology")
class PathGraph(Pattern):
    """Agent i is linked with i - 1 and i + 1; the two ends have one neighbour."""

    def edges(self, agents: int) -> Edges:
        return [*pairwise(range(agents))]


@parameters("topology")
class Star(Pattern):
    """Agent 0 is linked with all others, and they only with agent 0."""

    def edges(self, agents: int) -> Edges:
        return [(0, i) for i in range(1, agents)]


@parameters("topology")
class Complete(Pattern):
    """Everybody is linked with everybody."""

    def edges(self, agents: int) -> Edges:
        return [*combinations(range(agents), 2)]


@parameters("topology")
class Hypercube(Pattern):
    """Agents are linked when the binary forms of their numbers differ in one digit."""

    def edges(self, agents: int) -> Edges:
        digits = agents.bit_length() - 1
        if agents != 1 << digits:
            raise ConfigError(
                f'topology.graph = "hypercube" cannot have {agents} agents; accepted: powers of '
                f"two, the nearest are problem.agents = {1 << digits} and {2 << digits}."
            )
        return [(i, i ^ 1 << b) for i in range(agents) for b in range(digits)]


@parameters("topology")
class Exponential(Pattern):
    """Agent i is linked with i + 1, i + 2, i + 4, i + 8, ... modulo n, in both directions."""

    def edges(self, agents: int) -> Edges:
        steps = [1 << b for b in range((agents - 1).bit_length())]
        return [(i, (i + step) % agents) for i in range(agents) for step in steps]


@parameters("topology")
class Grid(Pattern):
    """A rectangle of rows x columns; agent i stands in row i // columns. Neighbours touch.

    Without `rows` the most square rectangle is taken.
    """

    rows: int | None = Field(default=None, ge=1)

    def edges(self, agents: int) -> Edges:
        return lattice("grid", agents, self.rows, one_row="path")


@parameters("topology")
class Torus(Grid):
    """A grid whose opposite borders are linked; a side of two keeps its one edge.

    Without `rows` the most square rectangle is taken.
    """

    def edges(self, agents: int) -> Edges:
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
    columns = agents // rows
    line = closed if name == "torus" else pairwise
    across = [range(i, i + columns) for i in range(0, agents, columns)]
    down = [range(i, agents, columns) for i in range(columns)]
    return [edge for nodes in (*across, *down) for edge in line(nodes)]


def closed(nodes: Sequence[int]) -> Edges:
    """Link each node with the next and the last with the first; two share one edge."""
    return [*pairwise(nodes), (nodes[-1], nodes[0])][: len(nodes) if len(nodes) > 2 else -1]


def short_side(agents: int) -> int:
    """Return the shorter side of the most square rectangle of this many agents."""
    return next(r for r in range(math.isqrt(agents), 0, -1) if agents % r == 0)
