"""zest: the listing in plain numpy, its theorem, what travels, what is refused."""

import numpy as np
import pytest
from algorithms.test_reference import PL, arguments, build, product
from algorithms.zest_reference import listing
from run_table import play

import distopt
from distopt.core.errors import ConfigError
from distopt.engine.audit import Audit
from distopt.engine.laws import quadratic
from distopt.engine.run import run
from distopt.problems.costs.quadratic import QuadraticCost
from distopt.transport.base import SharedError

HARD = PL | {"condition": 6.0, "dimension": 30}


def trajectory(problem, graph, iterations, **options):
    """Return x after the iterations, of the listing."""
    whole = build({"name": "zest"} | options, {}, problem, graph).problem
    costs = [whole.cost(i) for i in range(whole.agents)]
    _, grad, X = arguments(problem, graph)
    eta = 1 / np.mean([cost.smoothness for cost in costs])
    tree = whole.topology.lean_tree
    hvp = costs[tree.parents.index(-1)].hvp
    start = X[tree.parents.index(-1)]
    return listing(tree.parents, tree.depths, grad, start, eta, iterations, hvp, **options)


@pytest.mark.parametrize("graph", ["ring", "star", "path"])
@pytest.mark.parametrize("options", [{}, {"form": "gradient"}, {"hessian": "own"}])
def test_product_follows_the_listing(graph, options):
    for iterations in (1, 2, 50):
        expected = trajectory(HARD, graph, iterations, **options)
        found = product({"name": "zest"} | options, {}, iterations, problem=HARD, graph=graph)
        assert all(x.tobytes() == found[0].tobytes() for x in found)  # one x
        # Codes are whole numbers: until rounding moves one, both are the same but for last bits.
        assert np.abs(found[0] - expected).max() <= 1e-8


def scattered(d, n, largest, spread=0.8):
    """Quadratics in one basis; curvatures of about 1 to `largest` that differ by up to `spread`."""
    rng = np.random.default_rng(3)
    U, _ = np.linalg.qr(rng.normal(size=(d, d)))
    a = rng.uniform(-spread, spread, (n, d))
    a -= a.mean(axis=0)
    curvatures = np.geomspace(1, largest, d) * (1 + a)
    return [QuadraticCost((U * h) @ U.T, rng.normal(size=d)) for h in curvatures]


@pytest.mark.parametrize("graph", ["ring", "path", "star"])
def test_the_theorem_holds(graph):
    """Without curvature mu, V+ <= V - (eta/2)(1 - delta) N - rho c |G|^2; with it V falls linearly."""
    costs = scattered(12, 6, 8.0)
    mean = sum(cost.A for cost in costs) / len(costs)
    mu, L = np.linalg.eigvalsh(mean)[0], np.mean([cost.smoothness for cost in costs])
    right = sum(cost.times(cost.b) for cost in costs) / len(costs)
    best = np.linalg.solve(mean, right)
    least = np.mean([cost.value(best) for cost in costs])
    result = distopt.simulate(
        costs,
        np.full(12, 3.0),
        algorithm=distopt.Zest(form="gradient"),
        topology=graph,
        iterations=60,
        record_every=1,
    )
    eta, delta = 0.5 / L, 0.2
    assert result.summary["certified"]
    assert result.summary["parameters"]["eta"] == pytest.approx(eta)
    theta = 1 - delta - L * eta * (1 + delta) ** 2
    rate = max(1 - eta * mu * (1 - delta), delta**2 / theta)
    V = np.array([row["lyapunov"] for row in result.rows])
    # f* is unknown to the run, which takes the lower bound 0: the gap shrinks to f* instead of 0.
    exact = V[1:] - least
    assert (exact[1:] <= rate * exact[:-1] + 1e-9 * exact[0]).all()
    assert rate < 1
    N = np.array([row["gradient_norm"] ** 2 for row in result.rows])[1:]
    fall = eta / 2 * (1 - delta) * N
    assert (V[2:] <= V[1:-1] - fall[:-1] + 1e-9 * V[0]).all()


def test_a_step_that_is_too_long_is_not_certified():
    costs = [quadratic(i) for i in range(4)]
    result = distopt.simulate(costs, algorithm=distopt.Zest(form="gradient", eta=0.3), iterations=3)
    assert not result.summary["certified"]
    assert result.summary["lyapunov"] > 0


@pytest.mark.parametrize(
    ("graph", "inner", "height"), [("path", 8, 5), ("star", 1, 1), ("ring", 8, 5)]
)
def test_messages_go_to_whom_they_are_meant_for(graph, inner, height):
    team, result = play(build({"name": "zest"}, {}, PL | {"start": "zeros"}, graph, iterations=7))
    tree = team.parts.problem.topology.lean_tree
    assert (tree.inner, tree.height) == (inner, height)
    # 9 messages up the tree and 9 down; a broadcast to several children is counted once.
    assert result.summary["messages_per_agent"] == 7 * 18 / 10
    down = {h.state.down.numbers[2] for h in team.hosted}
    assert down == {7}
    assert result.summary["bytes_on_wire"] >= 10 * result.summary["bytes_per_agent"]


def test_different_starts_become_that_of_the_root():
    problem = PL | {"start": "normal"}
    team, result = play(build({"name": "zest"}, {}, problem, "star", iterations=0))
    whole = team.parts.problem
    start = whole.start_point(0, whole.cost(0))
    assert all((h.state.x == start).all() for h in team.hosted)
    assert result.summary["bytes_on_wire"] == 9 * 8 * PL["dimension"]


def test_a_damaged_sum_is_named_by_the_audit():
    team, _ = play(build({"name": "zest"}, {}, PL, "star", iterations=3))
    team.hosted[4].state.sums.own.S[2] += 1e-9
    with pytest.raises(SharedError, match=r"Agents 0 and 4 no longer agree.*sum of the gradients"):
        Audit(team).run()


@pytest.mark.parametrize(
    ("algorithm", "compressor", "run_table", "sentence"),
    [
        (
            {},
            {"name": "saturating", "bits": 4},
            {},
            "needs a compressor with an absolute guarantee",
        ),
        ({}, {"name": "zoom"}, {}, "needs a compressor with an absolute guarantee"),
        ({"form": "gradient", "hessian": "own"}, {}, {}, 'accepted there: "pairs"'),
        ({}, {"name": "uniform", "inset": 0.1, "dithered": True}, {}, "accepted there: 0"),
    ],
)
def test_refusals(algorithm, compressor, run_table, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build({"name": "zest"} | algorithm, compressor, **run_table)


def test_refusals_by_the_cost():
    class Plain:
        dimension, smoothness = 2, 1.0

        def value(self, x):
            return 0.5 * float(x @ x)

        def gradient(self, x, out):
            out[:] = x

    with pytest.raises(ConfigError, match=r"needs a cost with a method hvp.*accepted here"):
        distopt.simulate([Plain(), Plain()], algorithm=distopt.Zest(hessian="own"))
    config = build(
        {"name": "zest"}, {}, {"name": "logistic", "dataset": "digits", "agents": 4}, batch=5
    )
    with pytest.raises(ConfigError, match='accepted with mini-batches: "gradient"'):
        run(config, engine="simulate")
