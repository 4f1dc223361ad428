"""Whether a user's gradient is that of the value, by one central difference where a run starts."""

from math import inf, sqrt

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import DataError
from distopt.core.randomness import make_key, words
from distopt.core.streams import Stream
from distopt.problems.costs.base import Cost
from distopt.problems.costs.guarded import Guarded

DISTANCES = 1e-3, 2e-4  # of 1 + |x|; the second only where the first finds a difference
TOLERANCE = 0.1  # of the slope: kinks
ROUNDING = 1e-6  # of the value: sums in float32


def slope_ratio(cost: Cost, x: F64) -> float:
    """Return (f(x + hv) - f(x - hv)) / (2h g'v), v half along g and half random; 1 where that fits.

    Also 1 for costs of this package, where g is zero, where rounding may explain the difference, and
    where the value does not exist on both sides. Takes one gradient and two or four values.
    """
    if not isinstance(cost, Guarded):
        return 1.0
    g, d = np.zeros(x.size), x.size
    cost.gradient(x.copy(), g)
    size = float(np.linalg.norm(g))
    if not 0 < size < inf:
        return 1.0
    v = g / size + np.where(words(make_key(0, 3, Stream.TYPICAL), d) & 1, 1.0, -1.0) / sqrt(d)
    v /= np.linalg.norm(v)
    slope, errors = float(g @ v), []
    for distance in DISTANCES:
        h = distance * (1 + float(np.linalg.norm(x)))
        try:
            up, down = cost.value(x + h * v), cost.value(x - h * v)
        except DataError:
            return 1.0
        found, noise = (up - down) / (2 * h), ROUNDING * (abs(up) + abs(down)) / h
        if not abs(found - slope) > noise + TOLERANCE * max(abs(slope), abs(found)):  # or nan
            return 1.0
        errors.append(abs(found - slope))
    # What third derivatives explain, at a saddle above all, is 25 times less at the second.
    return found / slope if slope and errors[1] > errors[0] / 2 else 1.0
