"""The smooth soft-threshold against its definition in extended precision, and in its limits."""

import numpy as np
import pytest

from distopt.problems.costs.networks.activation import SoftThreshold

FORMS = ("softplus", "root")
POINTS = np.concatenate([np.linspace(-40, 40, 2001), np.logspace(-300, 2.8, 500)])


def derivatives(shrink, p, lam):
    """Return sigma, d sigma/dp and d sigma/d lam at each p."""
    P = np.ascontiguousarray(p, np.float64).reshape(1, -1)
    X, S, Q = np.empty_like(P), np.empty_like(P), np.empty_like(P)
    shrink.layer(P, lam, 1.0, X, 0, S, Q)
    return tuple(out.reshape(np.shape(p)) for out in (X, S, Q))


def sigma(shrink, p, lam):
    return derivatives(shrink, p, lam)[0]


def test_large_sharpness_is_soft_thresholding():
    hard = sigma(SoftThreshold("softplus", 1e6), np.array([-3.0, 0.5, 2.0]), 1.0)
    np.testing.assert_allclose(hard, [-2.0, 0.0, 1.0], atol=1e-6)


def reference(p, k, lam):
    """Softplus form and its first derivatives in long double, by the definition."""
    P, k, lam = np.longdouble(p), np.longdouble(k), np.longdouble(lam)

    def logistic(u):
        q = np.exp(-abs(u))
        return np.where(u >= 0, 1, q) / (1 + q)

    A, B = logistic(k * (P - lam)), logistic(-k * (P + lam))
    value = (np.logaddexp(0, k * (P - lam)) - np.logaddexp(0, -k * (P + lam))) / k
    return value, A + B, B - A


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, 5.0, -0.7])
@pytest.mark.parametrize("k", [0.5, 1.0, 7.0, 40.0])
def test_softplus_equals_its_definition(k, lam):
    got = derivatives(SoftThreshold("softplus", k), POINTS, lam)
    want = reference(POINTS, k, lam)
    # Four ulps of the result, and k lam ulps because e^(-k lam) has that error; the definition
    # itself cancels near 0, where the next test looks.
    near = abs(POINTS) < 1e-3
    bound = 4 * np.finfo(float).eps * (1 + k * abs(lam))
    np.testing.assert_allclose(got[0][~near], np.float64(want[0])[~near], rtol=bound, atol=0)
    np.testing.assert_allclose(got[0], np.float64(want[0]), rtol=bound, atol=1e-18)
    np.testing.assert_allclose(got[1], np.float64(want[1]), rtol=bound)
    np.testing.assert_allclose(got[2], np.float64(want[2]), rtol=bound, atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("lam", [0.0, 1.0, 5.0])
def test_near_zero_the_value_is_the_slope_times_p(form, k, lam):
    shrink = SoftThreshold(form, k)
    slope = derivatives(shrink, np.zeros(1), lam)[1][0]
    p = np.array([1e-300, 1e-100, 1e-12])
    np.testing.assert_allclose(sigma(shrink, p, lam), slope * p, rtol=1e-13)
    expected = 2 / (1 + np.exp(k * lam)) if form == "softplus" else 1 - lam / np.hypot(lam, 1 / k)
    np.testing.assert_allclose(slope, expected, rtol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_odd_increasing_and_shrinking(form):
    for k in (0.5, 1.0, 50.0, 1e8):
        shrink = SoftThreshold(form, k)
        value, slope, tilt = derivatives(shrink, POINTS, 1.0)
        np.testing.assert_array_equal(sigma(shrink, -POINTS, 1.0), -value)
        ordered = sigma(shrink, np.sort(POINTS), 1.0)
        assert (np.diff(ordered) >= 0).all()
        assert (abs(value) <= abs(POINTS)).all()
        assert (slope >= 0).all()
        assert (slope <= 1 + 1e-15).all()
        assert (tilt * np.sign(POINTS) <= 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_threshold_zero_is_the_identity(form):
    for k in (0.5, 1.0, 50.0):
        value, slope, tilt = derivatives(SoftThreshold(form, k), POINTS, 0.0)
        np.testing.assert_allclose(value, POINTS, rtol=1e-15)
        np.testing.assert_allclose(slope, 1.0, rtol=1e-15)
        assert (abs(tilt) <= 1).all()


@pytest.mark.parametrize("form", FORMS)
def test_distance_from_the_hard_threshold(form):
    for k in (1.0, 10.0, 1e4, 1e12, 1e150):
        lam = 1.5
        p = np.concatenate([np.linspace(-5, 5, 1001), [lam, -lam]])
        gap = abs(sigma(SoftThreshold(form, k), p, lam) - np.sign(p) * np.maximum(abs(p) - lam, 0))
        if form == "softplus":
            largest = (np.log(2) - np.log1p(np.exp(-2 * k * lam))) / k
        else:
            largest = (1 / k - 1 / k**2 / (2 * lam + np.hypot(2 * lam, 1 / k))) / 2
        assert gap.max() == pytest.approx(largest, rel=1e-12, abs=1e-15)
        assert gap[-1] == pytest.approx(largest, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_far_and_undefined_points(form):
    shrink = SoftThreshold(form, 2.0)
    huge = np.array([1e20, -1e150, 1e300, -1.7e308])
    value, slope, tilt = derivatives(shrink, huge, 1.0)
    np.testing.assert_allclose(value, huge, rtol=1e-15)
    np.testing.assert_allclose(slope, 1.0)
    np.testing.assert_allclose(tilt, -np.sign(huge))
    assert not np.isfinite(sigma(shrink, np.array([np.inf, -np.inf]), 1.0)).any()
    assert all(np.isnan(part).all() for part in derivatives(shrink, np.full(3, np.nan), 1.0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lam", [0.0, 0.8, -0.4])
def test_second_derivatives_against_differences(form, lam):
    shrink, h = SoftThreshold(form, 1.7), 1e-3
    p = np.linspace(-6, 6, 241) + 0.0123
    _, S, Q = derivatives(shrink, p, lam)
    pp, pq = shrink.curves(p, lam, S, Q)

    def slopes(dp, dlam):
        return np.array(derivatives(shrink, p + dp, lam + dlam)[1:])

    def differences(dp, dlam):  # of fourth order
        near = slopes(dp, dlam) - slopes(-dp, -dlam)
        far = slopes(2 * dp, 2 * dlam) - slopes(-2 * dp, -2 * dlam)
        return (8 * near - far) / (12 * h)

    np.testing.assert_allclose(differences(h, 0), [pp, pq], atol=1e-9)
    np.testing.assert_allclose(differences(0, h), [pq, pp], atol=1e-9)
    assert abs(pp).max() <= shrink.curvature


def test_softplus_curvature_that_the_docs_quote():
    p = np.linspace(-3, 3, 600_001)
    shrink = SoftThreshold("softplus", 1.0)
    _, S, Q = derivatives(shrink, p, 1.0)
    pp, _ = shrink.curves(p, 1.0, S, Q)
    assert abs(pp).max() == pytest.approx(0.16491, abs=1e-5)
    assert abs(p[np.argmax(abs(pp))]) == pytest.approx(1.514, abs=1e-3)
