"""Whether the root of the tree gets anywhere: the share of its way that is left as a distance.

A slow mean goes ahead, and the distance is nearly the way. Agents that part along negative curvature and
are held together by D go round: a mode of the graph with I - W = s and curvature h obeys about
x'' + (e h + s / 2) x' + s / 2 x = 0 with exact diffusion, so it turns once in 4 pi / reach iterations.
"""

from math import pi, sqrt

import numpy as np

from distopt.algorithms.standing import square
from distopt.algorithms.step_rule import Numbers, StepRule
from distopt.core.arrays import F64
from distopt.core.kernel import kernel

ROUNDING = 32.0  # times the dtype's of x: a move that is no longer one is no way


def begin(n: Numbers, x: F64, mark: F64) -> None:
    """Measure from here."""
    mark[:] = x
    n.path, n.marked = 0.0, n.done


def look(rule: StepRule, n: Numbers, x: F64, mark: F64) -> None:
    """At the root, before it decides: after one turn of the slowest mode, see what is left of the way."""
    if not rule.turns or n.done - n.marked < 4 * pi / rule.reach:
        return
    rounding = ROUNDING * np.finfo(x.dtype).eps * (n.done - n.marked) * sqrt(square(x))
    n.ahead = distance(x, mark) / n.path if n.path > rounding else 1.0
    begin(n, x, mark)


@kernel
def distance(x: F64, y: F64) -> float:
    """Return |x - y|, summed in one order."""
    total = 0.0
    for i in range(x.size):
        total += (np.float64(x[i]) - y[i]) ** 2
    return np.sqrt(total)  # type: ignore[no-any-return]
