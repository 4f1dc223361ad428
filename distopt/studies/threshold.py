"""How many samples a network can be trained on: gradient descent with the largest stable step.

One trial trains one network on T samples; trials are independent, so they can be dealt out to
ranks or processes (`farm`). The threshold of a network is the largest T of a grid up to which all
trials reach a given NMSE.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from distopt.problems.costs.networks.family import Network
from distopt.problems.costs.networks.network import NetworkCost
from distopt.theory.pl_star import loss_curvature


@dataclass(frozen=True)
class Descent:
    """The outcome of gradient descent with a constant step.

    `nmse` is the best at the epochs looked at (large steps make it oscillate).
    """

    eta: float
    epochs: int  # made, fewer than asked for after success or a blow-up
    nmse: float
    stable: bool


def descend(cost: NetworkCost, eta: float, epochs: int, target: float, every: int = 20) -> Descent:
    """Train from the cost's start until the NMSE is below `target`, checked every `every` epochs.

    Unstable means: not finite, or ten times the loss of the start or of the zero network.
    """
    w, g = cost.start.copy(), np.empty(cost.dimension)
    limit = 10.0 * max(cost.nmse(w), 1.0)
    best = np.inf
    with np.errstate(all="ignore"):  # a blow-up is an answer here
        for epoch in range(1, epochs + 1):
            cost.gradient(w, g)
            g *= eta
            w -= g
            if epoch % every == 0 or epoch == epochs:
                nmse = cost.nmse(w)
                if not nmse <= limit:
                    return Descent(eta, epoch, best, False)
                best = min(best, nmse)
                if best < target:
                    return Descent(eta, epoch, best, True)
    return Descent(eta, epochs, best, True)


@dataclass(frozen=True)
class Trial:
    """One network, trained on T samples of one seed with the largest stable step."""

    network: str
    m: int
    samples: int
    seed: int
    beta: float  # norm of the loss's Hessian at the start
    halvings: int
    descent: Descent
    target: float

    @property
    def passed(self) -> bool:
        """Whether the target was reached."""
        return self.descent.nmse < self.target


def trial(
    family: Network,
    samples: int,
    seed: int,
    target: float = 1e-3,
    epochs: int = 20_000,
    first: float = 0.5,
    halvings: int = 14,
    name: str = "",
) -> Trial:
    """Train on T = `samples` samples; the step is first / beta0, halved until nothing blows up."""
    cost = replace(family, samples=samples).cost(0, 1, seed)
    beta = loss_curvature(cost, cost.start, tolerance=1e-3).value
    for halving in range(halvings + 1):
        descent = descend(cost, first / beta * 0.5**halving, epochs, target)
        if descent.stable or descent.nmse < target:
            break
    return Trial(
        name or type(family).__name__, family.m, samples, seed, beta, halving, descent, target
    )


def threshold(trials: Iterable[Trial]) -> int | None:
    """Return the largest T up to which all trials of one network passed, None where none did."""
    passed: dict[int, bool] = {}
    for each in trials:
        passed[each.samples] = passed.get(each.samples, True) and each.passed
    return max(takewhile(lambda samples: passed[samples], sorted(passed)), default=None)
