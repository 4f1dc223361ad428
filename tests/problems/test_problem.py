import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from distopt.core.errors import ConfigError, DataError
from distopt.problems.costs.base import Family
from distopt.problems.minimum import MeanCost, reference_minimum
from distopt.problems.problem import Problem, build_problem
from distopt.problems.topology import Topology

EXAMPLE = Path(__file__).parents[2] / "launch" / "experiments" / "mycost.py"


def build(folder=None, topology=None, **keys):
    section = {"name": "quadratic", "agents": 4} | keys
    return build_problem(section, topology or {}, folder or Path())


def test_defaults():
    problem = build()
    assert (problem.name, problem.agents, problem.dimension) == ("quadratic", 4, 20)
    assert problem.topology.name == "ring"
    cost = problem.cost(2)
    np.testing.assert_array_equal(problem.start_point(2, cost), np.zeros(20))
    assert problem.minimum == pytest.approx(reference_minimum(problem)[0], rel=1e-12)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"name": "quadratc"},
            r'problem.name = "quadratc" is not known; did you mean "quadratic"\?',
        ),
        ({"name": 3}, r"problem.name is missing or not a string. Known: .*quadratic"),
        ({"agents": 0}, r"problem.agents = 0 is not acceptable; accepted: a number >= 1"),
        (
            {"agents": "many"},
            r'problem.agents = "many" is not acceptable; accepted: a whole number',
        ),
        ({"seed": -1}, r"problem.seed = -1 is not acceptable"),
        ({"conditoin": 3}, r'problem.conditoin is not known; did you mean "condition"\?'),
        ({"agentss": 3}, r'problem.agentss is not known; did you mean "agents"\?'),
        ({"condition": 0.5}, r"problem.condition = 0.5 is not acceptable; accepted: a number >= 1"),
        (
            {"basis": "x"},
            r"problem.basis = \"x\" is not acceptable; accepted: 'dense' or 'diagonal'",
        ),
        ({"start": "zeroes"}, r'problem.start = "zeroes" .*did you mean "zeros"\?'),
        ({"start": "x.csv"}, r'problem.start = "x.csv" .* or a .npy or .txt file'),
    ],
)
def test_wrong_keys_are_refused_in_a_sentence(keys, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(**keys)


def test_agents_are_required():
    with pytest.raises(ConfigError, match=r"problem.agents is missing; it has no default"):
        build_problem({"name": "pl"}, {}, None)


def test_normal_starts_depend_on_seed_and_agent_only():
    problem = build(start="normal", seed=3)
    cost = problem.cost(0)
    points = np.array([problem.start_point(i, cost) for i in range(4)])
    assert len(np.unique(points)) == points.size
    np.testing.assert_array_equal(points[1], build(start="normal", seed=3).start_point(1, cost))
    assert (build(start="normal", seed=4).start_point(1, cost) != points[1]).all()


def test_a_costs_own_start_is_used_and_copied():
    problem = build(name="pl")
    cost = problem.cost(0)
    point = problem.start_point(0, cost)
    np.testing.assert_array_equal(point, np.ones(20))
    point[:] = 7
    np.testing.assert_array_equal(problem.start_point(0, cost), np.ones(20))


def test_start_from_a_file(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 5))
    np.save(tmp_path / "rows.npy", rows)
    np.savetxt(tmp_path / "one.txt", rows[0])
    each = build(tmp_path, dimension=5, start="rows.npy")
    np.testing.assert_array_equal(each.start_point(2, each.cost(2)), rows[2])
    common = build(tmp_path, dimension=5, start="one.txt")
    np.testing.assert_array_equal(common.start_point(2, common.cost(2)), rows[0])
    wrong = build(tmp_path, dimension=6, start="rows.npy")
    with pytest.raises(DataError, match=r"holds an array of shape \(4, 5\); accepted: \(6,\) for"):
        wrong.start_point(0, wrong.cost(0))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.txt", None, r'problem.start = ".*none.txt" cannot be read: No such file'),
        ("none.npy", None, r'problem.start = ".*none.npy" cannot be read: No such file'),
        ("a.txt", "1\nx\n", r"cannot be read: could not convert string 'x'"),
        ("a.txt", "1\nnan\n", r"holds numbers that are not finite"),
        ("a.npy", "text", r"cannot be read"),
    ],
)
def test_wrong_start_files(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence):
        build(tmp_path, start=name)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"name": "pl", "basis": "diagonal", "seed": 2**63},
        {"name": "logistic", "positive": [1.0], "split": "iid"},
        {"name": "logistic", "bias": False},
        {"name": "python", "file": str(EXAMPLE), "options": {"samples": 9}},
    ],
)
def test_tables_survive_toml_and_give_the_same_problem(keys, tmp_path):
    problem = build(topology={"graph": "erdos_renyi", "p": 0.9}, **keys)
    text = tomli_w.dumps({"problem": problem.table(), "topology": problem.topology_table})
    tables = tomllib.loads(text)
    again = build_problem(tables["problem"], tables["topology"], tmp_path)
    assert again.table() == problem.table()
    assert again.topology_table == problem.topology_table != {}
    assert again.topology.edges == problem.topology.edges
    x = np.linspace(-1, 1, problem.dimension)
    assert again.cost(1).value(x) == problem.cost(1).value(x)


def test_files_are_found_beside_the_configuration_then_here(tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savetxt("x.txt", np.zeros(20))
    here = build(tmp_path / "beside", start="x.txt")
    assert here.start == str(tmp_path / "x.txt")
    np.savetxt("beside/x.txt", np.ones(20))
    assert build(tmp_path / "beside", start="x.txt").start == str(tmp_path / "beside" / "x.txt")


def test_only_the_asked_cost_is_built():
    built = []

    class Watched:
        dimension = 2

        def __init__(self, i):
            built.append(i)

    class Lazy(Family):
        def cost(self, agent, agents, seed):
            return Watched(agent)

        def dimension_for(self, agents, seed):
            return 2

    Problem(Lazy(), Topology(3, [(0, 1), (1, 2)]), {}).cost(2)
    assert built == [2]


@pytest.mark.parametrize("keys", [{"name": "pl"}, {"name": "pl", "start": "normal"}])
def test_reference_minimum_finds_the_known_one(keys):
    value, point = reference_minimum(build(**keys))
    assert abs(value) < 1e-15
    assert np.linalg.norm(point) < 1e-7


def test_reference_minimum_of_real_data_is_stationary():
    problem = build(name="logistic", lam=0.05)
    value, point = reference_minimum(problem)
    mean = MeanCost([problem.cost(i) for i in range(4)])
    assert mean.value(point) == value < mean.value(np.zeros(31))
    assert np.linalg.norm(mean.slope(point)) < 1e-7
