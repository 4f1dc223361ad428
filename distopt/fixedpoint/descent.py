"""Gradient descent in fixed point: three places of rounding, many independent runs at once."""

from dataclasses import dataclass

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import ConfigError
from distopt.core.kernel import kernel
from distopt.core.parameters import parameters
from distopt.core.workspace import Workspace
from distopt.fixedpoint.arithmetic import (
    Rounding,
    decode,
    multiply,
    round_integers,
    rounding_key,
)
from distopt.fixedpoint.format import Codes, Format
from distopt.fixedpoint.problems import IntegerProblem

GRADIENT, STEP, SUBTRACTION = 0, 1, 2  # sites of rounding


@parameters("descent")
class FixedPointDescent:
    """x+ = fl(x - fl(t fl(grad f(x)))), all three in integers (docs: fixed-point, model).

        (a) g = fl(grad f(x))      the exact gradient, rounded once to `gradient_format`
        (b) d = fl(t g)            to `step_format`
        (c) x+ = fl(x - d)         to the format of x; exact unless d has more fraction bits or it saturates

    With ``step_rounding.mode = "signed_SR_eps"`` (b) and (c) are one: x+ = fl(x - t g; v = g).
    Run r of many draws its random bits at the indices r n, ..., r n + n - 1: runs are independent, and
    each of them is the same whether it is done alone or with others, on one rank or on many.
    """

    step: float  # t > 0, an integer of at most 15 bits times a power of two
    gradient_rounding: Rounding = Rounding("RN")
    step_rounding: Rounding = Rounding("SR")
    subtraction_rounding: Rounding = Rounding("RN")
    gradient_format: Format | None = None  # that of x by default
    step_format: Format | None = None  # that of x by default

    def __post_init__(self) -> None:
        step_code(self.step)
        if self.gradient_rounding.mode == "signed_SR_eps":
            raise ConfigError(
                'descent.gradient_rounding.mode = "signed_SR_eps" would need a direction; accepted: the '
                "other modes."
            )

    @property
    def fused(self) -> bool:
        """Whether step and subtraction are one rounding."""
        return self.step_rounding.mode == "signed_SR_eps"

    def run(
        self, problem: IntegerProblem, x0: Codes, iterations: int, seed: int = 0, first_run: int = 0,
    ) -> "Descent":  # fmt: skip
        """Do `iterations` iterations of every run, one row of x0 : codes[repeats, n] each.

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
        iteration = Iteration(self, problem, repeats, seed, first_run)
        exact, at = np.empty(x.shape, np.int64), np.empty(x.shape)
        found.objective[0] = problem.value(decode(x, problem.format, at))
        for k in range(iterations):
            problem.gradient(x, exact)
            iteration.descend(x, exact, k)
            found.regimes[k] = iteration.regimes
            found.squares[k] = iteration.squares
            if problem.smoothness is not None:
                found.gains[k] = iteration.gains
            found.objective[k + 1] = problem.value(decode(x, problem.format, at))
        found.saturated = int(iteration.saturations.sum())
        return found


class Iteration:
    """Everything that an iteration needs besides x: work space, keys, and the latest measurements.

    Attributes
    ----------
    saturations : int64[3]
        Values beyond the range so far, of gradients, steps and x.
    regimes : int64[4]
        Coordinates of all runs with t |g_i| >= u; in (u/2, u); in (0, u/2]; and 0; u is that of x.
    squares, gains : float64[repeats]
        What M_k and R_k (docs: fixed-point, bounds) are averages of. Gains are 0 where f has no L.
    """

    def __init__(
        self, descent: FixedPointDescent, problem: IntegerProblem, repeats: int, seed: int,
        first_run: int = 0, work: Workspace | None = None,
    ) -> None:  # fmt: skip
        shape, x = (repeats, problem.dimension), problem.format
        self.descent, self.x_format, self.gradient_bits = descent, x, problem.gradient_bits
        self.g_format = descent.gradient_format or x
        self.d_format = descent.step_format or x
        self.work = work or Workspace()
        self.code, bits = step_code(descent.step)
        self.product_bits = bits + self.g_format.fraction_bits  # of t g
        self.first = first_run * problem.dimension
        self._keys = [rounding_key(seed, site) for site in (GRADIENT, STEP, SUBTRACTION)]
        self._factor = np.array([self.code], np.int16)
        self.g = np.empty(shape, self.g_format.dtype)
        self._d = np.empty(shape, self.d_format.dtype)
        self._next = np.empty(shape, x.dtype)
        self._p = np.empty(shape, np.int64)
        self.saturations, self.regimes = np.zeros(3, np.int64), np.zeros(4, np.int64)
        self.squares, self.gains = np.zeros(repeats), np.zeros(repeats)
        L = problem.smoothness
        c1 = 0.5 if descent.gradient_rounding.mode == "RN" else 1.0
        known = self.g_format.unit * (L is not None)
        self._pull, self._error = (1 - (L or 0.0) * descent.step) * known, c1 * known
        # The bias that R is made of is that of a step on the grid of x.
        plain = descent.fused or self.d_format.fraction_bits == x.fraction_bits
        self._eps = descent.step_rounding.eps if plain else 0.0

    def descend(self, x: Codes, gradient: I64, k: int) -> None:
        """Do iteration k on every row of x : codes[repeats, n], in place.

        Parameters
        ----------
        x : codes[repeats, n]
        gradient : int64[repeats, n]
            The exact gradient there, with the problem's `gradient_bits`.
        k : int
        """
        for key in self._keys:
            key[2] = k
        descent, first = self.descent, self.first
        a, b, c = self._keys
        self.saturations[0] += round_integers(
            gradient, self.gradient_bits, self.g_format, descent.gradient_rounding, a,
            first=first, out=self.g, work=self.work,
        ).saturated  # fmt: skip
        if descent.fused:
            d, factor, bits = self.g, self.code, self.product_bits
            rounding, key = descent.step_rounding, b
        else:
            self.saturations[1] += multiply(
                self.g, self._factor, self.product_bits, self.d_format, descent.step_rounding, b,
                first=first, v=self.g, out=self._d, work=self.work,
            ).saturated  # fmt: skip
            d, factor, bits = self._d, 1, self.d_format.fraction_bits
            rounding, key = descent.subtraction_rounding, c
        finest = max(bits, self.x_format.fraction_bits)
        subtract(x, finest - self.x_format.fraction_bits, d, factor << (finest - bits), self._p)
        self.saturations[2] += round_integers(
            self._p, finest, self.x_format, rounding, key, first=first, v=self.g, out=self._next,
            work=self.work,
        ).saturated  # fmt: skip
        self.measure(x)
        x[:] = self._next

    def measure(self, x: Codes) -> None:
        """Take down the regimes, M and R of the step from x."""
        finest = max(self.product_bits, self.x_format.fraction_bits)
        self.regimes[:] = 0
        measure(
            x, self._next, self.g, self.code << (finest - self.product_bits),
            finest - self.x_format.fraction_bits, self.x_format.unit, self._eps, self._pull,
            self._error, self.regimes, self.squares, self.gains,
        )  # fmt: skip


@kernel
def subtract(x: Codes, lift: int, d: Codes, factor: int, out: I64) -> None:
    """out = 2^lift x - factor d."""
    for r in range(x.shape[0]):
        xs, ds, target = x[r], d[r], out[r]
        for i in range(xs.size):
            target[i] = (np.int64(xs[i]) << np.int64(lift)) - np.int64(ds[i]) * np.int64(factor)


@kernel
def measure(
    x: Codes, moved: Codes, g: Codes, factor: int, drop: int, unit: float, eps: float, pull: float,
    error: float, regimes: I64, squares: F64, gains: F64,
) -> None:  # fmt: skip
    """Compare the move from x to `moved` with t g = factor g 2^-drop in units of x.

    squares_r = ||x - moved - t g||^2, gains_r = sum_i |b_i| (pull |g_i| - error), regimes as in
    `Iteration`; g in its codes, `pull` = (1 - L t) times their unit.
    """
    one = np.int64(1) << np.int64(drop)
    for r in range(x.shape[0]):
        xs, ys, gs = x[r], moved[r], g[r]
        square = gain = 0.0
        large = middle = zero = np.int64(0)
        for i in range(xs.size):
            step = np.int64(gs[i]) * np.int64(factor)
            size = abs(step)
            large += size >= one
            middle += (size < one) & (2 * size > one)
            zero += size == 0
            off = ((np.int64(xs[i]) - np.int64(ys[i])) << np.int64(drop)) - step
            square += np.float64(off) * np.float64(off)
            theta = np.float64(size & (one - 1)) / np.float64(one)
            bias = min(eps, 1.0 - theta) if theta > 0.0 else 0.0
            gain += bias * (pull * abs(np.float64(gs[i])) - error)
        regimes[0] += large
        regimes[1] += middle
        regimes[2] += xs.size - large - middle - zero
        regimes[3] += zero
        scale = unit / np.float64(one)
        squares[r] = square * scale * scale
        gains[r] = gain * unit


@dataclass
class Descent:
    """The outcome of many runs.

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
