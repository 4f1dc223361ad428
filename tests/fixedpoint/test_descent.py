"""Descent in fixed point: what stalls, what converges, what the bounds say; company changes nothing."""

import numpy as np
import pytest

from distopt.core.errors import ConfigError
from distopt.core.randomness import uniform
from distopt.fixedpoint import Format, Rounding, bounds, decode, encode, rounding_key
from distopt.fixedpoint.descent import FixedPointDescent, step_code
from distopt.fixedpoint.problems import DiagonalQuadratic, Himmelblau, Rosenbrock

N = 100
RN, SR = Rounding("RN"), Rounding("SR")
EPS = {eps: Rounding("SR_eps", eps=eps) for eps in (0.1, 0.25, 0.4)}


def quadratic(q, box, seed=0, repeats=20):
    """Curvatures from 1/16 to 1, minimiser off the grid, one start for all runs in the box."""
    u = uniform(rounding_key(seed, 9), 3 * N).reshape(3, N)
    a = 2.0 ** (-4 * u[0])
    a[:2] = 1, 1 / 16
    x0 = encode(box * (2 * u[2] - 1), q).codes
    return DiagonalQuadratic(q, a, box * (2 * u[1] - 1)), np.tile(x0, (repeats, 1))


def descend(problem, x0, iterations, step, rounding, gradient=RN, seed=0):
    return FixedPointDescent(step=step, step_rounding=rounding, gradient_rounding=gradient).run(
        problem, x0, iterations, seed=seed
    )


def first_below(f, fraction):
    """First k with f[k] <= fraction f[0], or a large number."""
    hits = np.flatnonzero(f <= fraction * f[0])
    return hits[0] if hits.size else 10**9


@pytest.mark.parametrize("seed", [0, 1])
def test_eight_bits(seed):
    """RN stalls above 3 % of f0; SR reaches 1e-3, SR_eps 1.2 to 2.4 times sooner."""
    problem, x0 = quadratic(Format(3, 5), 2.4, seed)
    stuck = descend(problem, x0[:1], 200, 1 / 8, RN).objective[:, 0]
    assert stuck[-1] == stuck[-50] > 0.03 * stuck[0]
    assert stuck[-1] <= bounds.rn_stall(N, 2.0**-5, 1 / 8, problem.pl)
    sr = descend(problem, x0, 400, 1 / 8, SR)
    reached = first_below(sr.objective.mean(1), 1e-3)
    assert reached < 400
    before = reached
    for eps, rounding in EPS.items():
        run = descend(problem, x0, 400, 1 / 8, rounding)
        sooner = first_below(run.objective.mean(1), 1e-3)
        assert 1.2 <= reached / sooner <= 2.4, eps
        assert sooner < before
        before = sooner
        assert run.saturated == 0


