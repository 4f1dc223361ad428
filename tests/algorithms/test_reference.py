"""The product's trajectories against an independent matrix-form reference, and against each other."""

from pathlib import Path

import numpy as np
import pytest
from algorithms import reference as ref
from run_table import SAMPLE, play

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.run import run

PROBLEM = {"name": "quadratic", "agents": 6, "dimension": 9, "condition": 5.0, "start": "normal"}
PL = {"name": "pl", "agents": 10, "dimension": 20, "start": "normal"}
STEPS = {"eta": 0.01, "gamma": 0.3}
# Quantisers amplify rounding: 1e-15 may grow to 1e-3 in 150 iterations at alpha = 1. With alpha =
# 0.05 the memories hardly matter within 50 iterations, and 1e-10 is far above rounding.
MEMORY = STEPS | {"alpha": 0.05}
LOCAL = MEMORY | {"local_steps": 3}
SCALED = STEPS | {"s0x": 3.0, "s0y": 20.0, "mu": 0.98}

RELATIVE = [
    ({"name": "identity"}, ref.identity),
    ({"name": "top_k", "k": 3}, ref.top_k(3)),
    ({"name": "norm_sign"}, ref.norm_sign),
    ({"name": "quantize", "bits": 2}, ref.quantize(2)),
    ({"name": "quantize", "bits": 5}, ref.quantize(5)),
]
CASES = [
    ({"name": "gt"} | STEPS, {}, lambda *a: ref.gt(*a, **STEPS)),
    ({"name": "gt", "form": "atc"} | STEPS, {}, lambda *a: ref.gt(*a, **STEPS, form="atc")),
    ({"name": "gt", "beta": 0.3} | STEPS, {}, lambda *a: ref.gt(*a, **STEPS, beta=0.3)),
    (
        {"name": "gt", "form": "atc", "beta": 0.3} | STEPS,
        {},
        lambda *a: ref.gt(*a, **STEPS, form="atc", beta=0.3),
    ),
    ({"name": "exact_diffusion", "eta": 0.05}, {}, lambda *a: ref.exact_diffusion(*a, 0.05)),
    (
        {"name": "exact_diffusion", "eta": 0.03, "beta": 0.4},
        {},
        lambda *a: ref.nids(*a, 0.03, beta=0.4),
    ),
    ({"name": "dgd", "decay": 0.3} | STEPS, {}, lambda *a: ref.dgd(*a, **STEPS, decay=0.3)),
]
for table, C in RELATIVE:
    CASES += [
        ({"name": "cgt1"} | MEMORY, table, lambda *a, C=C: ref.cgt1(*a, C, **MEMORY)),
        ({"name": "lead"} | MEMORY, table, lambda *a, C=C: ref.lead(*a, C, **MEMORY)),
        (
            {"name": "cedas", "decay": 0.05} | MEMORY,
            table,
            lambda *a, C=C: ref.cedas(*a, C, **MEMORY, decay=0.05),
        ),
        ({"name": "led"} | LOCAL, table, lambda *a, C=C: ref.led(*a, C, **LOCAL)),
        ({"name": "k_gt"} | LOCAL, table, lambda *a, C=C: ref.k_gt(*a, C, **LOCAL)),
        (
            {"name": "primal_dual", "beta": 0.05} | MEMORY,
            table,
            lambda *a, C=C: ref.primal_dual(*a, C, **MEMORY, beta=0.05),
        ),
    ]
for table, C in RELATIVE[:2]:  # memory step 1: only what does not amplify
    CASES += [
        ({"name": "beer"} | STEPS, table, lambda *a, C=C: ref.beer(*a, C, **STEPS)),
        (
            {"name": "motef", "lam": 0.2} | STEPS,
            table,
            lambda *a, C=C: ref.motef(*a, C, **STEPS, lam=0.2),
        ),
        ({"name": "choco"} | STEPS, table, lambda *a, C=C: ref.choco(*a, C, **STEPS)),
    ]
