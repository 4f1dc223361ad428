"""Smooth soft-thresholding in two forms, with its derivatives in the argument and the threshold.

The elementary functions are written out here because the compiler can then work on several entries
at once, which it cannot with calls into a library: a layer costs less than a tenth of its matrix
products. No operation depends on the machine, so neither do the bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numba import njit

from distopt.core.arrays import F64
from distopt.core.kernel import kernel

Form: TypeAlias = Literal["softplus", "root"]
F = TypeVar("F", bound=Callable[..., Any])

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # its last 21 bits are zero, so n LN2_HIGH is exact
LN2_LOW = 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves a whole number in the low bits
ROUND_BITS = np.int64(0x4338000000000000)
LOWEST = -700.0  # e^-700 is 1e-304: normal, and zero to everything here


def inlined(function: F) -> F:
    """Compile a part of such a loop: a call that is not inlined keeps it from being vectorised."""
    make = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
    return make(function)  # type: ignore[no-any-return,return-value]


@inlined
def expm1_and_exp(x: float) -> tuple[float, float]:
    """Return e^x - 1 and e^x for x <= 0, each to about an ulp; x below -700 counts as -700."""
    x = LOWEST if x < LOWEST else x  # noqa: FURB136 (max need not keep NaN)
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = (x - n * LN2_HIGH) - n * LN2_LOW  # |r| <= log(2) / 2, where 13 terms leave 4e-18
    exponent = np.float64(shifted).view(np.int64) - ROUND_BITS + 1023
    power = np.int64(exponent << 52).view(np.float64)
    # Grouped in pairs, because a chain of twelve sums would wait for each of them.
    r2 = r * r
    r4 = r2 * r2
    low = (1 / 2 + r * (1 / 6)) + r2 * (1 / 24 + r * (1 / 120))
    middle = (1 / 720 + r * (1 / 5040)) + r2 * (1 / 40320 + r * (1 / 362880))
    high = (1 / 3628800 + r * (1 / 39916800)) + r2 * (1 / 479001600 + r * (1 / 6227020800))
    small = r + r2 * (low + r4 * (middle + r4 * high))  # e^r - 1
    return power * small + (power - 1.0), power * small + power


@inlined
def log1p(z: float) -> float:
    """Return log(1 + z) for 0 <= z <= 1, to about an ulp.

    1 + z or, above sqrt(2), (1 + z) / 2 is 1 + f = (1 + s) / (1 - s); an even series in s with the
    minimax coefficients of fdlibm's log.
    """
    above = z > 0.41421356237309503
    f = 0.5 * (z - 1.0) if above else z
    s = (z - 1.0 if above else z) / (z + (3.0 if above else 2.0))
    s2 = s * s
    s4 = s2 * s2
    odd = s4 * (0.3999999999940941908 + s4 * (0.2222219843214978396 + s4 * 0.1531383769920937332))
    even = s2 * (
        0.6666666666666735130
        + s4 * (0.2857142874366239149 + s4 * (0.1818357216161805012 + s4 * 0.1479819860511658591))
    )
    half = 0.5 * f * f
    low = s * (half + odd + even) + (LN2_LOW if above else 0.0)
    return low - half + f + (LN2_HIGH if above else 0.0)


@inlined
def softplus_at(
    a: float, k: float, width: float, E: float, lam: float
) -> tuple[float, float, float]:
    """Return sigma, d sigma/dp and -d sigma/d lam at p = a >= 0, for lam >= 0.

    With width = 1/k, E = e^(-k lam), q = e^(-k |a - lam|), t = e^(-k a), r = E t = e^(-k (a + lam))
    and the logistic function s,

        A = s(k (a - lam)),  B = s(-k (a + lam)) = r / (1 + r)
        sigma = max(a - lam, 0) + (1/k) log(1 + z),   z = q (1 - t^2) / (1 + r) if a < lam
                                                      z = (q - r) / (1 + r)     else
        sigma' = A + B,   -d sigma/d lam = A - B = A (1 - t^2) / (1 + r)

    Nothing that matters cancels, so all are right in the relative sense down to a = 0.
    """
    g = a - lam
    below = g < 0.0
    _, q = expm1_and_exp(-k * abs(g))
    shrunk, t = expm1_and_exp(-k * a)
    r = t * E
    rest = -shrunk * (1.0 + t)  # 1 - t^2
    both = 1.0 / ((1.0 + q) * (1.0 + r))  # one division for all
    A = (q if below else 1.0) * (1.0 + r) * both
    B = r * (1.0 + q) * both
    z = (q * rest if below else q - r) * (1.0 + q) * both
    sigma = (0.0 if below else g) + width * log1p(z)
    return sigma, A + B, A * rest * (1.0 + q) * both


@inlined
def root_at(a: float, eps: float, lam: float) -> tuple[float, float, float]:
    """Return sigma, d sigma/dp and -d sigma/d lam at p = a >= 0.

    With g = a - lam, h = a + lam, G = sqrt(g^2 + eps), H = sqrt(h^2 + eps),

        sigma = a + (G - H) / 2 = a (G + H - 2 lam) / (G + H)
        sigma' = 1 + (g/G - h/H) / 2,   -d sigma/d lam = (g/G + h/H) / 2

    for lam >= 0, where G - |g| = eps / (G + |g|), so that nothing cancels (but g/G + h/H near 0).
    """
    far = a - 1e150 if a > 1e150 else 0.0  # sigma is a - lam there; squares would overflow
    a = 1e150 if a > 1e150 else a  # noqa: FURB136 (min need not keep NaN)
    g, h = a - lam, a + lam
    G, H = np.sqrt(g * g + eps), np.sqrt(h * h + eps)
    short_g, short_h = eps / (G + abs(g)), eps / (H + abs(h))  # G - |g|, H - |h|
    beyond = max(g, 0.0)
    sigma = a * (short_g + short_h + 2.0 * beyond) / (G + H)
    rise_g = short_g if g < 0.0 else G + g  # G + g
    return sigma + far, 0.5 * (rise_g / G + short_h / H), 0.5 * (g / G + h / H)


@kernel
def softplus_layer(
    P: F64, k: float, lam: float, scale: float, tilted: bool, X: F64, first: int, S: F64, Q: F64
) -> None:
    """X[:, first:] = scale sigma(P), S = sigma'(P), and if `tilted` Q = d sigma/d lam (P)."""
    width, (_, E) = 1.0 / k, expm1_and_exp(-k * lam)
    for i in range(P.shape[0]):
        if tilted:
            for j in range(P.shape[1]):
                p = P[i, j]
                value, slope, tilt = softplus_at(abs(p), k, width, E, lam)
                X[i, first + j] = scale * (value if p >= 0.0 else -value)
                S[i, j] = slope
                Q[i, j] = -tilt if p >= 0.0 else tilt
        else:
            for j in range(P.shape[1]):
                p = P[i, j]
                value, slope, _ = softplus_at(abs(p), k, width, E, lam)
                X[i, first + j] = scale * (value if p >= 0.0 else -value)
                S[i, j] = slope


