"""Random graphs: drawn from the counter-based stream, so all hosts get the same one.

A draw that is not connected is thrown away and the next one is taken, up to `DRAWS` of them.
"""

from collections.abc import Callable

import networkx
import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, parameters
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.problems.topologies.base import GraphKind

DRAWS = 100


@parameters("topology")
class ErdosRenyi(GraphKind):
    """Each pair of agents is linked with probability p, independently."""

    p: float = Field(default=0.5, gt=0, le=1)
    seed: int = Field(default=0, ge=0)

    def graph(self, agents: int) -> networkx.Graph:
        first, second = np.triu_indices(agents, 1)

        def draw(number: int) -> networkx.Graph:
            linked = numbers(self.seed, number, first.size) < self.p
            graph = networkx.empty_graph(agents)
            graph.add_edges_from(zip(first[linked].tolist(), second[linked].tolist(), strict=True))
            return graph

        likely = np.log(max(agents, 2)) / agents  # below this p, isolated agents are the rule
        return first_connected(
            draw,
            f'topology.graph = "erdos_renyi" with topology.p = {self.p:g}',
            f"raise topology.p (above {min(likely, 1):.2g} connected graphs become likely)",
        )


@parameters("topology")
class Geometric(GraphKind):
    """Agents stand at random points of the unit square; those within `radius` are linked."""

    radius: float = Field(default=0.5, gt=0)
    seed: int = Field(default=0, ge=0)

    def graph(self, agents: int) -> networkx.Graph:
        first, second = np.triu_indices(agents, 1)

        def draw(number: int) -> networkx.Graph:
            points = numbers(self.seed, number, 2 * agents).reshape(agents, 2)
            apart = points[first] - points[second]
            near = (apart**2).sum(axis=1) <= self.radius**2
            graph = networkx.empty_graph(agents)
            graph.add_edges_from(zip(first[near].tolist(), second[near].tolist(), strict=True))
            networkx.set_node_attributes(graph, dict(enumerate(map(tuple, points.tolist()))), "pos")
            return graph

        likely = np.sqrt(np.log(max(agents, 2)) / (np.pi * agents))
        return first_connected(
            draw,
            f'topology.graph = "geometric" with topology.radius = {self.radius:g}',
            f"raise topology.radius (above {likely:.2g} connected graphs become likely)",
        )


def numbers(seed: int, draw: int, count: int) -> F64:
    """Return the uniform numbers of one draw of a graph, float64[count]."""
    return uniform(make_key(seed, 0, Stream.GRAPH, draw), count)


def first_connected(
    draw: Callable[[int], networkx.Graph], what: str, advice: str
) -> networkx.Graph:
    """Return the first connected one of draw(0), draw(1), ..., draw(DRAWS - 1)."""
    fewest = 0
    for number in range(DRAWS):
        graph = draw(number)
        parts = networkx.number_connected_components(graph)
        if parts == 1:
            return graph
        fewest = min(fewest or parts, parts)
    raise ConfigError(
        f"{what} gave no connected graph of {len(graph)} agents in {DRAWS} draws (the best had "
        f"{fewest} components); {advice}, or try another topology.seed."
    )