def test_sixteen_bits_and_a_small_step():
    """RN stalls; SR follows the exact iteration, whose f is 677 to 0.017 in 3000 steps."""
    q, t = Format(8, 8), 1 / 64
    problem, x0 = quadratic(q, 7.75, repeats=10)
    stuck = descend(problem, x0[:1], 3000, t, RN).objective[:, 0]
    assert stuck[-1] == stuck[-100] > 1.0
    sr = descend(problem, x0, 2000, t, SR).objective.mean(1)
    e0 = decode(x0[0], q) - problem.center
    exact = [(problem.a @ ((1 - t * problem.a) ** (2 * k) * e0**2)) / 2 for k in (0, 500, 1000)]
    np.testing.assert_allclose(sr[[0, 500, 1000]], exact, rtol=0.05)
    assert sr[-1] < 1e-3 * sr[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("q", "t"), [(Format(3, 5), 1 / 8), (Format(8, 8), 1 / 8), (Format(3, 5), 1 / 2)], ids=str
)
def test_bounds_hold_along_every_run(q, t, seed):
    """The bounds are on means; 20 runs of one start, all below them at every k, by a wide margin."""
    box = 1.9 if q.bits == 8 else 7.75  # gradients up to 2 box are in range
    problem, x0 = quadratic(q, box, seed)
    iterations = 200
    arguments = (
        iterations,
        float(problem.value(decode(x0[:1], q))[0]),
        N,
        q.unit,
        t,
        1.0,
        problem.pl,
    )
    runs = descend(problem, x0, iterations, t, SR, seed=seed)
    assert runs.saturated == 0
    mean = runs.objective.mean(1) * (1 - 1e-12)  # equal to the bounds at k = 0
    assert (mean <= bounds.sr(*arguments)).all()
    assert (mean <= bounds.sr_refined(*arguments)).all()
    assert (bounds.sr_refined(*arguments) <= bounds.sr(*arguments) * (1 + 1e-12)).all()
    both = descend(problem, x0, iterations, t, SR, gradient=SR, seed=seed)
    assert (both.objective.mean(1) <= bounds.sr_unbiased(*arguments) * (1 + 1e-12)).all()
    e0 = decode(x0[0], q) - problem.center
    exact = bounds.diagonal(iterations, problem.a, e0, q.unit, t)
    assert (both.objective.mean(1) <= exact * 1.02).all()  # equality without noise in the transient
    for eps, rounding in EPS.items():
        runs = descend(problem, x0, iterations, t, rounding, seed=seed)
        mean = runs.objective.mean(1) * (1 - 1e-12)
        a = bounds.sr_eps_a(*arguments, eps)
        c = bounds.sr_eps_c(arguments[1], runs.squares.mean(1), runs.gains.mean(1), *arguments[2:])
        assert (mean <= a).all()
        assert (
            mean <= c * (1 + 1e-3)
        ).all()  # equal to it in the first steps, with the noise of 20 runs
        assert (c <= a * (1 + 1e-12)).all()
        drop = step_code(t)[1]
        assert (mean <= bounds.sr_eps_d(*arguments, bounds.effective_eps(eps, drop))).all()


def test_isotropic_quadratic_meets_the_sharp_rate():
    """mu = L = 1, t = 1/8, SR of gradient and step: f falls by (1 - t)^2 a step, in the mean."""
    q, t = Format(8, 8), 1 / 8
    u = uniform(rounding_key(3, 9), 2 * N).reshape(2, N)
    problem = DiagonalQuadratic(q, np.ones(N), 7.75 * (2 * u[0] - 1))
    x0 = np.tile(encode(7.75 * (2 * u[1] - 1), q).codes, (50, 1))
    mean = descend(problem, x0, 40, t, SR, gradient=SR).objective.mean(1)
    bound = bounds.sr_unbiased(40, mean[0], N, q.unit, t, 1.0, 1.0)
    np.testing.assert_allclose(mean[:21], bound[:21], rtol=2e-3)
    assert mean[40] <= bound[40]


def test_himmelblau():
    problem, zero = Himmelblau(Format(10, 6)), np.zeros((20, 2), np.int16)
    stuck = descend(problem, zero[:1], 300, 2**-7, RN)
    np.testing.assert_allclose(stuck.objective[-1], 1.6e-2, rtol=0.01)
    before = np.inf
    for rounding in (SR, *EPS.values()):
        runs = descend(problem, zero, 300, 2**-7, rounding)
        assert (runs.x == [3 * 64, 2 * 64]).all()
        assert runs.objective[15].mean() < before
        before = runs.objective[15].mean()


