"""Where a run in float32 has arrived: what still moves is rounding, and says nothing of the step.

In float64 too, but much later than anybody runs; there nothing is asked here.
"""

import numpy as np

from distopt.algorithms.step_rule import CALM, Numbers, StepRule, Window
from distopt.core.arrays import F64
from distopt.core.kernel import kernel

STILL = 4.0  # |dx| in an iteration over what rounding to float32 moves: up to here x stands still


def seen(sums: F64, x: F64, g: F64, e: float, length: float) -> F64:
    """Return the sums of a window of so many iterations with the step e, 0 where x stands still.

    There all moves are roundings of x and of e g.
    """
    if x.dtype == np.float64:
        return sums
    rounding = (STILL * 2.0**-24) ** 2 * (square(x) + e * e * square(g))
    return sums if sums[0] > length * rounding else np.zeros_like(sums)


def decision(rule: StepRule, w: Window, n: Numbers, x: F64) -> tuple[int, int]:
    """Return what to do: leave the step as it is if all stand still, else what the rule says."""
    if x.dtype != np.float64 and w.moves == 0 and not w.adrift and n.decisions > 0:
        return CALM, 0
    return rule.decide(w, n)


@kernel
def square(v: F64) -> float:
    """Return |v|^2, summed in one order."""
    total = 0.0
    for i in range(v.size):
        total += np.float64(v[i]) * v[i]
    return total
