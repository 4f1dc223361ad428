"""Graphs that are given by their number of agents alone (and a shape where they have one)."""

import math

import networkx

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.problems.topologies.base import GraphKind


@parameters("topology")
class Ring(GraphKind):
    """Agent i is linked with i - 1 and i + 1 modulo n; two agents share one edge."""

    def graph(self, agents: int) -> networkx.Graph:
        # networkx links one agent with itself, and the path is the ring of 1 and of 2.
        return networkx.path_graph(agents) if agents < 3 else networkx.cycle_graph(agents)


@parameters("topology")
class PathGraph(GraphKind):
    """Agent i is linked with i - 1 and i + 1; the two ends have one neighbour."""

    def graph(self, agents: int) -> networkx.Graph:
        return networkx.path_graph(agents)


@parameters("topology")
class Star(GraphKind):
    """Agent 0 is linked with all others, and they only with agent 0."""

    def graph(self, agents: int) -> networkx.Graph:
        return networkx.star_graph(agents - 1)


@parameters("topology")
class Complete(GraphKind):
    """Everybody is linked with everybody."""

    def graph(self, agents: int) -> networkx.Graph:
        return networkx.complete_graph(agents)


@parameters("topology")
class Hypercube(GraphKind):
    """Agents are linked when the binary forms of their numbers differ in one digit."""

    def graph(self, agents: int) -> networkx.Graph:
        digits = agents.bit_length() - 1
        if agents != 1 << digits:
            raise ConfigError(
                f'topology.graph = "hypercube" cannot have {agents} agents; accepted: powers of '
                f"two, the nearest are problem.agents = {1 << digits} and {2 << digits}."
            )
        graph = networkx.empty_graph(agents)
        graph.add_edges_from((i, i ^ 1 << b) for i in range(agents) for b in range(digits))
        return graph


@parameters("topology")
class Exponential(GraphKind):
    """Agent i is linked with i + 1, i + 2, i + 4, i + 8, ... modulo n, in both directions."""

    def graph(self, agents: int) -> networkx.Graph:
        return networkx.circulant_graph(agents, [1 << b for b in range((agents - 1).bit_length())])


@parameters("topology")
class Grid(GraphKind):
    """A rectangle of rows x columns; agent i stands in row i // columns. Neighbours touch.

    Without `rows` the most square rectangle is taken.
    """

    rows: int | None = Field(default=None, ge=1)

    def graph(self, agents: int) -> networkx.Graph:
        return lattice("grid", agents, self.rows, one_row="path")


@parameters("topology")
class Torus(Grid):
    """A grid whose opposite borders are linked; a side of two keeps its one edge.

    Without `rows` the most square rectangle is taken.
    """

    def graph(self, agents: int) -> networkx.Graph:
        return lattice("torus", agents, self.rows, one_row="ring")


def lattice(name: str, agents: int, rows: int | None, one_row: str) -> networkx.Graph:
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
    square = networkx.grid_2d_graph(rows, agents // rows, periodic=name == "torus")
    return networkx.convert_node_labels_to_integers(square, ordering="sorted")


def short_side(agents: int) -> int:
    """Return the shorter side of the most square rectangle of this many agents."""
    return next(r for r in range(math.isqrt(agents), 0, -1) if agents % r == 0)