def test_rosenbrock():
    """After 1000 steps SR .111, SR_eps .073, .044, .034, where float64 is at .110; RN stands at .556."""
    problem, zero = Rosenbrock(Format(7, 9)), np.zeros((20, 2), np.int16)
    assert descend(problem, zero[:1], 1000, 2**-10, RN).objective[-1, 0] == pytest.approx(
        0.556, abs=1e-3
    )
    for rounding, expected in zip((SR, *EPS.values()), (0.111, 0.073, 0.044, 0.034), strict=True):
        runs = descend(problem, zero, 1000, 2**-10, rounding)
        assert runs.objective[-1].mean() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "problem",
    [Himmelblau(Format(10, 6)), Rosenbrock(Format(7, 9)), quadratic(Format(8, 8), 2.0)[0]],
)
def test_gradients_are_exact(problem):
    q = problem.format
    x = np.arange(-5, 5)[:, None] * 7 * np.ones((1, problem.dimension), np.int64) + 3
    x = x.astype(q.dtype)
    at, h = decode(x, q), 1e-6
    exact = np.empty(x.shape, np.int64)
    problem.gradient(x, exact)
    g = exact * 2.0**-problem.gradient_bits
    for i in range(problem.dimension):
        e = h * (np.arange(problem.dimension) == i)
        slope = (problem.value(at + e) - problem.value(at - e)) / (2 * h)
        np.testing.assert_allclose(g[:, i], slope, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "rounding", [SR, EPS[0.1], Rounding("signed_SR_eps", eps=0.25)], ids=lambda r: r.mode
)
def test_runs_do_not_depend_on_their_company(rounding):
    problem, x0 = quadratic(Format(3, 5), 2.4, repeats=7)
    descent = FixedPointDescent(step=1 / 8, step_rounding=rounding, gradient_rounding=SR)
    together = descent.run(problem, x0, 30)
    for rows in (slice(0, 1), slice(1, 4), slice(4, 7)):
        apart = descent.run(problem, x0[rows], 30, first_run=rows.start)
        np.testing.assert_array_equal(apart.x, together.x[rows])
        np.testing.assert_array_equal(apart.objective, together.objective[:, rows])
    assert len({row.tobytes() for row in together.x}) == 7


def test_fused_rounding_behaves_as_the_biased_step():
    """Section SR_eps on the step: the same law, so the same mean over 50 runs up to its noise."""
    problem, x0 = quadratic(Format(3, 5), 2.4, repeats=50)
    step = descend(problem, x0, 100, 1 / 8, EPS[0.25]).objective.mean(1)
    fused = descend(
        problem, x0, 100, 1 / 8, Rounding("signed_SR_eps", eps=0.25), seed=1
    ).objective.mean(1)
    np.testing.assert_allclose(step, fused, rtol=0.05)


def test_regimes_count_all_coordinates():
    problem, x0 = quadratic(Format(3, 5), 2.4, repeats=3)
    runs = descend(problem, x0, 50, 1 / 8, SR)
    assert (runs.regimes.sum(1) == 3 * N).all()
    assert runs.regimes[0, 0] > 0
    stuck = descend(problem, x0, 200, 1 / 8, RN)
    assert (stuck.regimes[-1, :2] == 0).all()


def test_leaving_the_range_saturates_and_is_counted():
    problem = DiagonalQuadratic(Format(3, 5), np.ones(2), np.array([10.0, 0.0]))
    runs = descend(problem, np.zeros((1, 2), np.int8), 50, 1 / 2, RN)
    assert runs.saturated > 0
    assert decode(runs.x, problem.format).tolist() == [[3.96875, 0.0]]


@pytest.mark.parametrize("step", [0.1, 0.0, -0.5, np.inf, np.nan, 2.0**16])
def test_steps_that_no_format_has_are_refused(step):
    with pytest.raises(
        ConfigError, match=r"descent.step = .* is not a fixed-point number; accepted"
    ):
        FixedPointDescent(step=step)


def test_refusals():
    with pytest.raises(ConfigError, match="would need a direction"):
        FixedPointDescent(step=0.5, gradient_rounding=Rounding("signed_SR_eps", eps=0.1))
    with pytest.raises(ConfigError, match=r"Q12.12: this problem takes formats of at most 16 bits"):
        Himmelblau(Format(12, 12))
    with pytest.raises(ConfigError, match="Curvatures must exceed"):
        DiagonalQuadratic(Format(3, 5), np.array([0.0]), np.array([1.0]))
