"""Functions whose gradient is exact in integers: for descent in fixed point.

`gradient` is int64 with `gradient_bits` fraction bits, computed from the codes without rounding; its user
rounds once. Points are rows: x : codes[repeats, n]. A function is a sum of terms, and an object
may stand for some of them: the gradients of the parts then add up to the whole, to the bit, in any order.
"""

from abc import ABC, abstractmethod

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.fixedpoint.format import Codes, Format


class IntegerProblem(ABC):
    """f : R^n -> R, or some of its terms, with an exact gradient at the numbers of a format.

    Attributes
    ----------
    format : Format
        Of x.
    dimension : int
    gradient_bits : int
        Fraction bits of `gradient`.
    smoothness, pl : float or None
        L and mu of the whole f, where there are such constants.
    saturated : int
        Numbers of its data that did not fit their format.
    """

    format: Format
    dimension: int
    gradient_bits: int
    smoothness: float | None = None
    pl: float | None = None
    saturated: int = 0

    @abstractmethod
    def gradient(self, x: Codes, out: I64) -> None:
        """out = the gradient of these terms, a row for each row of x : codes[repeats, n]."""

    @abstractmethod
    def value(self, x: F64) -> F64:
        """Return these terms of f - f* at each row of x : float64[repeats, n]."""