for name, table, C in [
    ("cgt2", {"name": "uniform", "delta": 0.5}, ref.uniform(0.5)),
    ("cgt3", {"name": "saturating", "bits": 3}, ref.saturating(3)),
    ("cgt3", {"name": "one_bit"}, ref.one_bit),
]:
    CASES.append(({"name": name} | SCALED, table, lambda *a, C=C: ref.cgt2(*a, C, **SCALED)))
FINITE = STEPS | {"s0": 3.0, "mu": 0.98}
for table, C in [
    ({"name": "saturating", "bits": 3}, ref.saturating(3)),
    ({"name": "one_bit"}, ref.one_bit),
    ({"name": "anq", "absolute": 0.3, "relative": 0.4}, ref.anq(0.3, 0.4)),
]:
    CASES.append(
        ({"name": "dyna_cold"} | FINITE, table, lambda *a, C=C: ref.dyna_cold(*a, C, **FINITE))
    )
ZED1 = {"beta": 0.2, "omega": 0.4, "c0": 0.55, "c1": 0.44, "alpha": 0.87}
CASES += [
    ({"name": "zed", "eta": 0.02}, {}, lambda *a: ref.zed(*a, ref.IntegerCodes, eta=0.02)),
    (
        {"name": "cgt3", "scale": "zoom"} | STEPS,
        {},
        lambda *a: ref.cgt3_zoom(*a, ref.SignCodes, **STEPS),
    ),
    ({"name": "zed1", "eta": 0.02}, {}, lambda *a: ref.zed(*a, ref.SignCodes, eta=0.02, **ZED1)),
]


ELSEWHERE = {  # listings that are not in `CASES`: below, and in these files
    "push_pull": "test_reference.py",
    "zest": "test_zest.py",
    "diloco": "test_diloco.py",
    "averaged": "test_diloco.py",
    "fixed_point_gd": "test_fixed_point_gd.py",
}


def test_every_algorithm_has_a_listing_and_runs_under_both_engines():
    """A new one must be added to `CASES`, and to the table by which MPI is compared with one process."""
    listed = {table["name"] for table, *_ in CASES}
    assert sorted([*listed, *ELSEWHERE]) == sorted(ALGORITHMS)
    assert {name.partition("-")[0] for name, _ in SAMPLE} == set(ALGORITHMS)


def build(algorithm, compressor, problem=PROBLEM, graph="ring", **settings):
    return make_config(
        {
            "problem": problem,
            "topology": {"graph": graph},
            "algorithm": algorithm,
            "compressor": compressor,
            "run": settings,
        },
        Path(),
    )


def product(algorithm, compressor, iterations, **other):
    result = run(build(algorithm, compressor, iterations=iterations, **other), engine="simulate")
    return np.array(result.x)


def arguments(problem=PROBLEM, graph="ring"):
    """W, the stacked gradient and X_0 of the product's problem."""
    whole = build({"name": "push_pull"}, {}, problem, graph).problem
    costs = [whole.cost(i) for i in range(whole.agents)]
    X = np.array([whole.start_point(i, cost) for i, cost in enumerate(costs)])

    def grad(X):
        G = np.empty_like(X)
        for cost, x, g in zip(costs, X, G, strict=True):
            cost.gradient(x, g)
        return G

    return whole.topology.matrix(), grad, X


def after(trajectory, iterations):
    for _ in range(iterations):
        next(trajectory)
    return next(trajectory)


def close(actual, expected, tolerance=1e-10):
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def label(case):
    return "-".join(str(v) for v in case.values()) if isinstance(case, dict) else ""


@pytest.mark.parametrize(("algorithm", "compressor", "reference"), CASES, ids=label)
def test_product_follows_the_reference(algorithm, compressor, reference):
    for iterations in (1, 50):
        expected = after(reference(*arguments()), iterations)
        close(product(algorithm, compressor, iterations), expected)


