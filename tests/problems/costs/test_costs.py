"""Laws that all costs obey, on every family; what is special to one is tested beside this."""

import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from distopt.problems.costs import REGISTRY
from distopt.problems.costs.laws import check_cost
from distopt.problems.problem import build_problem

AGENTS = 3
EXAMPLE = Path(__file__).parents[3] / "launch" / "experiments" / "mycost.py"

FAMILIES = {  # a new family adds one line
    "pl": {"name": "pl", "dimension": 7, "condition": 3.0},
    "pl-diagonal": {"name": "pl", "dimension": 2000, "basis": "diagonal"},
    "pl-1": {"name": "pl", "dimension": 1},
    "quadratic": {"name": "quadratic", "dimension": 7},
    "quadratic-diagonal": {"name": "quadratic", "dimension": 300, "basis": "diagonal"},
    "breast_cancer": {"name": "logistic", "lam": 0.05},
    "digits": {"name": "logistic", "dataset": "digits", "split": "dirichlet", "alpha": 10.0},
    "synthetic": {"name": "logistic", "dataset": "synthetic", "features": 5, "samples": 4},
    "libsvm-sparse": {"name": "logistic", "dataset": "sparse.svm"},
    "lista": {"name": "lista", "m": 6, "n": 3, "layers": 3, "samples": 8},
    "admm_csnet": {"name": "admm_csnet", "m": 6, "n": 3, "layers": 3, "samples": 8},
    "ffnn": {"name": "ffnn", "m": 6, "n": 3, "layers": 3, "samples": 8},
    "python": {"name": "python", "file": str(EXAMPLE)},
    "diagonal": {"name": "diagonal", "dimension": 7},
    "himmelblau": {"name": "himmelblau"},
    "integer_logistic": {"name": "integer_logistic"},
    "integer_network": {"name": "integer_network", "hidden": (5, 4, 3), "images": 30},
    "rosenbrock": {"name": "rosenbrock"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = [
        f"{label} " + " ".join(f"{k}:{rng.normal():.6f}" for k in np.sort(columns) + 1)
        for label in (0, 1)
        for columns in (rng.choice(60, 3, replace=False) for _ in range(9))
    ]
    (folder / "sparse.svm").write_text("\n".join(lines))
    return folder


def problem_of(row, folder, **keys):
    return build_problem({"agents": AGENTS} | FAMILIES[row] | keys, {}, folder)


def test_table_is_complete():
    assert {row["name"] for row in FAMILIES.values()} == set(REGISTRY)


@pytest.mark.parametrize("row", FAMILIES)
def test_costs_keep_the_laws(row, folder):
    problem = problem_of(row, folder)
    for i in range(AGENTS):
        cost = problem.cost(i)
        assert cost.dimension == problem.dimension
        check_cost(cost, points=3, seed=i)


@pytest.mark.parametrize("row", FAMILIES)
def test_far_points_stay_finite(row, folder):
    cost = problem_of(row, folder).cost(0)
    check_cost(cost, points=2, scale=100.0)


@pytest.mark.parametrize("row", FAMILIES)
def test_costs_are_a_function_of_seed_and_agent(row, folder):
    problem = problem_of(row, folder, seed=5)
    x = np.linspace(-1, 1.1, problem.dimension)
    values = [[problem.cost(i).value(x) for i in order] for order in ((0, 1, 2), (2, 1, 0))]
    assert values[0] == values[1][::-1]
    assert len(set(values[0])) == AGENTS


class Spoilt:
    """A correct cost with one thing wrong."""

    dimension = 3

    def value(self, x):
        return float(np.sin(x).sum())

    def gradient(self, x, out):
        np.cos(x, out=out)


def test_spoilt_is_correct_before_it_is_spoilt():
    check_cost(Spoilt())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"gradient": lambda self, x, out: np.cos(1.001 * x, out=out)},
            "central differences of value",
        ),
        ({"gradient": lambda self, x, out: np.add(out, np.cos(x), out=out)}, "not finite"),
        ({"gradient": lambda self, x, out: out.__setitem__(0, 1.0)}, "unwritten or not finite"),
        ({"value": lambda self, x: np.sin(x).sum(keepdims=True)}, "value returned a ndarray"),
        ({"value": lambda self, x: float(np.sin(np.add(x, 1, out=x)).sum())}, "changed x"),
        ({"smoothness": 0.1}, r"smoothness = 0.1, but the gradient changed"),
        ({"lower_bound": 2.9}, "is below lower_bound 2.9"),
        ({"hvp": lambda self, x, v, out: np.multiply(np.cos(x), v, out=out)}, "hvp is off"),
        ({"dimension": 0}, "dimension = 0"),
        ({"dimension": 3.0}, "dimension is a float"),
        ({"start": np.zeros(2)}, r"start has shape \(2,\)"),
    ],
)
def test_laws_find_what_is_wrong(wrong, sentence):
    cost = type("Wrong", (Spoilt,), wrong)()
    with pytest.raises(AssertionError, match=sentence):
        check_cost(cost)


def test_example_file_stands_alone():
    make_cost = runpy.run_path(str(EXAMPLE))["make_cost"]
    check_cost(make_cost(0, 4))


def test_docs_show_the_example_file_as_it_is():
    page = EXAMPLE.parents[2] / "docs" / "costs.md"
    assert f"```python\n{EXAMPLE.read_text()}```" in page.read_text()


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "pl", "dimension": 500},
        {"name": "pl", "dimension": 100_000, "basis": "diagonal"},
        {"name": "quadratic", "dimension": 500},
        {"name": "quadratic", "dimension": 100_000, "basis": "diagonal"},
        {"name": "logistic", "dataset": "synthetic", "features": 5000, "samples": 20},
    ],
)
def test_evaluations_allocate_nothing_that_grows(keys):
    cost = build_problem(keys | {"agents": 1}, {}, Path()).cost(0)
    x, out = np.ones(cost.dimension), np.empty(cost.dimension)
    for _ in range(2):  # the first call compiles
        cost.value(x)
        cost.gradient(x, out)
    tracemalloc.start()
    try:
        cost.value(x)
        cost.gradient(x, out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2000  # a vector of the smallest of these has 4000 bytes
