"""Gradient descent in fixed point: three places of rounding, many independent runs at once."""

from dataclasses import dataclass

import numpy as np

from distopt.arrays import F64, I64
from distopt.errors import ConfigError
from distopt.fixedpoint.arithmetic import (
    Rounded,
    Rounding,
    decode,
    multiply,
    round_integers,
    rounding_key,
)
from distopt.fixedpoint.format import Codes, Format
from distopt.fixedpoint.problems import IntegerProblem
from distopt.parameters import parameters

GRADIENT, STEP = 0, 1  # sites of rounding


@parameters("descent")
class FixedPointDescent:
    """x+ = x - fl(t fl(grad f(x))), all three in integers (docs: fixed-point, model).

        (a) g = fl(grad f(x))      the exact gradient, rounded once to `gradient_format`
        (b) d = fl(t g)            to the format of x
        (c) x+ = x - d             exact, unless it saturates

    With ``step_rounding.mode = "signed_SR_eps"`` (b) and (c) are one: x+ = fl(x - t g; v = g).
    Run r of many draws its random bits at the indices r n, ..., r n + n - 1: runs are independent, and
    each of them is the same whether it is done alone or with others, on one rank or on many.
    """

    step: float  # t > 0, an integer of at most 15 bits times a power of two
    gradient_rounding: Rounding = Rounding("RN")
    step_rounding: Rounding = Rounding("SR")
    gradient_format: Format | None = None  # that of x by default

    def __post_init__(self) -> None:
        step_code(self.step)
        if self.gradient_rounding.mode == "signed_SR_eps":
            raise ConfigError(
                'descent.gradient_rounding.mode = "signed_SR_eps" would need a direction; accepted: the '
                "other modes."
            )

    def round_gradient(
        self, problem: IntegerProblem, x: Codes, seed: int, k: int, run: int
    ) -> Rounded:
        """(a) for x : codes[repeats, n]; `run` is the number of its first row."""
        return round_integers(
            problem.gradient(x), problem.gradient_bits, self.gradient_format or problem.format,
            self.gradient_rounding, rounding_key(seed, GRADIENT, k), first=run * problem.dimension,
        )  # fmt: skip

    def move(
        self, problem: IntegerProblem, x: Codes, g: Codes, seed: int, k: int, run: int
    ) -> Rounded:
        """(b) and (c): the next x."""
        code, bits = step_code(self.step)
        q, key, first = problem.format, rounding_key(seed, STEP, k), run * problem.dimension
        bits += (self.gradient_format or q).fraction_bits
        if self.step_rounding.mode == "signed_SR_eps":
            lift = max(bits - q.fraction_bits, 0)
            bits = q.fraction_bits + lift
            p = (x.astype(np.int64) << lift) - self.products(problem, g)
            return round_integers(p, bits, q, self.step_rounding, key, first=first, v=g)
        factor = np.array([code], np.int16)
        d = multiply(g, factor, bits, q, self.step_rounding, key, first=first)
        moved = x.astype(np.int64) - d.codes
        inside = np.clip(moved, q.lowest_code, q.highest_code)
        saturated = d.saturated + int((inside != moved).sum())
        return Rounded(inside.astype(q.dtype), saturated)

    def products(self, problem: IntegerProblem, g: Codes) -> I64:
        """Return t g exactly, with at least as many fraction bits as x has (see `product_bits`)."""
        code, bits = step_code(self.step)
        bits += (self.gradient_format or problem.format).fraction_bits
        return (g.astype(np.int64) * code) << max(problem.format.fraction_bits - bits, 0)

    def product_bits(self, problem: IntegerProblem) -> int:
        """Fraction bits of `products`."""
        bits = step_code(self.step)[1] + (self.gradient_format or problem.format).fraction_bits
        return max(bits, problem.format.fraction_bits)

    def run(
        self, problem: IntegerProblem, x0: Codes, iterations: int, seed: int = 0, first_run: int = 0,
    ) -> "Descent":  # fmt: skip
        """Do so many iterations of every run, one row of x0 : codes[repeats, n] each.

        Parameters
        ----------
        problem : IntegerProblem
        x0 : codes[repeats, n], of `problem.format`
        iterations : int
        seed : int
            Of the random bits.
        first_run : int
            Number of the first row among all runs.
        """
        x = x0.astype(problem.format.dtype)
        repeats = x.shape[0]
        found = Descent(
            objective=np.empty((iterations + 1, repeats)), regimes=np.zeros((iterations, 4), np.int64),
            squares=np.zeros((iterations, repeats)), gains=np.full((iterations, repeats), np.nan),
            saturated=0, x=x,
        )  # fmt: skip
        found.objective[0] = problem.value(decode(x, problem.format))
        for k in range(iterations):
            g, saturated = self.round_gradient(problem, x, seed, k, first_run)
            found.saturated += saturated
            y, saturated = self.move(problem, x, g, seed, k, first_run)
            found.saturated += saturated
            self.observe(problem, x, y, g, found, k)
            x = y
            found.objective[k + 1] = problem.value(decode(x, problem.format))
        found.x = x
        return found

    def observe(
        self, problem: IntegerProblem, x: Codes, y: Codes, g: Codes, found: "Descent", k: int
    ) -> None:
        """Record the regimes, M and R of iteration k."""
        q, u = problem.format, problem.format.unit
        p, drop = (
            self.products(problem, g),
            self.product_bits(problem) - problem.format.fraction_bits,
        )
        size = np.abs(p)
        one = 1 << drop
        below_half, below_one = 2 * size <= one, size < one
        found.regimes[k] = [
            int((size >= one).sum()),
            int((below_one & ~below_half).sum()),
            int((below_half & (size > 0)).sum()),
            int((size == 0).sum()),
        ]
        moved = x.astype(np.int64) - y
        error = (moved - p / one) * u
        found.squares[k] = (error**2).sum(axis=1)
        if problem.smoothness is not None:
            theta = (size & (one - 1)) / one
            bias = np.where(theta > 0, np.minimum(self.step_rounding.eps, 1 - theta), 0.0) * u
            c1 = 0.5 if self.gradient_rounding.mode == "RN" else 1.0
            gradient = np.abs(decode(g, self.gradient_format or q))
            gain = (1 - problem.smoothness * self.step) * gradient - c1 * u
            found.gains[k] = (bias * gain).sum(axis=1)


