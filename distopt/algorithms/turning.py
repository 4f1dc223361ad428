"""Whether the root of the tree gets anywhere: the share of its way that is left as a distance.

A slow mean goes ahead, and the distance is nearly the way. Agents that part along negative curvature and
are held together by D go round: a mode of the graph with I - W = s and curvature h obeys about
x'' + (e h + s / 2) x' + s / 2 x = 0 with exact diffusion, so it turns once in 4 pi / reach iterations.

With mini-batches the way is mostly noise, and the distance tells more: how fast it grows, after Pesme,
Dieuleveut and Flammarion, "On convergence-diagnostic based step sizes for stochastic gradient descent".
"""

from math import log, pi, sqrt

import numpy as np

from distopt.algorithms.standing import square
from distopt.algorithms.step_rule import SHOWS, STANDS, STRAIGHT, Numbers, StepRule
from distopt.core.arrays import F64
from distopt.core.kernel import kernel

FIRST_LOOK = 10  # iterations after the mark
ROUNDING = 32.0  # times the dtype's of x: a move that is no longer one is no way


def begin(n: Numbers, x: F64, mark: F64) -> None:
    """Measure from here."""
    mark[:] = x
    n.path, n.marked, n.looked = 0.0, n.done, 0.0


def look(rule: StepRule, n: Numbers, x: F64, mark: F64) -> None:
    """At the root, before it decides: after one turn of the slowest mode, see what is left of the way."""
    if rule.noisy:
        wander(n, x, mark)
        return
    if not rule.turns or n.done - n.marked < 4 * pi / rule.reach:
        return
    rounding = ROUNDING * np.finfo(x.dtype).eps * (n.done - n.marked) * sqrt(square(x))
    n.ahead = distance(x, mark) / n.path if n.path > rounding else 1.0
    begin(n, x, mark)


def wander(n: Numbers, x: F64, mark: F64) -> None:
    """With mini-batches, each time twice as long after the mark: by which power of time |x - mark|^2 grows.

    It is 2 on a straight way, 1 on a random walk, and 0 around a point that the noise hides.
    """
    if not STANDS <= n.growth <= STRAIGHT:  # the step has changed
        n.growth = SHOWS
        begin(n, x, mark)
    since = n.done - n.marked
    if since < max(FIRST_LOOK, 2 * n.looked):
        return
    far = distance(x, mark)
    if n.looked > 0 and far > 0 and n.far > 0:
        n.growth = 2 * log(far / n.far) / log(since / n.looked)
    n.looked, n.far = since, far


@kernel
def distance(x: F64, y: F64) -> float:
    """Return |x - y|, summed in one order."""
    total = 0.0
    for i in range(x.size):
        total += (np.float64(x[i]) - y[i]) ** 2
    return np.sqrt(total)  # type: ignore[no-any-return]