@pytest.mark.parametrize("graph", ["star", "complete", "path"])
def test_product_follows_the_reference_on_other_graphs(graph):
    expected = after(ref.cgt1(*arguments(graph=graph), ref.top_k(3), **MEMORY), 50)
    close(product({"name": "cgt1"} | MEMORY, {"name": "top_k", "k": 3}, 50, graph=graph), expected)


def iterations_to(trajectory, grad, target, limit):
    for k, X in enumerate(trajectory):
        mean = X.mean(axis=0)
        gradient = grad(np.tile(mean, (len(X), 1))).mean(axis=0)
        P = gradient @ gradient + ((X - mean) ** 2).sum() / len(X)
        if k >= limit or target >= P:
            return k
    raise AssertionError


LONG = {"eta": 0.004, "gamma": 0.4, "alpha": 1.0}


@pytest.mark.parametrize(
    ("compressor", "C"),
    [pytest.param(*RELATIVE[2], id="norm_sign", marks=pytest.mark.slow), RELATIVE[3]],
)
@pytest.mark.parametrize(("name", "reference"), [("cgt1", ref.cgt1), ("lead", ref.lead)])
def test_long_runs_take_as_many_iterations(name, reference, compressor, C):
    W, grad, X = arguments(PL)
    expected = iterations_to(reference(W, grad, X, C, **LONG), grad, 1e-10, 3000)
    config = build(
        {"name": name} | LONG, compressor, PL,
        iterations=3000, record_every=1, stop={"stationarity": 1e-10},
    )  # fmt: skip
    found = run(config, engine="simulate").summary["iterations"]
    assert expected < 3000
    # Rounding changes the trajectories, so counts agree as those of two seeds do.
    assert abs(found - expected) <= 0.05 * expected + 2


def test_beer_is_cgt1_from_its_shifted_start(tmp_path):
    _, grad, X = arguments()
    np.savetxt(tmp_path / "shifted.txt", X - STEPS["eta"] * grad(X), fmt="%.18e")
    shifted = PROBLEM | {"start": str(tmp_path / "shifted.txt")}
    compressor = {"name": "top_k", "k": 3}
    # After its first iteration beer is where cgt1 begins, so it has made one more.
    expected = product({"name": "cgt1", "alpha": 1.0} | STEPS, compressor, 50, problem=shifted)
    close(product({"name": "beer"} | STEPS, compressor, 51), expected)


def test_uncompressed_cgt1_is_gt():
    close(product({"name": "cgt1"} | MEMORY, {}, 200), product({"name": "gt"} | STEPS, {}, 200))


def test_uncompressed_lead_is_exact_diffusion():
    W, grad, X = arguments()
    expected = after(ref.exact_diffusion(W, grad, X, 0.05), 100)
    close(product({"name": "lead", "eta": 0.05, "gamma": 1.0, "alpha": 1.0}, {}, 100), expected)


def test_one_local_step_of_led_is_lead():
    close(
        product({"name": "led", "local_steps": 1} | MEMORY, {}, 100),
        product({"name": "lead"} | MEMORY, {}, 100),
    )


@pytest.mark.parametrize("name", ["led", "k_gt"])
def test_local_steps_take_as_many_gradients_and_one_message(name):
    config = build({"name": name, "local_steps": 4} | STEPS, {}, iterations=10)
    last = run(config, engine="simulate").rows[-1]
    one = run(
        build({"name": name, "local_steps": 1} | STEPS, {}, iterations=10), engine="simulate"
    ).rows[-1]
    assert last["gradients"] == 1 + 4 * 10
    assert last["bytes_per_agent"] == one["bytes_per_agent"]


def test_local_steps_of_a_method_that_has_none():
    with pytest.raises(ConfigError, match=r"algorithm\.local_steps"):
        build({"name": "lead", "local_steps": 3}, {})


