"""Costs: the private functions of the agents, and the families that make them (see `base`)."""

from distopt.registry import Registry

REGISTRY = Registry(
    "costs",
    "problem",
    {
        "pl": "distopt.costs.pl:PL",
        "quadratic": "distopt.costs.quadratic:Quadratic",
    },
)
