"""Random graphs: drawn from the counter-based stream, so all hosts get the same one.

A draw that is not connected is thrown away and the next one is taken, up to `DRAWS` of them.
"""

from collections.abc import Callable

import networkx
import numpy as np

from distopt.core.arrays import F64, I64
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
        likely = np.log(max(agents, 2)) / agents  # below this p, isolated agents are the rule
        return first_connected(
            agents,
            lambda draw, pairs: numbers(self.seed, draw, len(pairs)) < self.p,
            f'topology.graph = "erdos_renyi" with topology.p = {self.p:g}',
            f"raise topology.p (above {min(likely, 1):.2g} connected graphs become likely)",
        )


@parameters("topology")
class Geometric(GraphKind):
    """Agents stand at random points of the unit square; those within `radius` are linked."""

    radius: float = Field(default=0.5, gt=0)
    seed: int = Field(default=0, ge=0)

    def graph(self, agents: int) -> networkx.Graph:
        def near(draw: int, pairs: I64) -> np.ndarray:
            points = numbers(self.seed, draw, 2 * agents).reshape(agents, 2)
            apart = points[pairs[:, 0]] - points[pairs[:, 1]]
            return np.asarray((apart**2).sum(axis=1) <= self.radius**2)

        likely = np.sqrt(np.log(max(agents, 2)) / (np.pi * agents))
        return first_connected(
            agents,
            near,
            f'topology.graph = "geometric" with topology.radius = {self.radius:g}',
            f"raise topology.radius (above {likely:.2g} connected graphs become likely)",
        )


def numbers(seed: int, draw: int, count: int) -> F64:
    """Return the uniform numbers of one draw of a graph, float64[count]."""
    return uniform(make_key(seed, 0, Stream.GRAPH, draw), count)


def first_connected(
    agents: int,
    linked: Callable[[int, I64], np.ndarray],
    what: str,
    advice: str,
    directed: bool = False,
) -> networkx.Graph:
    """Return the first connected graph of the draws 0, 1, ..., DRAWS - 1.

    Parameters
    ----------
    linked : callable
        Says which of the pairs int64[count, 2] are linked in a draw, bool[count].
    what, advice : str
        For the sentence if no draw is connected.
    directed : bool
        Whether the pairs are ordered, and a graph must be strongly connected.
    """
    pairs = np.column_stack(np.triu_indices(agents, 1))
    count = networkx.number_connected_components
    if directed:
        pairs = np.argwhere(~np.eye(agents, dtype=bool))
        count = networkx.number_strongly_connected_components
    fewest = agents
    for draw in range(DRAWS):
        graph = networkx.empty_graph(agents, networkx.DiGraph if directed else networkx.Graph)
        graph.add_edges_from(pairs[linked(draw, pairs)].tolist())
        parts = count(graph)
        if parts == 1:
            return graph
        fewest = min(fewest, parts)
    raise ConfigError(
        f"{what} gave no {'strongly ' if directed else ''}connected graph of {agents} agents in "
        f"{DRAWS} draws (the best had {fewest} components); {advice}, or try another topology.seed."
    )