TWO_BITS = {"name": "quantize", "bits": 2, "dithered": True}
LIVELY = {"name": "cgt1", "eta": 0.004, "gamma": 0.4, "alpha": 0.7}


def test_invariant_after_thousands_of_iterations():
    config = build(LIVELY, TWO_BITS, PL, iterations=5000, record_every=1000)
    rows = run(config, engine="simulate").rows
    assert max(row["invariant"] for row in rows) <= 1e-12


def test_replicas_equal_their_owners():
    team, _ = play(build(LIVELY, TWO_BITS, PL, iterations=5000), together=False)
    owners = {h.agent.index: h for h in team.hosted}
    for hosted in owners.values():
        for member, j in enumerate(hosted.agent.neighbours, start=1):
            for name in ("hx", "hy"):
                replica = getattr(hosted.state, name).h[member]
                np.testing.assert_array_equal(replica, getattr(owners[j].state, name).own)


@pytest.mark.parametrize("name", ["cgt1", "lead"])
def test_sum_agrees_with_replicas(name):
    table = {"name": name} | MEMORY
    expected = product(table, {"name": "norm_sign"}, 50)
    close(product(table | {"memory": "sum"}, {"name": "norm_sign"}, 50), expected)


@pytest.mark.parametrize(
    ("algorithm", "compressor", "taken_by"),
    [
        ("gt", "norm_sign", "cgt1"),
        ("dgd", "top_k", "cgt1"),
        ("cgt1", "uniform", "cgt2"),
        ("cgt1", "one_bit", "cgt3"),
        ("beer", "saturating", "cgt3"),
        ("lead", "uniform", "cgt2"),
        ("choco", "one_bit", "cgt3"),
        ("primal_dual", "saturating", "cgt3"),
        ("cgt2", "norm_sign", "cgt1"),
        ("cgt2", "one_bit", "cgt3"),
        ("cgt3", "top_k", "cgt1"),
    ],
)
def test_forbidden_pairs_name_the_algorithm_that_takes_the_compressor(
    algorithm, compressor, taken_by
):
    table = {"name": compressor} | ({"k": 2} if compressor == "top_k" else {})
    with pytest.raises(ConfigError, match=f'algorithm.name = "{algorithm}".*{taken_by}'):
        build({"name": algorithm}, table)


@pytest.mark.parametrize(("compressor", "C"), RELATIVE, ids=label)
@pytest.mark.parametrize("graph", ["directed_random", "directed_ring", "ring"])
def test_push_pull_follows_the_reference(graph, compressor, C):
    R, grad, X = arguments(graph=graph)
    topology = build({"name": "push_pull"}, {}, graph=graph).problem.topology
    push = topology.push_matrix() if topology.directed else R
    for iterations in (1, 50):
        expected = after(ref.push_pull(R, push, grad, X, C, **MEMORY), iterations)
        close(
            product({"name": "push_pull"} | MEMORY, compressor, iterations, graph=graph), expected
        )


def test_push_pull_on_a_symmetric_graph_is_cgt1():
    quantize = {"name": "quantize", "bits": 4}
    for message in ({}, quantize):
        expected = product({"name": "cgt1"} | MEMORY, message, 50)
        np.testing.assert_array_equal(
            product({"name": "push_pull"} | MEMORY, message, 50), expected
        )


@pytest.mark.parametrize(("compressor", "C"), RELATIVE[:2], ids=label)
def test_rivals_contain_what_they_extend(compressor, C):
    """motef with lam = 1 is beer, cedas with one step is lead, up to rounding."""
    pairs = [
        ({"name": "motef", "lam": 1.0} | STEPS, {"name": "beer"} | STEPS),
        ({"name": "cedas"} | MEMORY, {"name": "lead"} | MEMORY),
    ]
    for rival, known in pairs:
        close(product(rival, compressor, 50), product(known, compressor, 50))
