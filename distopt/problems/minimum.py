"""The smallest value of the average cost, found by search where it is not known."""

from collections.abc import Sequence

import numpy as np

from distopt.core.arrays import F64
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.problems.costs.base import Cost
from distopt.problems.problem import Problem


def reference_minimum(
    problem: Problem, starts: int = 4, calls: int | None = None
) -> tuple[float, F64]:
    """Search the smallest value of the average cost, with all agents' data in this process.

    L-BFGS from the agents' mean start and from seeded normal points, then a Newton-CG polish of
    the best end where the costs have `hvp`. For a nonconvex cost it is the best point found, not
    a proof. With `calls`, at most about so many calls of value and gradient in all, and no polish.

    Returns
    -------
    value : float
        Of the average cost.
    point : float64[d]
    """
    from scipy.optimize import minimize

    costs = [problem.cost(i) for i in range(problem.agents)]
    mean = MeanCost(costs)
    points = [np.mean([problem.start_point(i, cost) for i, cost in enumerate(costs)], axis=0)]
    # No agent has a number from n on, so these points do not repeat any agent's start.
    keys = [make_key(problem.seed, problem.agents + j, Stream.START) for j in range(1, starts)]
    points += [normal(key, problem.dimension) for key in keys]
    limits = _LBFGS | ({} if calls is None else {"maxfun": calls // starts})
    found = [
        minimize(mean.value, x, jac=mean.slope, method="L-BFGS-B", options=limits) for x in points
    ]
    best = min(found, key=lambda end: float(end.fun)).x
    if calls is None and all(hasattr(cost, "hvp") for cost in costs):
        end = minimize(
            mean.value, best, jac=mean.slope, hessp=mean.hvp, method="Newton-CG", options=_NEWTON
        )
        if end.fun <= mean.value(best):
            best = end.x
    return mean.value(best), best


_LBFGS = {"maxiter": 20_000, "maxfun": 100_000, "gtol": 1e-12, "ftol": 1e-16, "maxcor": 20}
_NEWTON = {"maxiter": 50, "xtol": 1e-14}


class MeanCost:
    """f = (1/n) sum_i f_i, in the form that scipy takes: gradients in new arrays."""

    def __init__(self, costs: Sequence[Cost]) -> None:
        self.costs = costs

    def value(self, x: F64) -> float:
        """Return f(x)."""
        return sum(cost.value(x) for cost in self.costs) / len(self.costs)

    def slope(self, x: F64) -> F64:
        """Return the gradient of f at x."""
        return self._mean("gradient", x)

    def hvp(self, x: F64, v: F64) -> F64:
        """Return the Hessian of f at x times v."""
        return self._mean("hvp", x, v)

    def _mean(self, method: str, *arguments: F64) -> F64:
        total, part = np.zeros(arguments[0].size), np.empty(arguments[0].size)
        for cost in self.costs:
            getattr(cost, method)(*arguments, part)
            total += part
        return total / len(self.costs)
