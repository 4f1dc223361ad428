"""Directed graphs: two stochastic matrices, messages along the edges only, and what is refused."""

import networkx
import numpy as np
import pytest
from problems.test_topology import DIRECTED, HERE, build

import distopt
from distopt.core.errors import ConfigError, DistoptError
from distopt.engine.laws import quadratic
from distopt.problems.directed import DirectedTopology
from distopt.problems.graph_section import build_topology

CASES = [(graph, n) for graph, sizes in DIRECTED.items() for n in sizes]
LOPSIDED = [(0, 1), (1, 2), (2, 0), (0, 2), (2, 3), (3, 0)]


@pytest.mark.parametrize(("graph", "n"), CASES)
def test_rows_of_R_and_columns_of_C_sum_to_one(graph, n):
    topology = build(graph, n)
    R, C = topology.matrix(), topology.push_matrix()
    # W_ii is 1 minus a sum of at most n weights below 1, so a sum is off by n roundings at most.
    assert abs(R.sum(axis=1) - 1).max() <= n * np.finfo(float).eps
    assert abs(C.sum(axis=0) - 1).max() <= n * np.finfo(float).eps
    assert (np.diag(R) > 0).all()
    assert (np.diag(C) > 0).all()
    for i in range(n):
        links = topology.links(i)
        assert links.hears == tuple(j for j in range(n) if j != i and R[i, j])
        assert links.tells == tuple(j for j in range(n) if j != i and R[j, i])
        assert links.weights == tuple(R[i, j] for j in links.hears)
        assert links.pushes == tuple(C[i, j] for j in links.hears)
        given = sum(C[j, i] for j in links.tells)
        assert links.surplus == pytest.approx(sum(links.pushes) - given, abs=1e-15)
    assert (R > 0).tolist() == (C > 0).tolist()


@pytest.mark.parametrize(("graph", "n"), CASES)
def test_gap_and_alignment_are_those_of_powers(graph, n):
    topology = build(graph, n)
    pull = np.linalg.matrix_power(topology.matrix(), 4000)
    push = np.linalg.matrix_power(topology.push_matrix(), 4000)
    assert topology.alignment == pytest.approx(n * pull[0] @ push[:, 0], rel=1e-9)
    assert 0 < topology.gap <= 1


def test_the_gap_of_a_ring_equals_its_closed_form():
    # The eigenvalues of (I + shift) / 2 are (1 + e^(i a)) / 2, of modulus |cos(a / 2)|.
    assert build("directed_ring", 8).gap == pytest.approx(1 - np.cos(np.pi / 8), abs=1e-13)
    assert build("directed_ring", 8).diameter == 7


def test_random_directed_graphs_never_change():
    assert build("directed_random", 4, p=0.4, seed=3).edges == (
        (0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (2, 0), (2, 1), (3, 1), (3, 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 1\n1 2\n", r"e.txt is not strongly connected: no path .* from agent 1 to agent 0"),
        ("0 1\n1 2\n2 1\n", r"not strongly connected: no path .* from agent 1 to agent 0"),
        ("1 0\n1 2\n2 1\n", r"not strongly connected: no path .* from agent 0 to agent 1"),
        ("0 1 0.5\n", r'line 1: "0 1 0.5" is not a directed edge; accepted: the agent that tells'),
        ("0 3\n", r"line 1: .* names agent 3, but problem.agents = 3"),
        ("1 1\n", r"line 1: .* links agent 1 with itself"),
        ("0 1 0.5 0.5\n1 2\n", r"line 2: .* differs from the lines before"),
        ("0 1 0.5 nan\n", r"line 1: .* nan is not a weight"),
        ("0 1 1 0.5\n1 2 0.5 0.5\n2 0 0.5 0.5\n", r"agent 1 hears in its row of R sums to 1; acc"),
        ("0 1 0.5 0.6\n0 2 0.2 0.6\n1 2 0.5 0.5\n2 0 0.5 0.5\n",
         r"agent 0 gives in its column of C sums to 1.2; accepted: less than 1"),
        ("0 1 -0.5 0.5\n1 2 0.5 0.5\n2 0 0.5 0.5\n", r"from agent 0 to agent 1 has the weights -0.5"),
        ("0 1 0.5 0.5\n1 2 0.5 0.5\n2 0 0.5 0.5\n1 1 0.5 0.4\n",
         r"agent 1's column of C sums to 0.9 \(0.4 of itself\); accepted: 1"),
    ],
)  # fmt: skip
def test_wrong_files_are_named(tmp_path, text, sentence):
    (tmp_path / "e.txt").write_text(text)
    with pytest.raises(DistoptError, match=sentence):
        build_topology({"file": "e.txt", "directed": True}, 3, tmp_path)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"graph": "directed_random", "p": 0.01}, r"gave no strongly connected graph of 30 .* raise"),
        ({"graph": "directed_ring", "weights": "metropolis"},
         r'"metropolis" is not acceptable on a directed graph; accepted: "uniform", "own"'),
        ({"graph": "directed_ring", "weights": "own"}, r"needs a graph with two weights on every edge"),
        ({"file": "W.npy", "directed": True}, r"takes no matrix, but topology.file = .*W.npy.*edge file"),
    ],
)  # fmt: skip
def test_wrong_sections_are_refused(section, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_topology(section, 30, HERE)


def test_lost_agents_close_up_or_are_refused():
    whole = DirectedTopology(4, LOPSIDED)
    assert whole.without([3]).edges == ((0, 1), (0, 2), (1, 2), (2, 0))
    with pytest.raises(ConfigError, match=r"problem.lost = \[0\] is not possible .*not strongly"):
        whole.without([0])


@pytest.mark.parametrize("name", ["zed", "zest", "gt", "lead", "cgt1", "dgd"])
def test_methods_with_symmetric_weights_refuse(name):
    with pytest.raises(
        ConfigError, match="needs symmetric weights, but the directed_ring graph is"
    ):
        distopt.make_config(
            {
                "problem": {"name": "pl", "agents": 4, "dimension": 9},
                "topology": {"graph": "directed_ring"},
                "algorithm": {"name": name},
            },
            HERE,
        )


def test_simulate_takes_a_directed_graph_and_counts_copies_along_edges():
    costs = [quadratic(i) for i in range(4)]
    result = distopt.simulate(
        costs, topology=networkx.DiGraph(LOPSIDED), algorithm="push_pull", iterations=400
    )
    assert result.rows[-1]["stationarity"] < 1e-9
    sent = result.rows[-1]["bytes_per_agent"]  # two float64 vectors an iteration
    assert sent == 400 * 2 * 8 * costs[0].dimension
    assert result.rows[-1]["bytes_on_wire"] == sent * len(LOPSIDED)