class DiagonalQuadratic(IntegerProblem):
    """f(x) = sum_i a_i (x_i - c_i)^2 / 2, L = max a, mu = min a, exact; term i is coordinate i.

    Parameters
    ----------
    format : Format
    a : float64[n]
        Curvatures > 0; rounded to `curvature_bits` fraction bits.
    center : float64[n]
        The minimiser, rounded to 8 fraction bits more than x has, or to `center_bits`.
    terms : (int, int), optional
        The first and the end of the terms that are meant; all by default.
    """

    curvature_bits = 16

    def __init__(
        self, format: Format, a: F64, center: F64, center_bits: int | None = None,
        terms: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.format, self.dimension = format, a.size
        bits = format.fraction_bits + 8 if center_bits is None else center_bits
        self.lift = max(bits - format.fraction_bits, 0)
        self.first, self.end = (0, a.size) if terms is None else terms
        bits = format.fraction_bits + self.lift
        self.gradient_bits = self.curvature_bits + bits
        self._a = np.rint(a * 2.0**self.curvature_bits).astype(np.int64)
        finest = 2.0**bits
        self._center = np.rint(center * finest).astype(np.int64)
        if not ((self._a > 0) & (np.abs(self._center) < 2**40)).all():
            raise ConfigError(
                f"Curvatures must exceed {2.0**-self.curvature_bits / 2:g}, and minimisers be below 2^40 "
                f"/ {finest:g} in size; given: {a.min():g}, and up to {np.abs(center).max():g}."
            )
        if int(self._a.max()) * ((1 << (format.bits + self.lift)) + 2**40) >= 2**63:
            raise ConfigError(f"A curvature of {a.max():g} makes gradients beyond an int64.")
        self.a, self.center = self._a * 2.0**-self.curvature_bits, self._center / finest
        self.smoothness, self.pl = float(self.a.max()), float(self.a.min())

    def gradient(self, x: Codes, out: I64) -> None:
        """a (x - c), exactly."""
        diagonal_gradient(x, self._a, self._center, self.lift, self.first, self.end, out)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        part = slice(self.first, self.end)
        return np.asarray(((x[:, part] - self.center[part]) ** 2 @ self.a[part]) / 2)


@kernel
def diagonal_gradient(
    x: Codes, a: I64, center: I64, lift: int, first: int, end: int, out: I64
) -> None:
    """out = a (2^lift x - center) at the coordinates first, ..., end - 1 of each row, else 0."""
    for r in range(x.shape[0]):
        row, target = x[r], out[r]
        target[:] = 0
        for i in range(first, end):
            target[i] = a[i] * ((np.int64(row[i]) << np.int64(lift)) - center[i])


class TwoSquares(IntegerProblem):
    """A polynomial of two unknowns and two terms; `terms` says which are meant, all by default."""

    dimension = 2

    def __init__(self, format: Format, terms: tuple[int, int] = (0, 2)) -> None:
        self.format, self.gradient_bits = _at_most_16_bits(format), 3 * format.fraction_bits
        self.with_first, self.with_second = int(terms[0] == 0 < terms[1]), int(terms[1] == 2)
        self.with_second &= int(terms[0] < 2)


class Himmelblau(TwoSquares):
    """f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2, n = 2, four minima of value 0, one at (3, 2)."""

    def gradient(self, x: Codes, out: I64) -> None:
        """(4 x A + 2 B, 2 A + 4 y B) with A = x^2 + y - 11, B = x + y^2 - 7, exactly."""
        bits = self.format.fraction_bits
        himmelblau_gradient(x, bits, self.with_first, self.with_second, out)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        p, q = x.T
        first, second = (p**2 + q - 11) ** 2, (p + q**2 - 7) ** 2
        return np.asarray(self.with_first * first + self.with_second * second)

    def slope(self, x: F64, out: F64) -> None:
        """out = the gradient in float64."""
        p, q = x.T
        a, b = self.with_first * (p**2 + q - 11), self.with_second * (p + q**2 - 7)
        out[:, 0], out[:, 1] = 4 * p * a + 2 * b, 2 * a + 4 * q * b


class Rosenbrock(TwoSquares):
    """f(x, y) = 100 (y - x^2)^2 + (1 - x)^2, n = 2, minimum 0 at (1, 1)."""

    def gradient(self, x: Codes, out: I64) -> None:
        """(-400 x D - 2 (1 - x), 200 D) with D = y - x^2, exactly."""
        bits = self.format.fraction_bits
        rosenbrock_gradient(x, bits, self.with_first, self.with_second, out)

    def value(self, x: F64) -> F64:
        """Return f, whose minimum is 0."""
        p, q = x.T
        return np.asarray(
            self.with_first * (100 * (q - p**2) ** 2) + self.with_second * (1 - p) ** 2
        )

    def slope(self, x: F64, out: F64) -> None:
        """out = the gradient in float64."""
        p, q = x.T
        d, e = self.with_first * (q - p**2), self.with_second * (1 - p)
        out[:, 0], out[:, 1] = -400 * p * d - 2 * e, 200 * d


@kernel
def himmelblau_gradient(x: Codes, bits: int, with_first: int, with_second: int, out: I64) -> None:
    """out = gradient at each row, 3 `bits` fraction bits."""
    f = np.int64(bits)
    for r in range(x.shape[0]):
        p, q = np.int64(x[r, 0]), np.int64(x[r, 1])
        a = with_first * (p * p + (q << f) - (np.int64(11) << (2 * f)))
        b = with_second * ((p << f) + q * q - (np.int64(7) << (2 * f)))
        out[r, 0] = 4 * p * a + ((2 * b) << f)
        out[r, 1] = ((2 * a) << f) + 4 * q * b


@kernel
def rosenbrock_gradient(x: Codes, bits: int, with_first: int, with_second: int, out: I64) -> None:
    """out = gradient at each row, 3 `bits` fraction bits."""
    f = np.int64(bits)
    for r in range(x.shape[0]):
        p, q = np.int64(x[r, 0]), np.int64(x[r, 1])
        d = with_first * ((q << f) - p * p)
        e = with_second * ((np.int64(1) << f) - p)
        out[r, 0] = -400 * p * d - ((2 * e) << (2 * f))
        out[r, 1] = (200 * d) << f


def terms_of(agent: int, agents: int, count: int) -> tuple[int, int]:
    """Deal `count` terms out in order; return the first and the end of one agent's.

    >>> [terms_of(i, 3, 7) for i in range(3)]
    [(0, 2), (2, 4), (4, 7)]
    """
    return agent * count // agents, (agent + 1) * count // agents


def _at_most_16_bits(format: Format) -> Format:
    """Refuse formats in which three factors and a constant of 400 do not fit an int64."""
    if format.bits > 16:
        raise ConfigError(f"format = {format}: this problem takes formats of at most 16 bits.")
    return format
