"""Diagnostics of PL*: kernel, curvatures and bounds against explicit matrices at small sizes."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from distopt.core.errors import ConfigError
from distopt.problems.costs.networks.family import FFNN, LISTA, ADMMCSNet
from distopt.theory.pl_star import (
    Extremes,
    condition,
    curvature_bound,
    diagnose,
    kernel_extremes,
    lanczos,
    loss_curvature,
    output_curvature,
    pl_ratio,
    sample_curvature,
    tangent_kernel,
)

NETWORKS = (LISTA, ADMMCSNet, FFNN)
SMALL = {"m": 6, "n": 3, "layers": 3, "samples": 4, "threshold": 0.8}


def jacobian(cost, w):
    J = np.empty((cost.X.size, w.size))
    for row, unit in zip(J, np.eye(cost.X.size), strict=True):
        cost.vjp(w, unit.reshape(cost.X.shape), row)
    return J


def hessian(apply, d):
    H = np.empty((d, d))
    for row, unit in zip(H, np.eye(d), strict=True):
        apply(unit, row)
    return H


@pytest.mark.parametrize(
    ("cls", "tied", "learned"), list(itertools.product(NETWORKS, (False, True), (False, True)))
)
def test_kernel_is_the_jacobian_times_its_transpose(cls, tied, learned):
    cost = cls(tied=tied, learn_threshold=learned, **SMALL).cost(0, 1, 2)
    J = jacobian(cost, cost.start)
    K = tangent_kernel(cost, cost.start)
    assert abs(K - J @ J.T).max() <= 1e-12 * abs(K).max()


@pytest.mark.parametrize("cls", NETWORKS)
def test_both_methods_find_the_extremes(cls):
    cost = cls(**SMALL).cost(0, 1, 2)
    singular = np.linalg.svd(jacobian(cost, cost.start), compute_uv=False)
    exact = kernel_extremes(cost, cost.start)
    assert exact.method == "dense"
    assert exact.largest == pytest.approx(singular[0] ** 2, rel=1e-12)
    assert abs(exact.smallest - singular[-1] ** 2) <= exact.resolution
    full = kernel_extremes(cost, cost.start, dense=1)  # all of the 24 steps: nothing is missed
    assert full.method == "lanczos"
    assert full.largest == pytest.approx(exact.largest, rel=1e-12)
    assert abs(full.smallest - exact.smallest) <= 2 * exact.resolution
    few = kernel_extremes(cost, cost.start, dense=1, steps=8)
    assert few.smallest >= exact.smallest - exact.resolution
    assert few.largest <= exact.largest * (1 + 1e-12)
    assert few.largest == pytest.approx(exact.largest, rel=1e-2)


def test_lanczos_stops_in_an_invariant_subspace():
    values = np.repeat([1.0, 2.0, 5.0], 30)
    smallest, largest, residual = lanczos(lambda v: values * v, 90, 60, 0)
    assert (smallest, largest) == (pytest.approx(1, rel=1e-12), pytest.approx(5, rel=1e-12))
    assert residual < 1e-11


def test_what_is_not_reliable_says_so():
    assert "lambda_min" in str(Extremes(1e-3, 1.0, 100, "dense", 0.0))
    assert Extremes(1e-3, 1.0, 100, "dense", 0.0).reliable
    lost = Extremes(1e-15, 1.0, 100, "dense", 0.0)
    assert not lost.reliable
    assert "lost in rounding errors" in str(lost)
    rough = Extremes(1e-3, 1.0, 100, "lanczos", 1e-3)
    assert not rough.reliable
    assert "only an upper bound" in str(rough)


@pytest.mark.parametrize("cls", NETWORKS)
def test_curvatures_equal_those_of_explicit_hessians(cls):
    cost = cls(**SMALL).cost(0, 1, 3)
    w = cost.start
    H = hessian(lambda v, out: cost.hvp(w, v, out), w.size)
    norm = loss_curvature(cost, w)
    assert norm.converged
    assert norm.value == pytest.approx(abs(np.linalg.eigvalsh(H)).max(), rel=1e-3)
    singles = []
    for output in range(6):
        cotangent = np.zeros(cost.X.shape)
        cotangent[2, output] = 1.0
        H = hessian(lambda v, out, u=cotangent: cost.output_hvp(w, v, u, out), w.size)
        singles.append(abs(np.linalg.eigvalsh(H)).max())
        found = output_curvature(cost, w, 2, output, tolerance=1e-7, limit=3000)
        assert found.value == pytest.approx(singles[-1], rel=1e-3)
    joint = sample_curvature(cost, w, 2, int(np.argmax(singles)), tolerance=1e-7, limit=3000)
    assert 0.999 * max(singles) <= joint.value <= np.linalg.norm(singles)
    assert 0 < sample_curvature(cost, w, 2).value <= np.linalg.norm(singles)


@pytest.mark.parametrize("cls", NETWORKS)
@pytest.mark.parametrize("form", ["softplus", "root"])
def test_explicit_bound_holds_in_the_ball(cls, form):
    cost = cls(activation=form, **SMALL).cost(0, 1, 5)
    random = np.random.default_rng(0)
    for radius in (0.0, 1.0, 5.0):
        bound = curvature_bound(cost, cost.start, radius)
        for sample in range(cost.samples):
            step = random.normal(size=cost.dimension)
            w = cost.start + radius * step / np.linalg.norm(step)
            assert sample_curvature(cost, w, sample).value <= bound


@pytest.mark.parametrize("key", ["tied", "learn_threshold"])
def test_explicit_bound_refuses_what_it_is_not_derived_for(key):
    cost = LISTA(**SMALL, **{key: True}).cost(0, 1, 0)
    with pytest.raises(ConfigError, match="derived for untied weights and fixed thresholds"):
        curvature_bound(cost, cost.start)
    assert diagnose(cost, cost.start).curvature_bound is None


@pytest.mark.parametrize("cls", NETWORKS)
def test_pl_ratio_lies_within_the_kernel(cls):
    cost = cls(**SMALL).cost(0, 1, 6)
    random = np.random.default_rng(1)
    for _ in range(5):
        w = cost.start + random.normal(size=cost.dimension)
        extremes = kernel_extremes(cost, w)
        ratio = pl_ratio(cost, w)
        assert extremes.smallest - extremes.resolution <= ratio <= extremes.largest * (1 + 1e-12)


def test_radii():
    found = condition(Extremes(0.5, 4.0, 10, "dense", 0.0), 0.1, 3.0, 4)
    assert found.mu == 0.25
    assert found.allowed_radius == pytest.approx(0.25 / (2 * 2 * 2 * 0.1))
    assert found.needed_radius == pytest.approx(2 * 2 * 3 / 0.25)
    assert not found.holds
    flat = condition(Extremes(-1e-18, 4.0, 10, "dense", 0.0), 0.1, 3.0, 4)
    assert (flat.allowed_radius, flat.needed_radius, flat.holds) == (0.0, np.inf, False)


def test_report_hangs_together():
    cost = LISTA(m=20, n=4, samples=3, layers=4).cost(0, 1, 0)
    w = cost.start + 0.1
    report = diagnose(cost, w)
    assert report.moved == pytest.approx(0.1 * np.sqrt(cost.dimension))
    assert report.start_norm == pytest.approx(np.linalg.norm(cost.start))
    assert report.nmse == pytest.approx(cost.nmse(w))
    assert report.kernel.smallest <= report.pl_ratio <= report.kernel.largest
    assert report.output_curvature <= report.sample_curvature <= report.curvature_bound
    # PL*: half the squared gradient is at least the constant times the loss.
    assert report.gradient_norm**2 / 2 >= report.pl_constant * cost.value(w)


def descend(cost, eta, epochs, every):
    """Plain gradient descent; return losses of all epochs and lambda_min at some."""
    w, g = cost.start.copy(), np.empty(cost.dimension)
    losses, smallest = [cost.value(w)], [kernel_extremes(cost, w).smallest]
    for t in range(1, epochs + 1):
        cost.gradient(w, g)
        w -= eta * g
        losses.append(cost.value(w))
        if t % every == 0:
            smallest.append(kernel_extremes(cost, w).smallest)
    return np.array(losses), np.array(smallest)


@pytest.mark.parametrize("seed", [2, 8])  # the quick ones; benchmarks/networks.py takes ten
def test_lista_trains_to_zero_within_the_rate_of_pl_star(seed):
    cost = LISTA(m=50, n=10, layers=6, samples=5).cost(0, 1, seed)
    eta = 1 / loss_curvature(cost, cost.start).value
    losses, smallest = descend(cost, eta, 2000, 250)
    assert losses.min() < 1e-20 * cost.energy
    rate = np.exp(-eta * smallest.min() / cost.samples * np.arange(losses.size))
    assert (losses <= losses[0] * rate).all()


def test_docs_show_what_their_code_prints(capsys):
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    exec(compile(code, "networks.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    shown = [line.split("# ")[1] for line in code.splitlines() if "# lambda_min" in line]
    assert printed[0] == shown[0]
