"""What a survey warns of: sentences for the user."""

import numpy as np

from distopt.algorithms.base import AUTO, Algorithm
from distopt.core.arrays import F64
from distopt.core.errors import DataError
from distopt.theory.facts import Facts
from distopt.transport.base import SharedError

APART = (
    "Agents 0 and {agent} start from different parameters, and the mean of two networks is seldom a good "
    "one; seed the library before the model is made (torch.manual_seed(0)), the same on all ranks, or "
    "give x0."
)
PULLED = (
    "All agents start from the same point, but their memories from 0, so the first messages pull models "
    'there, which networks may not recover from; with algorithm.memory_start = "x0" memories start from '
    "that point too."
)
KEPT = (
    "On a graph that changes the step is not searched: algorithm.eta = {eta:.3g} follows from the "
    "curvature at the start. If P falls too slowly, try other numbers."
)
BY_SMOOTHNESS = ("eta", "mu")  # parameters whose rules of "auto" use L


def of_the_step(asked: Algorithm, found: Algorithm, estimated: int, facts: Facts) -> list[str]:
    """Return a warning if the step is not searched, or follows from a smoothness that costs did not say.

    `found` is what became of the parameters asked for; `estimated` counts these costs.
    """
    if asked.searching:
        return [] if found.searching or not facts.changes else [KEPT.format(eta=vars(found)["eta"])]
    ruled = [key for key in BY_SMOOTHNESS if vars(asked).get(key) == AUTO]
    if not asked.surveys or not estimated or not ruled:
        return []
    return [
        f"{estimated} costs have no attribute smoothness; {facts.smoothness:.3g} was estimated around the "
        f'start, for algorithm.{" and ".join(ruled)} = "auto".'
    ]


def wrong_slopes(slopes: F64) -> list[str]:
    """Return a warning where gradients do not fit the values; raise where one points the other way."""
    check = "`distopt.testing.check_cost` shows where"
    worst = int(np.argmin(slopes))
    if slopes[worst] < -0.5:
        raise SharedError(
            DataError(
                f"The gradient of agent {worst} points the wrong way: along it the value changes "
                f"{slopes[worst]:.3g} times as much as it says. Is its sign wrong? {check}."
            )
        )
    wrong = np.flatnonzero(slopes != 1)
    if not wrong.size:
        return []
    agents = f"agent {wrong[0]}" if wrong.size == 1 else f"agents {', '.join(map(str, wrong[:5]))}"
    more = f" and {wrong.size - 5} more" if wrong.size > 5 else ""
    return [
        f"The gradient of {agents}{more} does not fit the value at the start: along a direction the value "
        f"changes {slopes[wrong[0]]:.3g} times as much as the gradient says. Does a term miss? {check}."
    ]
