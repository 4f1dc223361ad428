"""diloco and averaged: their listings in plain numpy, the inner optimisers, what both guarantee."""

import numpy as np
import pytest
from algorithms import reference as ref
from algorithms.test_reference import arguments, build, product

import distopt
from distopt.algorithms.inner import AdamW, Momentum
from distopt.core.errors import ConfigError, DivergedError
from distopt.core.randomness import make_key, normal
from distopt.engine.laws import quadratic

TOP, TWO = {"name": "top_k", "k": 3}, {"name": "quantize", "bits": 2}
COMPRESSORS = [({}, ref.identity), (TOP, ref.top_k(3)), (TWO, ref.quantize(2))]


def sgd(beta, decay=0.0):
    """The inner optimiser on all agents' rows at once: a function of Z and G that keeps its state."""
    M = 0.0

    def step(Z, G, eta):
        nonlocal M
        M = beta * M + G + decay * Z
        return Z - eta * M

    return step


def tree_mean(parents, C, n, feedback=1.0):
    """The function that takes rows V to the mean that all agents decode."""
    E = None
    order = sorted(range(n), key=lambda i: -depth(parents, i))  # the leaves first

    def mean(V):
        nonlocal E
        E = np.zeros_like(V) if E is None else E
        T = V + E
        for i in order:
            S = C(T[i : i + 1])[0]
            E[i] = feedback * (T[i] - S)
            if parents[i] < 0:
                return S / n
            T[parents[i]] += S
        return None

    return mean


def depth(parents, i):
    return 0 if parents[i] < 0 else 1 + depth(parents, parents[i])


def diloco(W, parents, grad, X, C, form, eta, outer, beta, K=3, gamma=0.5, alpha=0.3, feedback=1.0):
    n, inner = len(W), sgd(0.9)
    U, H, mean = np.zeros_like(X), np.zeros_like(X), tree_mean(parents, C, n, feedback)
    if form == "tree":
        X = np.tile(X[parents.index(-1)], (n, 1))
    while True:
        yield X
        Z = X
        for _ in range(K):
            Z = inner(Z, grad(Z), eta)
        if form == "tree":
            D = np.tile(mean(X - Z), (n, 1))
        else:
            Q = C(Z - H)
            D = X - (Z + gamma * (W - np.eye(n)) @ (H + Q))
            H = H + alpha * Q
        U = beta * U + D
        X = X - outer * (D + beta * U)


@pytest.mark.parametrize("graph", ["ring", "star"])
@pytest.mark.parametrize(("table", "C"), COMPRESSORS)
@pytest.mark.parametrize("form", ["tree", "gossip"])
def test_product_follows_the_listing(form, table, C, graph):
    W, grad, X = arguments(graph=graph)
    parents = build({"name": "diloco"}, {}, graph=graph).problem.topology.lean_tree.parents
    steps = {"inner": "sgd", "eta": 0.005, "outer_eta": 0.8, "outer_beta": 0.4, "local_steps": 3}
    more = {"feedback": 0.9} if form == "tree" else {"gamma": 0.5, "alpha": 0.3}
    listing = diloco(W, parents, grad, X, C, form, 0.005, 0.8, 0.4, **more)
    for iterations in range(12):
        expected = next(listing)
        if iterations in (1, 4, 11):
            table_ = {"name": "diloco", "mean": form} | steps | more
            found = product(table_, table, iterations, graph=graph)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("table", "C"), COMPRESSORS)
