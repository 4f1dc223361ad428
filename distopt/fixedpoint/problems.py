"""Problems whose gradient is exact in integers: for descent in fixed point.

`gradient` returns int64 with `gradient_bits` fraction bits, computed from the codes without rounding;
whoever uses it rounds once. Points are rows: x : codes[repeats, n].
"""

from abc import ABC, abstractmethod

import numpy as np

from distopt.arrays import F64, I64
from distopt.errors import ConfigError
from distopt.fixedpoint.format import Codes, Format


class IntegerProblem(ABC):
    """f : R^n -> R, with an exact gradient at the numbers of a format.

    Attributes
    ----------
    format : Format
        Of x.
    dimension : int
    gradient_bits : int
        Fraction bits of `gradient`.
    smoothness, pl : float or None
        L and mu, where there are such constants.
    """

    format: Format
    dimension: int
    gradient_bits: int
    smoothness: float | None = None
    pl: float | None = None

    @abstractmethod
    def gradient(self, x: Codes) -> I64:
        """Return the gradient at each row of x : codes[repeats, n] as int64[repeats, n]."""

    @abstractmethod
    def value(self, x: F64) -> F64:
        """Return f - f* at each row of x : float64[repeats, n]."""


class DiagonalQuadratic(IntegerProblem):
    """f(x) = sum_i a_i (x_i - c_i)^2 / 2, L = max a, mu = min a, exact.

    Parameters
    ----------
    format : Format
    a : float64[n]
        Curvatures > 0; rounded to `curvature_bits` fraction bits.
    center : float64[n]
        The minimiser, rounded to 8 fraction bits more than x has.
    """

    curvature_bits = 16
    extra_bits = 8

    def __init__(self, format: Format, a: F64, center: F64) -> None:
        self.format, self.dimension = format, a.size
        self.gradient_bits = self.curvature_bits + format.fraction_bits + self.extra_bits
        self._a = np.rint(a * 2.0**self.curvature_bits).astype(np.int64)
        finest = 2.0 ** (format.fraction_bits + self.extra_bits)
        self._center = np.rint(center * finest).astype(np.int64)
        if not ((self._a > 0) & (np.abs(self._center) < 2**40)).all():
            raise ConfigError(
                f"Curvatures must exceed {2.0**-self.curvature_bits / 2:g}, and minimisers be below 2^40 "
                f"/ {finest:g} in size; given: {a.min():g}, and up to {np.abs(center).max():g}."
            )
        if int(self._a.max()) * ((1 << (format.bits + self.extra_bits)) + 2**40) >= 2**63:
            raise ConfigError(f"A curvature of {a.max():g} makes gradients beyond an int64.")
        self.a, self.center = self._a * 2.0**-self.curvature_bits, self._center / finest
        self.smoothness, self.pl = float(self.a.max()), float(self.a.min())

    def gradient(self, x: Codes) -> I64:
        """a (x - c), exactly."""
        return self._a * ((x.astype(np.int64) << self.extra_bits) - self._center)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        return np.asarray(((x - self.center) ** 2 @ self.a) / 2)


class Himmelblau(IntegerProblem):
    """f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2, n = 2, four minima of value 0, one at (3, 2)."""

    dimension = 2

    def __init__(self, format: Format) -> None:
        self.format, self.gradient_bits = _at_most_16_bits(format), 3 * format.fraction_bits

    def gradient(self, x: Codes) -> I64:
        """(4 x A + 2 B, 2 A + 4 y B) with A = x^2 + y - 11, B = x + y^2 - 7, exactly."""
        f = self.format.fraction_bits
        p, q = x.astype(np.int64).T
        a = p * p + (q << f) - (11 << 2 * f)
        b = (p << f) + q * q - (7 << 2 * f)
        return np.stack([4 * p * a + ((2 * b) << f), ((2 * a) << f) + 4 * q * b], axis=1)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        p, q = x.T
        return np.asarray((p**2 + q - 11) ** 2 + (p + q**2 - 7) ** 2)


class Rosenbrock(IntegerProblem):
    """f(x, y) = 100 (y - x^2)^2 + (1 - x)^2, n = 2, minimum 0 at (1, 1)."""

    dimension = 2

    def __init__(self, format: Format) -> None:
        self.format, self.gradient_bits = _at_most_16_bits(format), 3 * format.fraction_bits

    def gradient(self, x: Codes) -> I64:
        """(-400 x D - 2 (1 - x), 200 D) with D = y - x^2, exactly."""
        f = self.format.fraction_bits
        p, q = x.astype(np.int64).T
        d = (q << f) - p * p
        return np.stack([-400 * p * d - ((2 * ((1 << f) - p)) << 2 * f), (200 * d) << f], axis=1)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        p, q = x.T
        return np.asarray(100 * (q - p**2) ** 2 + (1 - p) ** 2)


def _at_most_16_bits(format: Format) -> Format:
    """Refuse formats in which three factors and a constant of 400 do not fit an int64."""
    if format.bits > 16:
        raise ConfigError(f"format = {format}: this problem takes formats of at most 16 bits.")
    return format
