"""Directed graphs: an edge (j, i) lets agent j tell agent i, and not the other way round."""

import networkx
import numpy as np

from distopt.core.parameters import Field, parameters
from distopt.problems.topologies.base import GraphKind
from distopt.problems.topologies.random import first_connected, numbers


@parameters("topology")
class DirectedRing(GraphKind):
    """Agent i tells i + 1 modulo n."""

    def graph(self, agents: int) -> networkx.Graph:
        graph = networkx.empty_graph(agents, networkx.DiGraph)
        graph.add_edges_from((i, (i + 1) % agents) for i in range(agents) if agents > 1)
        return graph


@parameters("topology")
class DirectedExponential(GraphKind):
    """Agent i tells i + 1, i + 2, i + 4, i + 8, ... modulo n."""

    def graph(self, agents: int) -> networkx.Graph:
        graph = networkx.empty_graph(agents, networkx.DiGraph)
        hops = [1 << b for b in range((agents - 1).bit_length())]
        graph.add_edges_from((i, (i + hop) % agents) for i in range(agents) for hop in hops)
        return graph


@parameters("topology")
class DirectedRandom(GraphKind):
    """Each agent tells each other one with probability p, independently."""

    p: float = Field(default=0.5, gt=0, le=1)
    seed: int = Field(default=0, ge=0)

    def graph(self, agents: int) -> networkx.Graph:
        likely = np.log(max(agents, 2)) / agents
        return first_connected(
            agents,
            lambda draw, pairs: numbers(self.seed, draw, len(pairs)) < self.p,
            f'topology.graph = "directed_random" with topology.p = {self.p:g}',
            f"raise topology.p (above {min(likely, 1):.2g} connected graphs become likely)",
            directed=True,
        )
