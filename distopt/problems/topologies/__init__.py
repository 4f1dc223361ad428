"""Graphs of agents, one class per kind; `distopt.problems.topology` makes mixing weights of them."""

from distopt.core.registry import Registry

REGISTRY = Registry(
    "topologies",
    "topology",
    {
        "ring": "distopt.problems.topologies.regular:Ring",
        "path": "distopt.problems.topologies.regular:PathGraph",
        "star": "distopt.problems.topologies.regular:Star",
        "complete": "distopt.problems.topologies.regular:Complete",
        "grid": "distopt.problems.topologies.regular:Grid",
        "torus": "distopt.problems.topologies.regular:Torus",
        "hypercube": "distopt.problems.topologies.regular:Hypercube",
        "exponential": "distopt.problems.topologies.regular:Exponential",
        "erdos_renyi": "distopt.problems.topologies.random:ErdosRenyi",
        "geometric": "distopt.problems.topologies.random:Geometric",
        "directed_ring": "distopt.problems.topologies.directed:DirectedRing",
        "directed_exponential": "distopt.problems.topologies.directed:DirectedExponential",
        "directed_random": "distopt.problems.topologies.directed:DirectedRandom",
    },
    key="graph",
    default="ring",
)