def test_averaged_follows_the_listing(table, C):
    W, grad, X = arguments()
    parents = build({"name": "averaged"}, {}).problem.topology.lean_tree.parents
    mean, inner = tree_mean(parents, C, len(W)), sgd(0.5)
    x = X[parents.index(-1)]
    for _ in range(10):
        x = inner(x, mean(grad(np.tile(x, (len(W), 1)))), 0.02)
    algorithm = {"name": "averaged", "inner": "sgd", "eta": 0.02, "beta": 0.5}
    found = product(algorithm, table, 10)
    assert all(row.tobytes() == found[0].tobytes() for row in found)
    np.testing.assert_allclose(found[0], x, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_inner_optimisers_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    d, given = 7, {"beta": 0.8, "weight_decay": 0.1, "eta": 0.05}
    algorithm = distopt.DiLoCo(inner=name, beta2=0.95, **given)
    own = AdamW(algorithm, np.zeros(d)) if name == "adamw" else Momentum(algorithm, np.zeros(d))
    z = normal(make_key(0, 0, 0), d)
    p = torch.nn.Parameter(torch.tensor(z))
    if name == "adamw":
        theirs = torch.optim.AdamW([p], lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)
    else:
        theirs = torch.optim.SGD([p], lr=0.05, momentum=0.8, weight_decay=0.1)
    for t in range(30):
        g = normal(make_key(1, t, 0), d)
        own.step(z, g)
        p.grad = torch.tensor(g)
        theirs.step()
    # AdamW's decay acts before its step there, after it here: to first order in eta the same.
    tolerance = 2e-3 if name == "adamw" else 1e-12
    np.testing.assert_allclose(z, p.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_the_step_rises_and_falls():
    algorithm = distopt.DiLoCo(eta=1.0, warmup=4, horizon=10)
    etas = [algorithm.eta_at(t) for t in range(1, 13)]
    assert etas[:2] == [0.25 * 1.0, 0.5 * 0.9]
    assert etas[9:] == [pytest.approx(0.1), 0.0, 0.0]
    assert distopt.DiLoCo(eta=1.0).eta_at(10**9) == 1.0
    assert distopt.DiLoCo().resolve(None).eta == 0.001
    assert distopt.DiLoCo(inner="sgd").resolve(None).eta == 0.05


def simulate(algorithm, compressor, iterations=400, **options):
    costs = [quadratic(i) for i in range(4)]
    mean = sum(c.A for c in costs) / 4, sum(c.times(c.b) for c in costs) / 4
    best = mean[1] / mean[0]  # diagonal
    result = distopt.simulate(
        costs, algorithm=algorithm, compressor=compressor, iterations=iterations, record_every=400,
        **options,
    )  # fmt: skip
    return result, best


def test_feedback_makes_up_for_what_a_sparse_message_leaves_out():
    """Errors shrink with the step, as published; without feedback they do not."""

    def error(feedback, eta):
        method = distopt.AveragedGradients(inner="sgd", eta=eta, beta=0.0, feedback=feedback)
        result, best = simulate(method, distopt.SparseZoom(density=0.1), int(8 / eta))
        return np.abs(result.x[0] - best).max()

    assert error(1.0, 0.01) < 0.4 * error(1.0, 0.04)
    assert error(1.0, 0.01) < 0.4 * error(0.0, 0.01)


def test_one_message_up_and_one_down_each_edge_of_the_tree():
    """Of n = 4 agents on a star three speak to the root, and the root to three."""
    method = distopt.DiLoCo(inner="sgd", local_steps=5)
    result, _ = simulate(method, distopt.Cast(), iterations=10, topology="star")
    assert result.summary["bytes_on_wire"] == 10 * 6 * 4 * 9
    assert result.summary["bytes_per_agent"] == 10 * 4 * 4 * 9 / 4  # the root's message counts once


def test_exact_gossip_on_a_complete_graph_is_the_exact_mean():
    known = {"inner": "sgd", "eta": 0.02, "local_steps": 4, "outer_beta": 0.3, "outer_eta": 0.9}
    tree, _ = simulate(distopt.DiLoCo(**known), distopt.Identity(), 20, topology="complete")
    gossip = distopt.DiLoCo(mean="gossip", gamma=1.0, alpha=1.0, **known)
    other, _ = simulate(gossip, distopt.Identity(), 20, topology="complete")
    np.testing.assert_allclose(tree.x, other.x, atol=1e-12)


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"algorithm\.mean.*tree.*gossip"):
        distopt.DiLoCo(mean="ring")
    with pytest.raises(ConfigError, match="needs a compressor with a relative guarantee"):
        simulate(distopt.DiLoCo(), distopt.OneBit(), 1)
    with pytest.raises(DivergedError, match="Agent 0 diverged at iteration"):
        simulate(distopt.DiLoCo(inner="sgd", eta=1e200), distopt.Identity(), 20)


def test_nothing_of_the_costs_is_estimated():
    """Neither method uses curvature, so a cost of a large model is not asked for it."""
    calls = 0

    class Counting:
        dimension = 3

        def value(self, x):
            return float(x @ x) / 2

        def gradient(self, x, out):
            nonlocal calls
            calls += 1
            out[:] = x

    distopt.simulate([Counting() for _ in range(2)], algorithm=distopt.DiLoCo(), iterations=1)
    assert calls < 2 * (20 + 15)
