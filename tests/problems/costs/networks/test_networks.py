"""Networks against an independent twin and against differences on every coordinate."""

import itertools
import tracemalloc

import networks_twin as twin
import numpy as np
import pytest

from distopt.problems.costs.networks.family import FFNN, LISTA, ADMMCSNet

EPS = np.finfo(float).eps
SIZES = {"m": 4, "n": 3, "samples": 5, "threshold": 0.8, "sharpness": 1.7}
CASES = [
    pytest.param(
        cls(layers=layers, tied=tied, learn_threshold=learned, activation=form, **SIZES, **own),
        id=f"{cls.__name__}-{layers}-{'tied' if tied else 'untied'}-"
        f"{'learned' if learned else 'fixed'}-{form}",
    )
    for (cls, own), layers, tied, learned, form in itertools.product(
        [(LISTA, {}), (ADMMCSNet, {"multiplier_step": 0.7}), (FFNN, {"output_scale": 1.3})],
        (1, 2, 4),
        (False, True),
        (False, True),
        ("softplus", "root"),
    )
]


def normal(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def slope(function, w, j, h=1e-3):
    """Differences of fourth order in coordinate j; leave some h^4 f^(5) / 30 and eps f / h."""

    def at(step):
        moved = w.copy()
        moved[j] += step
        return function(moved)

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def gradient(cost, w):
    out = np.full(w.size, np.nan)
    cost.gradient(w, out)
    return out


def close(got, want, relative, rounding=0.0):
    """Each coordinate to `relative`; those a million times below the largest only absolutely."""
    floor = 1e-6 * relative * abs(want).max() + rounding
    np.testing.assert_allclose(got, want, rtol=relative, atol=floor)


@pytest.mark.parametrize("family", CASES)
def test_value_and_gradient_equal_the_twin(family):
    cost = family.cost(0, 1, 3)
    for w in (cost.start, cost.start + 0.5 * normal(cost.dimension)):
        np.testing.assert_allclose(cost.forward(w), twin.outputs(w, family, cost.Y), rtol=1e-12)
        assert cost.value(w) == pytest.approx(twin.loss(w, family, cost.Y, cost.X), rel=1e-13)
        close(gradient(cost, w), twin.gradient(w, family, cost.Y, cost.X), 1e-11)


@pytest.mark.parametrize("family", CASES)
def test_gradient_and_hessian_against_differences_on_every_coordinate(family):
    cost = family.cost(0, 1, 4)
    w = cost.start
    g, H = gradient(cost, w), np.full((w.size, w.size), np.nan)
    for j in range(w.size):
        cost.hvp(w, np.eye(w.size)[j], H[j])
    differences = [slope(cost.value, w, j) for j in range(w.size)]
    close(g, np.array(differences), 1e-7, rounding=4 * EPS * cost.value(w) / 1e-3)
    columns = np.array([slope(lambda w: gradient(cost, w), w, j) for j in range(w.size)])
    close(H, columns, 1e-7)


@pytest.mark.parametrize("family", CASES)
def test_derivatives_of_the_outputs_agree_with_each_other(family):
    cost = family.cost(0, 1, 5)
    w, v, u = cost.start, normal(cost.dimension), normal(cost.X.shape, 1)
    J, Hv = np.empty(w.size), np.empty(w.size)
    cost.vjp(w, u, J)
    jvp = cost.jvp(w, v)
    assert np.vdot(u, jvp) == pytest.approx(J @ v, rel=1e-12)
    h = 1e-3
    far = np.array(cost.forward(w + 2 * h * v)) - cost.forward(w - 2 * h * v)
    near = np.array(cost.forward(w + h * v)) - cost.forward(w - h * v)
    np.testing.assert_allclose((8 * near - far) / (12 * h), jvp, rtol=1e-7, atol=1e-8)
    cost.output_hvp(w, v, u, Hv)
    assert np.vdot(u, cost.second(w, v)) == pytest.approx(Hv @ v, rel=1e-11)


@pytest.mark.parametrize("family", CASES)
def test_features_and_adjoints_make_the_jacobian(family):
    cost = family.cost(0, 1, 6)
    layout, w = cost.shape.layout, cost.start
    features, adjoints, tilts = cost.adjoints(w)
    J, row = np.zeros((cost.X.size, w.size)), np.empty(w.size)
    for r in range(cost.X.size):
        matrices = layout.matrices(J[r])
        for l, (phi, D) in enumerate(zip(features, adjoints, strict=True)):
            into = matrices[layout.used_by[l]]
            into[: phi.shape[1]] += np.outer(phi[r // layout.m], D[r])
        if layout.learned:
            into = layout.threshold_part(J[r])
            into[:] = tilts[:, r].sum() if layout.tied else tilts[:, r]
        cost.vjp(w, np.eye(cost.X.size)[r].reshape(cost.X.shape), row)
        np.testing.assert_allclose(J[r], row, rtol=1e-12, atol=1e-14)


def test_the_first_layer_has_a_dead_block():
    for cls in (LISTA, ADMMCSNet):
        cost = cls(layers=3, **SIZES).cost(0, 1, 0)
        names = [name for name, _ in cost.shape.layout.parts]
        g, Hv = gradient(cost, cost.start), np.empty(cost.dimension)
        cost.hvp(cost.start, normal(cost.dimension), Hv)
        for first, last, name in zip(cost.blocks, cost.blocks[1:], names, strict=False):
            dead = name == "W2[1]"
            assert (g[first:last] == 0).all() == dead
            assert (Hv[first:last] == 0).all() == dead


def test_blocks_name_the_parts():
    m, n = 4, 3
    learned = LISTA(layers=2, learn_threshold=True, **SIZES).cost(0, 1, 0)
    assert learned.shape.layout.parts == [
        ("W1[1]", n * m), ("W2[1]", m * m), ("W1[2]", n * m), ("W2[2]", m * m), ("thresholds", 2)
    ]  # fmt: skip
    assert learned.blocks == [0, 12, 28, 40, 56, 58]
    tied = LISTA(layers=9, tied=True, learn_threshold=True, **SIZES).cost(0, 1, 0)
    assert tied.shape.layout.parts == [("W1", n * m), ("W2", m * m), ("thresholds", 1)]
    assert [name for name, _ in FFNN(layers=3, **SIZES).layout.parts] == ["W[1]", "W[2]", "W[3]"]
    assert [name for name, _ in FFNN(layers=3, tied=True, **SIZES).layout.parts] == ["W[1]", "W"]


@pytest.mark.parametrize("layers", [6, 11])
def test_equal_numbers_of_unknowns_as_in_the_docs(layers):
    unfolded = LISTA(m=100, n=20, layers=layers).dimension_for(1, 0)
    deeper = layers + 1 + (layers - 1) * 20 // 100
    assert unfolded == layers * 12_000 == FFNN(m=100, n=20, layers=deeper).dimension_for(1, 0)


def test_multiplier_step_zero_is_lista():
    unfolded = ADMMCSNet(multiplier_step=0.0, layers=4, **SIZES).cost(0, 1, 0)
    np.testing.assert_array_equal(
        gradient(unfolded, unfolded.start),
        gradient(LISTA(layers=4, **SIZES).cost(0, 1, 0), unfolded.start),
    )


def test_threshold_zero_makes_lista_linear_in_its_input():
    cost = LISTA(layers=4, m=5, n=3, threshold=0.0).cost(0, 1, 0)
    Y = normal((3, 3))
    Y[2] = 2 * Y[0] - 3 * Y[1]
    F = cost.predict(cost.start, Y)
    np.testing.assert_allclose(F[2], 2 * F[0] - 3 * F[1], rtol=1e-12)


def test_the_order_of_the_samples_does_not_matter():
    cost = ADMMCSNet(layers=3, **SIZES).cost(0, 1, 0)
    turned = cost.with_samples(cost.Y[::-1], cost.X[::-1])
    w = cost.start
    np.testing.assert_allclose(gradient(cost, w), gradient(turned, w), rtol=1e-12, atol=1e-15)


def test_local_gradients_weighted_by_samples_add_up():
    family = LISTA(m=5, n=3, layers=3, samples=11)
    whole = family.cost(0, 1, 2)
    costs = [family.cost(i, 4, 2) for i in range(4)]
    assert [cost.samples for cost in costs] == [3, 3, 3, 2]
    for cost in costs:
        np.testing.assert_array_equal(cost.start, whole.start)
    w = whole.start + normal(whole.dimension)
    total = sum(cost.samples * gradient(cost, w) for cost in costs) / 11
    np.testing.assert_allclose(total, gradient(whole, w), rtol=1e-12, atol=1e-15)


def test_nmse_is_the_error_over_the_energy():
    cost = LISTA(layers=2, **SIZES).cost(0, 1, 0)
    F = cost.forward(cost.start).copy()
    expected = ((F - cost.X) ** 2).sum() / (cost.X**2).sum()
    assert cost.nmse(cost.start) == pytest.approx(expected, rel=1e-14)
    assert cost.nmse(np.zeros(cost.dimension)) == 1


@pytest.mark.parametrize("cls", [LISTA, ADMMCSNet, FFNN])
@pytest.mark.parametrize("tied", [False, True])
def test_evaluations_allocate_nothing_that_grows(cls, tied):
    cost = cls(m=100, n=20, layers=6, samples=60, tied=tied, learn_threshold=True).cost(0, 1, 0)
    x, out = cost.start, np.empty(cost.dimension)
    for _ in range(2):  # the first call compiles
        cost.value(x)
        cost.gradient(x, out)
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(3):  # a thread of the test runner may allocate during one of them
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            cost.value(x)
            cost.gradient(x, out)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert min(peaks) < 8000  # views of the matrices; samples x m has 48000 bytes


def test_weights_that_are_not_finite_are_not_hidden():
    for cls, value in itertools.product((LISTA, ADMMCSNet, FFNN), (np.nan, np.inf, 1e300)):
        cost = cls(layers=4, **SIZES).cost(0, 1, 0)
        w = cost.start.copy()
        w[0] = value
        with np.errstate(all="ignore"):
            w *= value if value == 1e300 else 1.0
            assert not np.isfinite(cost.value(w))
            assert not np.isfinite(gradient(cost, w)).all()
