"""What every cost must obey; for the tests of this package and of users' own costs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from distopt.core.arrays import F64
from distopt.core.laws import law
from distopt.core.randomness import make_key, normal
from distopt.problems.costs.base import Cost

EPS = float(np.finfo(np.float64).eps)


def check_cost(
    cost: Cost, points: int = 5, scale: float = 1.0, seed: int = 0, tolerance: float = EPS
) -> None:
    """Raise `AssertionError`, naming the law in a sentence, unless a cost keeps the contract of `Cost`.

    At seeded normal points: x is never written, results repeat to the bit, `out` is overwritten and
    not added to (law "purity"), the gradient agrees with central differences of the value ("gradient"),
    `hvp` with those of the gradient and is symmetric ("Hessian product"), `smoothness` and `lower_bound`
    hold ("constants"), batches average to the gradient ("mini-batches").

    Parameters
    ----------
    cost : Cost
    points : int
        How many points are tried.
    scale : float
        Standard deviation of their entries.
    seed : int
        Of the points.
    tolerance : float
        Relative rounding error of the cost's own arithmetic: ``np.finfo(np.float32).eps`` for a model in
        float32.

    Examples
    --------
    >>> from distopt.problems.costs.quadratic import QuadraticCost
    >>> check_cost(QuadraticCost(np.array([1.0, 4.0]), np.zeros(2)))
    """
    d = cost.dimension
    assert isinstance(d, int), f"dimension is a {type(d).__name__}; it must be an int"
    assert d >= 1, f"dimension = {d}; it must be at least 1"
    draws = [
        [scale * normal(make_key(seed, point, part), d) for part in range(2)]
        for point in range(points)
    ]
    start = getattr(cost, "start", None)
    if start is not None:
        assert np.shape(start) == (d,), f"start has shape {np.shape(start)}, not ({d},)"
        draws[0][0] = np.array(start, dtype=np.float64)
    for x, other in draws:
        check_purity(cost, x)
        check_gradient(cost, x, other, tolerance)
        check_constants(cost, x, other, tolerance)
        if hasattr(cost, "hvp"):
            check_hvp(cost, x, other, tolerance)
        if hasattr(cost, "batch_gradient"):
            check_batches(cost, x, tolerance)


def gradient(cost: Cost, x: F64) -> F64:
    """Return the gradient in a new array."""
    out = np.full(x.size, np.nan)
    cost.gradient(x, out)
    return out


@law("purity")
def check_purity(cost: Cost, x: F64) -> None:
    """No call changes x, any content of out is overwritten, repeating gives the same bits."""
    given = x.copy()
    values = [cost.value(x) for _ in range(2)]
    gradients = [gradient(cost, x) for _ in range(2)]
    assert np.array_equal(x, given), "value or gradient changed x"
    assert isinstance(values[0], float | np.floating), (
        f"value returned a {type(values[0]).__name__}, not a float"
    )
    assert values[0] == values[1], f"value gave {values[0]!r}, then {values[1]!r} at the same x"
    filled = np.ones(x.size)
    cost.gradient(x, filled)
    for again in (gradients[1], filled):
        assert np.isfinite(again).all(), "gradient left entries of out unwritten or not finite"
        assert np.array_equal(gradients[0], again), (
            "gradient depends on what out held, or differs from call to call"
        )


@law("gradient")
def check_gradient(cost: Cost, x: F64, direction: F64, tolerance: float = EPS) -> None:
    """The slope along a direction agrees with central differences of the value."""
    g = gradient(cost, x)
    for v in (direction / np.linalg.norm(direction), unit(x.size, int(np.argmax(abs(g))))):
        slope = float(g @ v)
        size = float(np.linalg.norm(g))
        off = distance_to_differences(cost.value, x, v, slope, size, tolerance)
        assert not off, (
            f"gradient says slope {slope:.9g} along a direction; central differences of value are "
            f"off by {off:.3g} at best"
        )


@law("Hessian product")
def check_hvp(cost: Any, x: F64, direction: F64, tolerance: float = EPS) -> None:
    """Hessian times vector agrees with central differences of the gradient and is symmetric."""
    v = direction / np.linalg.norm(direction)
    w = unit(x.size, 0)
    given = x.copy(), v.copy()
    Hv, Hw = np.full(x.size, np.nan), np.full(x.size, np.nan)
    cost.hvp(x, v, Hv)
    cost.hvp(x, w, Hw)
    assert np.array_equal(x, given[0]), "hvp changed x"
    assert np.array_equal(v, given[1]), "hvp changed v"
    size = float(np.linalg.norm(Hv)) + float(np.linalg.norm(Hw))
    skew = abs(float(Hv @ w) - float(Hw @ v))
    assert skew <= max(1e-9, 100 * tolerance) * size, f"hvp is not symmetric: off by {skew:.3g}"
    off = distance_to_differences(lambda y: gradient(cost, y), x, v, Hv, size, tolerance)
    assert not off, f"hvp is off from central differences of gradient by {off:.3g} at best"


def distance_to_differences(
    function: Callable[[F64], Any],
    x: F64,
    v: F64,
    derivative: Any,
    size: float,
    tolerance: float,
) -> float:
    """Return how far central differences along v are from a derivative, 0 where they agree.

    Their error is h^2 f'''/6 + eps |f| / h, and the best step h is not known. For one of these it must
    be small against `size` plus the cancellation in the difference, where eps is `tolerance`. Arithmetic
    that rounds x as well moves the points by eps |x|.
    """
    errors = []
    close, exact = max(1e-6, 100 * tolerance), tolerance <= EPS
    for h in (1e-3, 1e-4, 1e-5, 1e-6) if exact else (1e-1, 1e-2, 1e-3):
        up, down = function(x + h * v), function(x - h * v)
        errors.append(float(np.linalg.norm((up - down) / (2 * h) - derivative)))
        seen = float(np.linalg.norm(up) + np.linalg.norm(down))
        seen = 100 * seen if exact else 10 * seen + size * float(np.linalg.norm(x))
        if errors[-1] <= close * size + tolerance * seen / h:
            return 0.0
    return min(errors)


@law("mini-batches")
def check_batches(cost: Any, x: F64, tolerance: float = EPS) -> None:
    """Gradients of single samples average to that of a batch, and to the gradient."""
    close = max(1e-11, 1000 * tolerance)
    m, given = int(cost.samples), x.copy()
    singles = np.full((m, x.size), np.nan)
    for s in range(m):
        cost.batch_gradient(x, np.array([s]), singles[s])
    few = np.arange(0, m, 2)
    for index in (np.arange(m), few, few[-1:]):
        kept, out = index.copy(), np.full(x.size, np.nan)
        cost.batch_gradient(x, index, out)
        assert np.array_equal(index, kept), "batch_gradient changed the index"
        error = float(np.linalg.norm(out - singles[index].mean(axis=0)))
        size = float(np.linalg.norm(singles[index], axis=1).max())
        assert error <= close * size, (
            f"batch_gradient of {index.size} samples is off from the mean of theirs by {error:.3g}"
        )
    error = float(np.linalg.norm(gradient(cost, x) - singles.mean(axis=0)))
    size = float(np.linalg.norm(singles, axis=1).max())
    assert error <= close * size, (
        f"the samples' gradients average to the gradient but for {error:.3g}"
    )
    assert np.array_equal(x, given), "batch_gradient changed x"


@law("constants")
def check_constants(cost: Cost, x: F64, other: F64, tolerance: float = EPS) -> None:
    """`smoothness` bounds the gradient's change, near and far, and `lower_bound` the value."""
    close = max(1e-9, 100 * tolerance)
    smoothness = getattr(cost, "smoothness", None)
    if smoothness is not None:
        g = gradient(cost, x)
        for step in (1.0, 1e-3):
            moved = x + step * (other - x)
            change = float(np.linalg.norm(gradient(cost, moved) - g))
            apart = float(np.linalg.norm(moved - x))
            rounding = close * float(np.linalg.norm(g))
            assert change <= smoothness * apart * (1 + close) + rounding, (
                f"smoothness = {smoothness:.6g}, but the gradient changed by {change / apart:.6g} "
                "per unit of distance"
            )
    bound = getattr(cost, "lower_bound", None)
    if bound is not None:
        value = cost.value(x)
        assert value >= bound - max(1e-12, tolerance) * abs(bound), (
            f"value {value!r} is below lower_bound {bound!r}"
        )


def unit(d: int, k: int) -> F64:
    """Return the k-th unit vector of R^d."""
    e = np.zeros(d)
    e[k] = 1.0
    return e
