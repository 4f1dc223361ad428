"""The measurements behind ``"auto"`` (docs: auto).

The provable constants of a compressor hold for the worst vector and are far too pessimistic to step
with (psi = 1/d for norm_sign). The rules measure instead: a memory follows a fixed moving vector, on
every process alike and without any communication, and its lag says how fast the agents may mix.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from distopt.compressors.base import Compressor, compress
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError
from distopt.core.randomness import make_key, normal
from distopt.core.streams import Stream
from distopt.problems.costs.base import Cost
from distopt.theory.facts import Facts

COORDINATES = 1 << 21  # about how many are compressed for one memory step alpha
ROUNDS = (24, 256)  # of following, at least and at most
SMALLEST_ALPHA = 2.0**-20
TRIES = 20  # curvatures on the way of a first step


@dataclass(frozen=True)
class Following:
    """How well a memory h+ = h + alpha C(v - h) follows a moving vector v.

    Attributes
    ----------
    alpha : float
        The memory step that follows best.
    lag : float
        Root mean square of the network's error C(v - h) - (v - h), in lengths of one move of v; 0
        without compression, infinite where no alpha was found that follows.
    delay : float
        The number of moves by which the network is late on average; 0 for unbiased compressors.
    """

    alpha: float
    lag: float
    delay: float


@lru_cache(maxsize=64)
def following(compressor: Compressor, d: int) -> Following:
    """Search the memory step alpha among 1, 0.7, 0.5, ... with which a compressor lags least."""
    alpha = 1.0
    best = follow(compressor, d, alpha)
    while alpha > SMALLEST_ALPHA:
        alpha *= 0.5**0.5
        now = follow(compressor, d, alpha)
        if now.lag < best.lag:
            best = now
        elif np.isfinite(best.lag):
            break
    return best


def lag_at_one(facts: Facts) -> float:
    """Return the lag of the memory step 1, for methods that have no other.

    Raises
    ------
    ConfigError
        Where such a memory runs away from the vector that it should follow.
    """
    found = follow(facts.compressor, facts.dimension, 1.0).lag
    if not np.isfinite(found):
        raise ConfigError(
            'algorithm.gamma = "auto" finds no step: this method has the memory step 1, with which '
            "the memory of this compressor runs away. Use cgt1, whose alpha may be smaller, or another "
            "compressor (rand_k instead of unbiased_rand_k), or set algorithm.gamma to a number."
        )
    return found


@lru_cache(maxsize=64)
def follow(compressor: Compressor, d: int, alpha: float) -> Following:
    """Let a memory follow a vector with moves u + w_k (u fixed, w_k anew, all entries normal)."""
    rounds = min(max(COORDINATES // d, ROUNDS[0]), ROUNDS[1])
    drift = normal(make_key(0, 0, Stream.TYPICAL), d)
    z = np.zeros(d)
    squares = moves = behind = 0.0
    for k in range(rounds):
        move = drift + normal(make_key(0, 1, Stream.TYPICAL, k), d)
        z += move
        _, q = compress(compressor, z, make_key(0, 0, Stream.MESSAGE, k))
        if k >= rounds // 2:
            squares += float((q - z) @ (q - z))
            behind += float((z - q) @ drift)
            moves += float(move @ move)
        z -= alpha * q
        if z @ z > 1e12 * (move @ move):  # runs away; also true for an infinite z
            return Following(alpha, float("inf"), float("inf"))
    counted = rounds - rounds // 2
    delay = behind / (counted * float(drift @ drift))
    return Following(alpha, float(np.sqrt(squares / moves)), max(delay, 0.0))


def mixing_step(facts: Facts, lagging: float = 0.0) -> float:
    """gamma = 4/5 / (kappa (1 + lag)): the largest eigenvalue of gamma (I - W) is 4/5 / (1 + lag)."""
    return min(1.0, 0.8 / (facts.kappa * (1 + lagging))) if facts.kappa > 0 else 1.0


def tracking_step(facts: Facts, gamma: float) -> float:
    """eta = min(3 gamma delta, 2/5) / L, for methods with a gradient tracker."""
    return min(3 * gamma * facts.gap, 0.4) / facts.require_smoothness("algorithm.eta")


def directed_step(facts: Facts, gamma: float) -> float:
    """eta = min(tracking_step, e / (2 L)) / a, with e the largest stable step of equal costs.

    On an eigenvalue lambda of I + gamma (R - I), tracking of equal costs of curvature h has the
    characteristic polynomial (z - lambda)^2 + eta h (z - 1); complex lambda, as of a directed ring, allow
    far less than real ones. a is the graph's alignment. Derived for R = C, measured beyond.
    """
    usual = tracking_step(facts, gamma) / facts.alignment
    if not facts.spectrum:
        return usual
    by = 1 + gamma * (np.array(facts.spectrum) - 1)

    def stable(e: float) -> bool:
        root = np.sqrt((2 * by - e) ** 2 - 4 * (by**2 - e))
        return bool((np.abs([2 * by - e + root, 2 * by - e - root]) < 2).all())

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    largest = low / (2 * facts.require_smoothness("algorithm.eta"))
    return min(usual, largest / facts.alignment)


def untracked_step(facts: Facts, gamma: float) -> float:
    """eta = gamma delta / (5 L), for methods without a tracker: their error grows with eta / gamma."""
    return gamma * facts.gap / (5 * facts.require_smoothness("algorithm.eta"))


def scale_factor(facts: Facts, eta: float, gamma: float, share: float) -> float:
    """mu = 1 - min(share eta m, gamma delta / 4), m the curvature of the flattest local direction.

    The scales must not shrink faster than the errors: those of the agents' mean by about 1 - eta m an
    iteration, those between agents by about 1 - gamma delta / 3. Without m, it is taken as L / 100.
    """
    flattest = facts.flattest
    if flattest is None:
        flattest = facts.require_smoothness("algorithm.mu") / 100
    slowest = min(share * eta * flattest, gamma * facts.gap / 4)
    return min(max(1 - slowest, 0.5), 1 - 1e-6)


def estimate_smoothness(cost: Cost, x0: F64) -> float:
    """Estimate the smoothness: twice the curvature of 20 steps, because elsewhere it is unknown."""
    largest = estimate_curvature(cost, x0, 20)
    return 2 * largest if largest > 0 else 1.0


def estimate_curvature(cost: Cost, x0: F64, steps: int) -> float:
    """Estimate the largest curvature around x0 by power iteration on gradient differences.

    Steps v = (g(x0 + h v) - g(x0)) / h, h = 1e-4 (1 + ||x0||), from a fixed vector; the answer is the
    largest ||v|| met. Local, deterministic.
    """
    d = x0.size
    at_start, moved = np.empty(d), np.empty(d)
    cost.gradient(x0, at_start)
    step = 1e-4 * (1 + float(np.linalg.norm(x0)))
    v = normal(make_key(0, 2, Stream.TYPICAL), d)
    v /= np.linalg.norm(v)
    largest = 0.0
    for _ in range(steps):
        cost.gradient(x0 + step * v, moved)
        v = (moved - at_start) / step
        norm = float(np.linalg.norm(v))
        if not np.isfinite(norm) or norm == 0.0:
            break
        largest = max(largest, norm)
        v /= norm
    return largest


def curvature_on_the_way(cost: Cost, x0: F64, curvature: float) -> float:
    """Raise a curvature at x0 that says nothing of where a step with it leads.

    The secant |g(x0) - g(x0 - t g / |g|)| / t over the way t = |g| / curvature of such a step replaces one
    that it exceeds ten times, as where the Hessian happens to vanish at x0, until it does not. Local,
    deterministic; two gradients where all is well.
    """
    at_start, there = np.empty(x0.size), np.empty(x0.size)
    cost.gradient(x0, at_start)
    size = float(np.linalg.norm(at_start))
    for _ in range(TRIES):
        if not 0 < size < np.inf or curvature <= 0:
            break
        with np.errstate(all="ignore"):
            cost.gradient(x0 - at_start / curvature, there)
            secant = float(np.linalg.norm(there - at_start)) / size * curvature
        if secant <= 10 * curvature:
            break
        curvature = min(secant, 1000 * curvature) if np.isfinite(secant) else 1000 * curvature
    return curvature


def estimate_flattest(cost: Cost, x0: F64, smoothness: float) -> float:
    """Descend on the local cost alone and see how fast the gradient shrinks at the end.

    At most 200 steps x -= g(x) / L. Where ||g|| shrinks by a factor q a step over the last half of
    them, the curvature in the remaining direction is about L (1 - q). Local, deterministic.
    """
    x, g = x0.copy(), np.empty(x0.size)
    norms: list[float] = []
    for _ in range(200):
        cost.gradient(x, g)
        norms.append(float(np.linalg.norm(g)))
        if not np.isfinite(norms[-1]) or norms[-1] <= 1e-10 * norms[0]:
            break
        x -= g / smoothness
    half = len(norms) // 2
    steps = len(norms) - 1 - half
    if steps < 1 or not 0 < norms[-1] < norms[half]:
        return smoothness * 1e-4 if norms[-1] > 1e-10 * norms[0] else smoothness
    factor = float((norms[-1] / norms[half]) ** (1 / steps))
    return max(smoothness * (1 - factor), smoothness * 1e-6)
