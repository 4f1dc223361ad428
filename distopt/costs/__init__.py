"""Costs: the private functions of the agents, and the families that make them (see `base`)."""

from distopt.registry import Registry

REGISTRY = Registry(
    "costs",
    "problem",
    {
        "logistic": "distopt.costs.logistic:Logistic",
        "pl": "distopt.costs.pl:PL",
        "python": "distopt.costs.python:Python",
        "quadratic": "distopt.costs.quadratic:Quadratic",
    },
)