@dataclass
class Descent:
    """What many runs did.

    Attributes
    ----------
    objective : float64[iterations + 1, repeats]
        f - f*.
    regimes : int64[iterations, 4]
        Coordinates of all runs with t |g_i| >= u; in (u/2, u); in (0, u/2]; and 0.
    squares, gains : float64[iterations, repeats]
        What M_k and R_k (docs: fixed-point, bounds) are averages of; gains are nan without L.
    saturated : int
        Values beyond the range, of gradients, steps and x together.
    x : codes[repeats, n]
        The last iterates.
    """

    objective: F64
    regimes: I64
    squares: F64
    gains: F64
    saturated: int
    x: Codes


def step_code(step: float) -> tuple[int, int]:
    """Return (m, s) with step = m 2^-s and m odd, m < 2^15.

    >>> step_code(0.125), step_code(0.75)
    ((1, 3), (3, 2))
    """
    mantissa, denominator = (0, 1) if not np.isfinite(step) else float(step).as_integer_ratio()
    if not (0 < mantissa < 2**15 and denominator <= 2**30):
        raise ConfigError(
            f"descent.step = {step!r} is not a fixed-point number; accepted: a positive integer below 2^15 "
            f"times a power of two, such as {nearest_power(step)!r}."
        )
    return mantissa, denominator.bit_length() - 1


def nearest_power(step: float) -> float:
    """Return a power of two near a step size."""
    return float(2.0 ** np.rint(np.log2(step))) if 2.0**-30 < step < 2.0**14 else 0.125
