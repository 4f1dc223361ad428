"""Graphs of agents, one class per kind; `distopt.topology` makes mixing weights of them."""

from distopt.registry import Registry

REGISTRY = Registry(
    "topologies",
    "topology",
    {
        "ring": "distopt.topologies.regular:Ring",
        "path": "distopt.topologies.regular:PathGraph",
        "star": "distopt.topologies.regular:Star",
        "complete": "distopt.topologies.regular:Complete",
        "grid": "distopt.topologies.regular:Grid",
        "torus": "distopt.topologies.regular:Torus",
        "hypercube": "distopt.topologies.regular:Hypercube",
        "exponential": "distopt.topologies.regular:Exponential",
        "erdos_renyi": "distopt.topologies.random:ErdosRenyi",
        "geometric": "distopt.topologies.random:Geometric",
    },
    key="graph",
)
