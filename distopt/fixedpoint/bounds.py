"""Bounds on gradient descent with fixed-point rounding, to be drawn beside measured curves.

All of them are derived in our docs (fixed-point, bounds); none is quoted from a paper. Common assumptions:
f on R^n is L-smooth and mu-PL, ||grad f||^2 / 2 >= mu (f - f*); 0 < t <= 1 / L unless another range is
given; the gradient and t times it are each rounded once, on grids with the same gap u, and nothing
saturates. With phi_k = f(x_k) - f* the functions return float64[iterations + 1], a bound of E phi_k
for k = 0, 1, ...
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from distopt.core.arrays import F64

NEAREST = 0.5  # c1, the largest error of a gradient's entry in units of u, where RN rounds it
STOCHASTIC = 1.0  # c1, where SR or SR_eps rounds it


def rn_stall(n: int, unit: float, t: float, mu: float, c1: float = NEAREST) -> float:
    """RN_STALL: f - f* <= n (u / (2 t) + c1 u)^2 / (2 mu) where descent with RN of the step stalls.

    A fixed point has |t g_i| <= u / 2 for every rounded g_i; the exact entries differ by c1 u at most.
    The level grows like 1 / t^2. No condition on t.
    """
    return n * (unit / (2 * t) + c1 * unit) ** 2 / (2 * mu)


def sr(
    iterations: int, phi0: float, n: int, unit: float, t: float, smoothness: float, mu: float
) -> F64:
    """SR: E phi_k <= rho^k phi_0 + c (1 - rho^k) / (1 - rho), rho = 1 - mu t.

    c = t S1 / 2 + L n u^2 / 8 with S1 = n u^2 / 4. RN or SR of the gradient, SR of the step.
    """
    c = t / 2 * n * unit**2 / 4 + smoothness / 2 * n * unit**2 / 4
    return linear(iterations, phi0, 1 - mu * t, c)


def sr_unbiased(
    iterations: int, phi0: float, n: int, unit: float, t: float, smoothness: float, mu: float
) -> F64:
    """SR-unb: as `sr` with rho = 1 - mu t (2 - L t), c = (L / 2) (t^2 + 1) n u^2 / 4, for t < 2 / L.

    SR of the gradient and of the step, both unbiased. Sharp in rho where mu = L: rho = (1 - L t)^2.
    """
    c = smoothness / 2 * (t**2 + 1) * n * unit**2 / 4
    return linear(iterations, phi0, 1 - mu * t * (2 - smoothness * t), c)


def sr_refined(
    iterations: int, phi0: float, n: int, unit: float, t: float, smoothness: float, mu: float
) -> F64:
    """SR-ref: as `sr`, with the variance of the step's rounding at most u times the step.

    phi+ = (1 - mu t) phi + t S1 / 2 + (L / 2) min(n u^2 / 4, u t sqrt(n) (sqrt(2 L phi) + sqrt(S1))).
    The right-hand side is concave in phi, so it holds for E phi.
    """
    s1 = n * unit**2 / 4

    def next_phi(phi: float) -> float:
        small = unit * t * np.sqrt(n) * (np.sqrt(2 * smoothness * phi) + np.sqrt(s1))
        return float((1 - mu * t) * phi + t / 2 * s1 + smoothness / 2 * min(s1, small))

    return recursion(iterations, phi0, next_phi)


def diagonal(iterations: int, a: ArrayLike, e0: ArrayLike, unit: float, t: float) -> F64:
    """Q: E f_k - f* for f = sum_i a_i (x_i - x*_i)^2 / 2 with SR of gradient and step; 0 < t a_i < 2.

    sum_i (a_i / 2) ((1 - t a_i)^(2 k) e0_i^2 + v_i), v_i+ = (1 - t a_i)^2 v_i + (t^2 + 1) u^2 / 4.

    Parameters
    ----------
    a : float64[n]
    e0 : float64[n]
        x_0 - x*.
    """
    a, square = np.asarray(a, np.float64), np.asarray(e0, np.float64) ** 2
    factor, variance = (1 - t * a) ** 2, np.zeros(a.size)
    found = np.empty(iterations + 1)
    for k in range(iterations + 1):
        found[k] = a @ (square + variance) / 2
        square = factor * square
        variance = factor * variance + (t**2 + 1) * unit**2 / 4
    return found


def mean_square(eps: float) -> float:
    """Return the largest mean square error of SR_eps in u^2: 1/4 + eps^2 for eps <= 1/2, else eps."""
    return 0.25 + eps**2 if eps <= 0.5 else eps


def sr_eps_a(
    iterations: int, phi0: float, n: int, unit: float, t: float, smoothness: float, mu: float,
    eps: float, c1: float = NEAREST,
) -> F64:  # fmt: skip
    """SR_eps A, a priori: the rate of `sr`, with a higher floor.

    c = t S1 / 2 + (L / 2) n u^2 m(eps) + n eps u^2 max(0, c1 + L t - 1), m as in `mean_square`. RN
    (c1 = 1/2) or SR (c1 = 1) of the gradient, SR_eps of the step.
    """
    c = t / 2 * n * unit**2 / 4 + smoothness / 2 * n * unit**2 * mean_square(eps)
    c += n * eps * unit**2 * max(0.0, c1 + smoothness * t - 1)
    return linear(iterations, phi0, 1 - mu * t, c)


def sr_eps_c(
    phi0: float, squares: ArrayLike, gains: ArrayLike, n: int, unit: float, t: float,
    smoothness: float, mu: float,
) -> F64:  # fmt: skip
    """SR_eps C, a posteriori: phi+ = (1 - mu t) phi + t S1 / 2 + (L / 2) M_k - R_k, measured M and R.

    Parameters
    ----------
    squares : float64[iterations]
        M_k = sum_i E (error of the rounded step)_i^2, averaged over runs.
    gains : float64[iterations]
        R_k = sum_i |b_i| ((1 - L t) |g_i| - c1 u), b_i the bias of the rounded step, averaged.
    """
    squares, gains = np.asarray(squares, np.float64), np.asarray(gains, np.float64)
    phi = np.empty(squares.size + 1)
    phi[0] = phi0
    fixed = t / 2 * n * unit**2 / 4
    for k in range(squares.size):
        phi[k + 1] = (1 - mu * t) * phi[k] + fixed + smoothness / 2 * squares[k] - gains[k]
    return phi


def sr_eps_d(
    iterations: int, phi0: float, n: int, unit: float, t: float, smoothness: float, mu: float,
    eps: float, c1: float = NEAREST, largest: float | None = None,
) -> F64:  # fmt: skip
    """SR_eps D, a priori with a stricter rate, under two more assumptions.

    rho = 1 - mu t - (1 - L t) eps u sqrt(2 mu / Phi),
    c = t S1 / 2 + (L / 2) n u^2 m(eps) + n eps u^2 c1 (2 - L t).

    Assumed besides: phi_k <= Phi (`largest`, phi_0 by default) on the whole path; and no product is a
    number of the format or closer than eps to the neighbour away from zero. Where products are spread
    evenly over the gap, `effective_eps` in place of eps accounts for the latter.
    """
    largest = phi0 if largest is None else largest
    rho = 1 - mu * t - (1 - smoothness * t) * eps * unit * np.sqrt(2 * mu / largest)
    c = t / 2 * n * unit**2 / 4 + smoothness / 2 * n * unit**2 * mean_square(eps)
    c += n * eps * unit**2 * c1 * (2 - smoothness * t)
    return linear(iterations, phi0, float(max(rho, 0.0)), c)


def effective_eps(eps: float, drop: int | None = None) -> float:
    """Mean of min(eps, 1 - theta) over theta even on (0, 1): eps - eps^2 / 2.

    With a step t = 2^-drop theta is a multiple of t, and 0 (no bias) once in 2^drop.

    >>> round(effective_eps(0.25, drop=3), 3)
    0.203
    """
    if drop is None:
        return eps - eps**2 / 2
    theta = np.arange(1, 2**drop) / 2**drop
    return float(np.minimum(eps, 1 - theta).sum() / 2**drop)


def linear(iterations: int, phi0: float, rho: float, c: float) -> F64:
    """phi+ = rho phi + c."""
    return recursion(iterations, phi0, lambda phi: rho * phi + c)


def recursion(iterations: int, phi0: float, next_phi: Callable[[float], float]) -> F64:
    """Return phi_0 and the given number of iterates."""
    phi = np.empty(iterations + 1)
    phi[0] = phi0
    for k in range(iterations):
        phi[k + 1] = next_phi(phi[k])
    return phi
