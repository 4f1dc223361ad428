"""A linear rate of zed with a slow zoom, on strongly convex costs (docs: zooming, a rate).

Ours, proven there: without momentum and feedback, with equal and small consensus steps and a small gain
of the zoom, the largest step of all agents bounds all errors and falls by a factor.
"""

from dataclasses import dataclass
from math import floor, log2, sqrt

from distopt.core.errors import ConfigError

LEAST = 2.0**-12  # a gain of zoom; it is a whole number of 2^-16
UNROUNDED = (
    2.0**-15
)  # octaves: so much more a step may fall than by gain * activity, by rounding down
CLOSER = 0.98  # one trial's consensus step over the last one's


@dataclass(frozen=True)
class SlowZoom:
    """What zed and zoom must be given, and what then holds.

    With m_0 = max(largest step, |u - u*| / U, |x - x(D)| / X, max |z - h| / gamma) and m_{k+1} =
    max(largest step, fall m_k): |x - x(D)| <= X m, |u - u*| <= U m, and m_k <= 2 m_0 2^(-rate k).

    Attributes
    ----------
    eta, c : float
        zed's `eta`, and its `c0` = `c1`; `beta` and `omega` are 0.
    gain : float
        Of zoom.
    rate : float
        Octaves an iteration by which m falls at least, as a mean.
    fall : float
        The factor of an agent's step in an iteration, at least.
    X, U, gamma : float
        Bounds of errors over m.
    """

    eta: float
    c: float
    gain: float
    rate: float
    fall: float
    X: float
    U: float
    gamma: float


def slow_zoom(
    *,
    smoothness: float,
    convexity: float,
    gap: float,
    kappa: float,
    agents: int,
    dimension: int,
    alpha: float = 0.5,
    rounding: float = 0.5,
    offset: float = 0.0,
    activity: float = 0.44,
) -> SlowZoom:
    """Find the largest consensus step, among trials 2 % apart, that the proof covers.

    Parameters
    ----------
    smoothness, convexity : float
        L and m of every agent's cost.
    gap, kappa : float
        The least eigenvalue of I - W above 0, and the largest.
    agents, dimension : int
    alpha : float
        zed's memory step.
    rounding, offset, activity : float
        Of zoom.

    Raises
    ------
    ConfigError
        If the memory step is so long that the zoom may stall, or the proof asks for a gain below 2^-12.
    """
    L, m, K, delta, eta = smoothness, convexity, kappa, gap, 1 / smoothness
    progress = min(alpha, 2 * (1 - rounding) - alpha * (1 + offset))
    if progress <= 0:
        raise ConfigError(
            f"algorithm.alpha = {alpha:g} may let the zoom stall with compressor.rounding = "
            f"{rounding:g} and compressor.offset = {offset:g}; it must be below "
            f"{2 * (1 - rounding) / (1 + offset):g}."
        )
    nu = max(rounding + offset, 1 - rounding)  # of a code's error, in steps
    E = nu * sqrt(agents * dimension)
    U = 4 * sqrt(K) * E * L / delta
    drift = K * (2 * E + sqrt(K) * U / m)  # |(I - W) hat|, at most
    slope = 2 / (eta * m) * ((1 / m + eta) * drift + eta * E)  # X = b slope
    b = min(E / slope, m / K)
    while True:
        c, X = b * eta, b * slope
        theta = X + 2 * c * drift + c * E  # of z in an iteration
        room = min(b * delta / (2 * L), eta * m / 2)
        gain = floor((-log2(1 - room) - UNROUNDED) / activity * 2**16) / 2**16
        gamma = (alpha * nu + theta) / (alpha - room)
        slows = (2 * gamma * room + 2 * theta) / progress <= activity / 2
        starts = gain * (6 + 2 * gamma / progress + activity / 2) <= 1
        if gain < LEAST:
            raise ConfigError(
                "The proof asks for a gain of zoom below 2^-12 here; the condition number "
                f"{L / m:g} and the graph (gap = {delta:g}) are too bad for it."
            )
        if room < alpha and slows and starts:
            return SlowZoom(eta, c, gain, gain * activity / 2, 1 - room, X, U, gamma)
        b *= CLOSER