@kernel
def root_layer(
    P: F64, eps: float, lam: float, scale: float, tilted: bool, X: F64, first: int, S: F64, Q: F64
) -> None:
    """Do the same as `softplus_layer` for the other form."""
    for i in range(P.shape[0]):
        for j in range(P.shape[1]):
            p = P[i, j]
            value, slope, tilt = root_at(abs(p), eps, lam)
            X[i, first + j] = scale * (value if p >= 0.0 else -value)
            S[i, j] = slope
            if tilted:
                Q[i, j] = -tilt if p >= 0.0 else tilt


@dataclass(frozen=True)
class SoftThreshold:
    """sigma(p; lam), odd and increasing in p; tends to soft-thresholding as `sharpness` k grows.

    form "softplus": (1/k) [log(1 + e^(k (p - lam))) - log(1 + e^(-k (p + lam)))]
    form "root":     p + (1/2) [sqrt((p - lam)^2 + eps) - sqrt((p + lam)^2 + eps)],  eps = 1 / k^2

    Both are the identity at lam = 0. Their largest distance from sgn(p) max(|p| - lam, 0) lies at
    |p| = lam: (log 2 - log(1 + e^(-2 k lam))) / k and (sqrt(eps) + 2 lam - sqrt(4 lam^2 + eps)) / 2.
    |sigma'| <= 1 for lam >= 0; |sigma''| <= k/4 and k/2.
    """

    form: Form = "softplus"
    sharpness: float = 1.0

    @property
    def curvature(self) -> float:
        """A bound of |sigma''| that holds for every threshold."""
        return self.sharpness / (4.0 if self.form == "softplus" else 2.0)

    def layer(
        self, P: F64, lam: float, scale: float, X: F64, first: int, S: F64, Q: F64 | None = None
    ) -> None:
        """X[:, first:] = scale sigma(P; lam), S = d sigma/dp; Q = d sigma/d lam where it is given.

        Parameters
        ----------
        P, S, Q : float64[T, m], C-contiguous
        X : float64[T, at least first + m], C-contiguous
        """
        if lam < 0:  # sigma(p; lam) = 2 p - sigma(p; -lam): a learned threshold may come here
            self.layer(P, -lam, scale, X, first, S, Q)
            part = X[:, first : first + P.shape[1]]
            np.subtract(2.0 * scale * P, part, out=part)
            np.subtract(2.0, S, out=S)
            return
        tilted, q, k = Q is not None, S if Q is None else Q, self.sharpness
        if self.form == "softplus":
            softplus_layer(P, k, lam, scale, tilted, X, first, S, q)
        else:
            root_layer(P, 1.0 / (k * k), lam, scale, tilted, X, first, S, q)

    def curves(self, P: F64, lam: float, S: F64, Q: F64) -> tuple[F64, F64]:
        """Return d2 sigma/dp2 (which is d2 sigma/d lam2 as well) and d2 sigma/dp d lam at P.

        S and Q are the first derivatives in p and lam at P.
        """
        k = self.sharpness
        if self.form == "softplus":
            # With A, B of `softplus_at`: k (A(1-A) - B(1-B)) and -k (A(1-A) + B(1-B)).
            return -k * Q * (1.0 - S), -k * (S - (S * S + Q * Q) / 2)
        eps = 1.0 / (k * k)
        below = ((P - lam) ** 2 + eps) ** -1.5
        above = ((P + lam) ** 2 + eps) ** -1.5
        return 0.5 * eps * (below - above), -0.5 * eps * (below + above)
