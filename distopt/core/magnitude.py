"""How kernels find the largest of many numbers, and whether all are finite.

The bits of floats >= 0 are ordered as integers, whose maxima vectorise. Those of floats do not: nan would
have to be respected. Infinity and nan are on top.
"""

import numpy as np

from distopt.core.kernel import kernel

INFINITE = np.int64(0x7FF0000000000000)  # magnitudes from here on are not finite
ALL = np.int64(0x7FFFFFFFFFFFFFFF)


@kernel
def magnitude(value: float) -> np.int64:
    """Return the bits of |value| as a float64."""
    return np.float64(value).view(np.int64) & ALL  # type: ignore[no-any-return]


@kernel
def as_number(largest: np.int64) -> float:
    """Return the number of a magnitude."""
    return np.int64(largest).view(np.float64)  # type: ignore[no-any-return]
