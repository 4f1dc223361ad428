"""Costs: the private functions of the agents, and the families that make them (see `base`)."""

from distopt.registry import Registry

REGISTRY = Registry(
    "costs",
    "problem",
    {
        "admm_csnet": "distopt.costs.networks.admm_csnet:ADMMCSNet",
        "diagonal": "distopt.costs.fixed_terms:Diagonal",
        "ffnn": "distopt.costs.networks.ffnn:FFNN",
        "himmelblau": "distopt.costs.fixed_terms:HimmelblauFamily",
        "integer_logistic": "distopt.costs.integer_logistic:IntegerLogistic",
        "integer_network": "distopt.costs.integer_network:IntegerNetwork",
        "lista": "distopt.costs.networks.lista:LISTA",
        "logistic": "distopt.costs.logistic:Logistic",
        "pl": "distopt.costs.pl:PL",
        "python": "distopt.costs.python:Python",
        "quadratic": "distopt.costs.quadratic:Quadratic",
        "rosenbrock": "distopt.costs.fixed_terms:RosenbrockFamily",
    },
)
