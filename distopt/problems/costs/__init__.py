"""Costs: the private functions of the agents, and the families that make them (see `base`)."""

from distopt.core.registry import Registry

REGISTRY = Registry(
    "costs",
    "problem",
    {
        "admm_csnet": "distopt.problems.costs.networks.family:ADMMCSNet",
        "diagonal": "distopt.problems.costs.fixed_terms:Diagonal",
        "ffnn": "distopt.problems.costs.networks.family:FFNN",
        "himmelblau": "distopt.problems.costs.fixed_terms:HimmelblauFamily",
        "integer_logistic": "distopt.problems.costs.integer_logistic:IntegerLogistic",
        "integer_network": "distopt.problems.costs.integer_network:IntegerNetwork",
        "lista": "distopt.problems.costs.networks.family:LISTA",
        "logistic": "distopt.problems.costs.logistic:Logistic",
        "pl": "distopt.problems.costs.pl:PL",
        "python": "distopt.problems.costs.python:Python",
        "quadratic": "distopt.problems.costs.quadratic:Quadratic",
        "rosenbrock": "distopt.problems.costs.fixed_terms:RosenbrockFamily",
    },
)
