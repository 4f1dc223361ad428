"""A crowd computes the bits of agents by themselves, and whatever it cannot do is left to them."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from algorithms.test_step_search import Factors, Wall
from hypothesis import given, settings
from hypothesis import strategies as st

from distopt.algorithms import REGISTRY
from distopt.algorithms.cgt1 import CompressedTracking1
from distopt.algorithms.crowd import Crowd, claims
from distopt.algorithms.gt import GradientTracking
from distopt.algorithms.step_rule import ROUND
from distopt.compressors.quantize import Quantize
from distopt.compressors.top_k import TopK
from distopt.config.build import Parts, make_config
from distopt.config.run import RunConfig
from distopt.core.errors import DataError, DivergedError
from distopt.core.randomness import make_key, normal
from distopt.engine.audit import Audit
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.interface import as_topology
from distopt.engine.laws import quadratic
from distopt.engine.team import prepare
from distopt.problems.given import GivenProblem
from distopt.problems.topology import Topology
from distopt.record import checkpoint
from distopt.transport.local import LocalTransport

STEPS = {
    "gt": {"eta": 0.02, "gamma": 0.5},
    "gt-atc": {"eta": 0.02, "gamma": 0.5, "form": "atc"},
    "gt-momentum": {"eta": 0.02, "gamma": 0.5, "beta": 0.3},
    "dgd": {"eta": 0.02, "gamma": 0.5},
    "exact_diffusion": {"eta": 0.02, "beta": 0.3},
    "cgt1": {"eta": 0.01, "gamma": 0.1, "alpha": 1.0},
    "cgt1-slow": {"eta": 0.01, "gamma": 0.1, "alpha": 0.3},
    "beer": {"eta": 0.01, "gamma": 0.1},
    "lead": {"eta": 0.02, "gamma": 0.2, "alpha": 0.5},
    "led": {"eta": 0.01, "gamma": 0.2, "alpha": 1.0, "local_steps": 2},
    "k_gt": {"eta": 0.005, "gamma": 0.1, "alpha": 0.5, "local_steps": 2},
    "choco": {"eta": 0.02, "gamma": 0.1, "decay": 0.25},
    "primal_dual": {"eta": 0.01, "gamma": 0.1, "beta": 0.01, "alpha": 1.0},
    "zed": {"eta": 0.02},
    "zed1": {"eta": 0.02},
}
SEARCHED = {row for row in STEPS if REGISTRY.get(row.split("-")[0]).searches}
UNCOMPRESSED = {"gt", "dgd", "exact_diffusion"}
MESSAGES = (
    {"name": "identity"},
    {"name": "quantize", "bits": 2, "dithered": True},
    {"name": "quantize", "bits": 6, "norm": "two", "block": 5, "scale": "float64"},
    {"name": "quantize", "bits": 2, "entropy": "range"},
    {"name": "top_k", "fraction": 0.3},
    {"name": "rand_k", "fraction": 0.5},
)


def test_table_is_complete():
    told = {name for name in REGISTRY if REGISTRY.get(name).__dict__.get("together")}
    assert told <= {row.split("-")[0] for row in STEPS}


@st.composite
def jobs(draw):
    row = draw(st.sampled_from(sorted(STEPS)))
    name, agents = row.split("-")[0], draw(st.integers(2, 7))
    graph = nx.random_labeled_tree(agents, seed=draw(st.integers(0, 99)))
    pairs = st.tuples(st.integers(0, agents - 1), st.integers(0, agents - 1))
    graph.add_edges_from((i, j) for i, j in draw(st.lists(pairs, max_size=6)) if i != j)
    searched = row in SEARCHED and draw(st.booleans())
    own = {k: v for k, v in STEPS[row].items() if not (searched and k == "eta")}
    tables = {
        "problem": {
            "name": "pl",
            "agents": agents,
            "dimension": draw(st.sampled_from([1, 7, 40, 1500])),
            "basis": "diagonal",
        },
        "algorithm": {"name": name} | own,
        "run": {
            "seed": draw(st.integers(0, 2**40)),
            "checked": draw(st.booleans()),
            "dtype": draw(st.sampled_from(["float64", "float32"])),
        },
    }
    if name not in UNCOMPRESSED and name not in {"zed", "zed1"}:
        tables["compressor"] = draw(st.sampled_from(MESSAGES))
        if draw(st.booleans()):
            tables["algorithm"]["memory_start"] = "x0"
    elif name in UNCOMPRESSED:
        tables["compressor"] = {"name": "identity"}
    config = make_config(tables, ".")
    return replace(config, problem=replace(config.problem, whole=Topology.from_graph(graph)))


def both(parts):
    return [
        prepare(parts, LocalTransport(parts.problem.topology), together=together)
        for together in (True, False)
    ]


def iterate(team, iterations):
    for _ in range(iterations):
        team.iterate()


def assert_same(one, other):
    for a, b in zip(one.hosted, other.hosted, strict=True):
        assert [*a.arrays()] == [*b.arrays()]
        for name, array in a.arrays().items():
            np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)
    assert one.transport.told == other.transport.told
    ours, theirs = (vars(team.transport.traffic) for team in (one, other))
    assert {k: v for k, v in ours.items() if k != "seconds"} == {
        k: v for k, v in theirs.items() if k != "seconds"
    }


@settings(max_examples=60, deadline=None)
@given(jobs())
def test_bits_and_bytes_are_those_of_agents_by_themselves(parts):
    crowd, alone = both(parts)
    assert isinstance(crowd.driven[0].agent, Crowd)
    assert len(alone.driven) == parts.problem.agents
    for _ in range(14 if parts.algorithm.searching else 4):
        crowd.iterate()
        alone.iterate()
    assert_same(crowd, alone)


@pytest.mark.parametrize("row", sorted(SEARCHED))
def test_a_searched_step_is_the_same_where_agents_meet_no_numbers_and_go_back(row, tmp_path):
    """Records, checkpoints and audits too; and either form goes on from the checkpoint of the other."""
    given = {k: v for k, v in STEPS[row].items() if k != "eta"}
    algorithm = REGISTRY.get(row.split("-")[0])(**given)
    costs = {i: Wall(i) for i in range(6)}
    problem = GivenProblem(costs, None, Topology(6, [(i, i + 1) for i in range(5)]))
    parts = Parts(problem, algorithm, algorithm.own_compressor(), RunConfig(seed=5))
    crowd, alone = both(parts)
    steps = set()
    for k in range(150):
        crowd.iterate()
        alone.iterate()
        steps.add(alone.hosted[0].state.steps.eta)
        if k % 10 == 0 or alone.hosted[0].agent.adrift:
            assert_same(crowd, alone)
    assert len(steps) > 5
    row_of = [Diagnostics(team).row() for team in (crowd, alone)]
    for name, value in row_of[0].items():
        if not name.startswith("seconds"):
            assert value == pytest.approx(row_of[1][name], rel=1e-15, nan_ok=True), name
    Audit(crowd).run()
    checkpoint.save(tmp_path, 150, crowd.hosted, {}, crowd.transport, 1, {}, {})
    saved = checkpoint.latest(tmp_path, 6)
    for together in (False, True):
        fresh = LocalTransport(parts.problem.topology)
        again = prepare(parts, fresh, saved, force=True, together=together)
        iterate(again, 30)
        if not together:
            iterate(crowd, 30)
        for a, b in zip(crowd.hosted, again.hosted, strict=True):
            for name, array in a.arrays().items():
                np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


@pytest.mark.parametrize("name", ["zed", "exact_diffusion"])
def test_a_searched_step_is_the_same_where_agents_go_round(name):
    algorithm = REGISTRY.get(name)()
    problem = GivenProblem({i: Factors(i) for i in range(12)}, None, as_topology("ring", 12))
    crowd, alone = both(Parts(problem, algorithm, algorithm.own_compressor(), RunConfig()))
    seen = set()
    for k in range(200):
        crowd.iterate()
        alone.iterate()
        seen |= {h.state.steps.numbers.ahead for h in alone.hosted}
        if k % 25 == 0:
            assert_same(crowd, alone)
    assert_same(crowd, alone)
    assert min(seen) < ROUND
    assert max(h.state.steps.numbers.grown for h in alone.hosted) > 0


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_goes_on_from_a_checkpoint_of_either(tmp_path, before, after):
    tables = {
        "problem": {"name": "pl", "agents": 4, "dimension": 9, "basis": "diagonal"},
        "algorithm": {"name": "cgt1", "eta": 0.01, "gamma": 0.1, "alpha": 0.5},
        "compressor": {"name": "quantize", "bits": 2, "entropy": "range"},
    }
    config = make_config(tables, ".")
    team = prepare(config, LocalTransport(config.problem.topology), together=before)
    for _ in range(3):
        team.iterate()
    checkpoint.save(tmp_path, 3, team.hosted, {}, team.transport, 1, {}, {})
    saved = checkpoint.latest(tmp_path, 4)
    fresh = LocalTransport(config.problem.topology)
    again = prepare(config, fresh, saved, force=True, together=after)
    for _ in range(3):
        team.iterate()
        again.iterate()
    for a, b in zip(team.hosted, again.hosted, strict=True):
        for name, array in a.arrays().items():
            np.testing.assert_array_equal(array, b.arrays()[name], err_msg=name)


def given_parts(costs, algorithm, compressor, **run):
    topology = Topology(len(costs), [(i, i + 1) for i in range(len(costs) - 1)])
    x0 = np.array([normal(make_key(7, i, 0), costs[0].dimension) for i in range(len(costs))])
    problem = GivenProblem(dict(enumerate(costs)), x0, topology)
    return Parts(problem, algorithm, compressor, RunConfig(seed=5, **run))


class Broken:
    """A quadratic whose gradient has another fault from its fourth call on."""

    def __init__(self, i, fault):
        self.cost, self.fault, self.calls = quadratic(i), fault, 0
        self.dimension, self.smoothness = self.cost.dimension, self.cost.smoothness

    def value(self, x):
        return self.cost.value(x)

    def gradient(self, x, out):
        self.cost.gradient(x, out)
        self.calls += 1
        if self.calls > 12:
            self.fault(out)


def nan(out):
    out[3] = np.nan


def refuse(out):
    raise DataError("no more data")


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({1: nan, 2: refuse}, DivergedError),
        ({1: refuse, 2: nan}, DataError),
        ({2: nan, 3: nan}, DivergedError),
    ],
)
def test_the_first_agent_that_fails_is_named_with_its_iteration(faults, error):
    algorithm = CompressedTracking1(eta=0.01, gamma=0.1, alpha=0.5)
    said = []
    for together in (True, False):
        costs = [Broken(i, faults[i]) if i in faults else quadratic(i) for i in range(4)]
        parts = given_parts(costs, algorithm, Quantize(bits=3))
        team = prepare(parts, LocalTransport(parts.problem.topology), together=together)
        with pytest.raises(error) as caught:
            iterate(team, 30)
        said.append((str(caught.value), team.clock.iteration))
    assert said[0] == said[1]
    assert f"Agent {min(faults)}" in said[0][0]


@pytest.mark.parametrize("compressor", [Quantize(bits=3), Quantize(bits=9, norm="two"), TopK(k=2)])
def test_a_vector_that_cannot_be_sent_is_named_alike(compressor):
    said = []
    for together in (True, False):
        parts = given_parts(
            [quadratic(i) for i in range(4)],
            CompressedTracking1(eta=1e80, gamma=0.5, alpha=1.0),
            compressor,
        )
        team = prepare(parts, LocalTransport(parts.problem.topology), together=together)
        with pytest.raises(DivergedError) as caught, np.errstate(all="ignore"):
            iterate(team, 30)
        said.append((str(caught.value), team.clock.iteration))
    assert said[0] == said[1]


class Own(GradientTracking):
    """Its step is its own."""

    def step(self, agent, s, k):
        return super().step(agent, s, k)


class Renamed(GradientTracking):
    """Nothing in it is its own."""


@pytest.mark.parametrize(
    ("algorithm", "compressor"),
    [
        ({"name": "cgt1", "eta": 0.01, "gamma": 0.1, "memory": "sum"}, {"name": "norm_sign"}),
        ({"name": "cgt3", "eta": 0.02, "gamma": 0.3, "mu": 0.98}, {"name": "one_bit"}),
    ],
)
def test_agents_compute_by_themselves_where_a_crowd_cannot(algorithm, compressor):
    problem = {"name": "pl", "agents": 4, "dimension": 9, "basis": "diagonal"}
    config = make_config(
        {"problem": problem, "algorithm": algorithm, "compressor": compressor}, "."
    )
    team = prepare(config, LocalTransport(config.problem.topology))
    assert team.driven is team.hosted
    team.iterate()


def test_a_class_with_methods_of_its_own_does_not_inherit_the_claim():
    assert claims(GradientTracking(eta=0.1, gamma=0.5))
    assert claims(Renamed(eta=0.1, gamma=0.5))
    assert not claims(Own(eta=0.1, gamma=0.5))


@pytest.mark.parametrize("step", [{"eta": 0.01}, {}], ids=["given", "searched"])
def test_batches_are_those_of_agents_by_themselves(step):
    tables = {
        "problem": {"name": "logistic", "dataset": "breast_cancer", "agents": 4},
        "algorithm": {"name": "gt", "gamma": 0.5} | step,
        "compressor": {"name": "identity"},
        "run": {"batch": 5},
    }
    crowd, alone = both(make_config(tables, "."))
    for _ in range(15):
        crowd.iterate()
        alone.iterate()
    assert_same(crowd, alone)


def test_the_clocks_of_a_crowd_show_every_agent_the_mean():
    tables = {
        "problem": {"name": "pl", "agents": 5, "dimension": 9, "basis": "diagonal"},
        "algorithm": {"name": "choco", "eta": 0.01, "gamma": 0.1},
        "compressor": {"name": "top_k", "k": 2},
    }
    crowd, alone = both(make_config(tables, "."))
    for team in (crowd, alone):
        for _ in range(6):
            team.iterate()
    counts = ("gradients", "encodings", "mixings")
    for a, b in zip(crowd.hosted, alone.hosted, strict=True):
        ours, theirs = a.agent.seconds, b.agent.seconds
        assert [getattr(ours, c) for c in counts] == [getattr(theirs, c) for c in counts]
        assert min(ours.gradient, ours.encoding, ours.mixing) > 0
