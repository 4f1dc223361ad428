from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.problems import distances
from distopt.problems import topology as topology_module
from distopt.problems.graph_section import build_topology, describe_topology
from distopt.problems.topologies import REGISTRY
from distopt.problems.topologies.random import numbers
from distopt.problems.topology import Topology

GRAPHS = {  # a new graph adds one line: sizes that it has
    "ring": [1, 2, 3, 8, 9],
    "path": [1, 2, 3, 8],
    "star": [1, 2, 3, 8],
    "complete": [1, 2, 3, 8],
    "grid": [1, 4, 6, 12],
    "torus": [1, 4, 6, 8, 9, 12],
    "hypercube": [1, 2, 4, 8, 32],
    "erdos_renyi": [1, 2, 3, 8, 20],
    "geometric": [1, 2, 3, 8, 20],
    "exponential": [1, 2, 3, 8, 21],
}
DIRECTED = {
    "directed_ring": [1, 2, 3, 8],
    "directed_exponential": [1, 2, 3, 8, 21],
    "directed_random": [1, 2, 3, 8, 20],
}
CASES = [(graph, n) for graph, sizes in GRAPHS.items() for n in sizes]
HERE = Path()


def build(graph, agents, **keys):
    return build_topology({"graph": graph, **keys}, agents, HERE)


def test_table_is_complete():
    assert {*GRAPHS, *DIRECTED} == set(REGISTRY)


@pytest.mark.parametrize(("graph", "n"), CASES)
def test_matrix_is_symmetric_to_the_bit_and_doubly_stochastic(graph, n):
    topology = build(graph, n)
    W = topology.matrix()
    np.testing.assert_array_equal(W, W.T)
    # W_ii is 1 minus a sum of at most n weights below 1, so a row is off by n roundings at most.
    assert abs(W.sum(axis=1) - 1).max() <= n * np.finfo(float).eps
    assert (W >= 0).all()
    for i in range(n):
        neighbours = topology.neighbours(i)
        assert list(neighbours) == sorted(set(neighbours) - {i})
        assert topology.degree(i) == len(neighbours)
        for j, weight in zip(neighbours, topology.links(i).weights, strict=True):
            assert weight == W[i, j] == 1 / (1 + max(topology.degree(i), topology.degree(j)))
            assert weight == topology.links(j).weights[topology.neighbours(j).index(i)]
    assert np.count_nonzero(W) - np.count_nonzero(np.diag(W)) == 2 * len(topology.edges)


@pytest.mark.parametrize(("graph", "n"), CASES)
def test_spectral_numbers_agree_with_the_norms_that_define_them(graph, n):
    topology = build(graph, n)
    W = topology.matrix()
    assert topology.gap == pytest.approx(1 - np.linalg.norm(W - 1 / n, 2), abs=1e-13)
    assert topology.kappa == pytest.approx(np.linalg.norm(W - np.eye(n), 2), abs=1e-13)
    assert 0 < topology.gap <= 1


@pytest.mark.parametrize(
    ("graph", "n", "gap", "diameter"),
    [
        ("ring", 10, 2 / 3 * (1 - np.cos(2 * np.pi / 10)), 5),
        ("ring", 11, 2 / 3 * (1 - np.cos(2 * np.pi / 11)), 5),
        ("complete", 7, 1.0, 1),
        ("star", 9, 1 / 9, 2),
        ("hypercube", 16, 2 / 5, 4),
        ("torus", 16, 2 / 5, 4),  # 4 x 4 is the hypercube of 16
        ("path", 2, 1.0, 1),
        ("path", 6, 1 / 3 * (2 - 2 * np.cos(np.pi / 6)), 5),
        ("exponential", 8, 2 / 3, 2),
        ("grid", 6, 1 / 4, 3),
    ],
)
def test_gap_and_diameter_equal_closed_forms(graph, n, gap, diameter):
    topology = build(graph, n)
    assert topology.gap == pytest.approx(gap, abs=1e-13)
    assert topology.diameter == diameter


@pytest.mark.parametrize(("graph", "n"), [("ring", 200), ("torus", 144), ("geometric", 60)])
def test_sparse_eigenvalues_equal_dense_ones(graph, n, monkeypatch):
    dense = build(graph, n)
    expected = dense.gap, dense.kappa
    monkeypatch.setattr(topology_module, "DENSE", 10)
    sparse = build(graph, n)
    assert (sparse.gap, sparse.kappa) == pytest.approx(expected, abs=1e-9)


def test_thousands_of_agents_on_a_ring_and_on_an_exponential_graph():
    """Inverting finds the eigenvalues of the one, multiplying those of the other; both are circulant."""
    n, found = 3000, {graph: build(graph, 3000) for graph in ("ring", "exponential")}
    gap = 2 / 3 * (1 - np.cos(2 * np.pi / n))
    assert found["ring"].gap == pytest.approx(gap, rel=1e-6)
    assert found["ring"].kappa == pytest.approx(4 / 3, rel=1e-9)
    offsets = sorted({s % n for b in range(12) for s in (1 << b, -(1 << b))})
    angles = 2 * np.pi * np.outer(np.arange(n), offsets) / n
    values = np.sort((1 + np.cos(angles).sum(axis=1)) / (1 + len(offsets)))
    assert found["exponential"].gap == pytest.approx(1 - max(values[-2], -values[0]), rel=1e-8)
    assert found["exponential"].kappa == pytest.approx(1 - values[0], rel=1e-8)


@pytest.mark.parametrize("n", [2, 3, 65, 130])
def test_distances_are_those_of_networkx(n, monkeypatch):
    """With integers, one search after the other, 64 at a time; long, short and irregular graphs."""
    circle = nx.circulant_graph(n, [1, 5, 20])
    for graph in (nx.path_graph(n), circle, nx.random_labeled_tree(n, seed=n)):
        near = [sorted(graph[i]) for i in range(n)]
        expected = [far for _, far in sorted(nx.eccentricity(graph).items())]
        for searched, long in ((n, 0), (0, 0), (0, n)):
            monkeypatch.setattr(distances, "SEARCHED", searched)
            monkeypatch.setattr(distances, "LONG", long)
            assert distances.eccentricities(near) == expected
        assert distances.diameter_of(near) == max(expected)
        assert distances.centre_of(near) == sorted(nx.center(graph))


def test_random_graphs_never_change():
    # Drawn from the counter-based stream: these edges hold on every host and for ever.
    assert build("erdos_renyi", 6, seed=3).edges == GOLDEN["erdos_renyi"]
    assert build("geometric", 6, seed=3).edges == GOLDEN["geometric"]
    assert build("geometric", 6, seed=4).edges != GOLDEN["geometric"]


GOLDEN = {
    "erdos_renyi": ((0, 1), (0, 2), (0, 3), (0, 5), (1, 4), (1, 5), (2, 4), (2, 5), (3, 4)),
    "geometric": ((0, 1), (0, 3), (0, 5), (1, 2), (1, 3), (1, 4), (2, 4)),
}


def test_geometric_links_exactly_the_near_ones():
    topology = build("geometric", 20, radius=0.4)
    points = numbers(0, 0, 40).reshape(20, 2)  # the first draw is connected
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = {(i, j) for i in range(20) for j in range(i + 1, 20) if apart[i, j] <= 0.4}
    assert set(topology.edges) == near


@pytest.mark.parametrize(
    ("section", "agents", "sentence"),
    [
        ({"graph": "rign"}, 4, r'topology.graph = "rign" is not known; did you mean "ring"\?'),
        (
            {"graph": "ring", "radius": 1},
            4,
            r'topology.radius is not known.*graph = "ring": file, ',
        ),
        ({"graph": "geometric", "radios": 1}, 4, r'topology.radios .*did you mean "radius"\?'),
        ({"graph": "geometric", "radius": 0}, 4, r"topology.radius = 0 .* accepted: a number > 0"),
        ({"graph": "torus"}, 7, r"cannot have 7 agents; .* problem.agents = 6 or 8\. .*\"ring\""),
        ({"graph": "grid"}, 5, r"cannot have 5 agents; .* problem.agents = 4 or 6\. .*\"path\""),
        (
            {"graph": "grid", "rows": 5},
            12,
            r"topology.rows = 5 does not divide .* 1, 2, 3, 4, 6, 12",
        ),
        ({"graph": "hypercube"}, 6, r"cannot have 6 agents; .* problem.agents = 4 and 8"),
        ({"graph": "erdos_renyi", "p": 0.01}, 30, r"no connected graph of 30 .* raise topology.p"),
        ({"graph": "geometric", "radius": 0.01}, 30, r"no connected .* raise topology.radius"),
        ({"graph": "ring", "file": "e.txt"}, 4, r"exclude each other; keep one"),
        ({"graph": 3}, 4, r"topology.graph = 3 is not a string in quotes. Known: complete"),
    ],
)
def test_impossible_sections_are_refused_in_a_sentence(section, agents, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_topology(section, agents, HERE)


def test_sentence_for_every_size_that_has_no_lattice_suggests_sizes_that_have_one():
    for n in (2, 3, 5, 7, 11, 13, 23):
        with pytest.raises(ConfigError, match=r"problem.agents = (\d+)") as caught:
            build("torus", n)
        suggested = str(caught.value).split("problem.agents = ")[1].split(".")[0].split(" or ")
        for size in suggested:
            build("torus", int(size))


def test_one_row_is_allowed_when_asked_for():
    assert build("grid", 5, rows=1).edges == build("path", 5).edges
    assert build("torus", 5, rows=1).edges == build("ring", 5).edges


def test_edge_file(tmp_path):
    (tmp_path / "edges.txt").write_text("# a path\n\n1 0\n 2 1  # the end\n0 1\n")
    topology = build_topology({"file": "edges.txt"}, 3, tmp_path)
    assert topology.edges == ((0, 1), (1, 2))
    assert topology.name == "file"


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("0 1\n1 2 3 4\n", DataError, r'edges.txt, line 2: "1 2 3 4" is not an edge; accepted'),
        ("0 one\n", DataError, r"edges.txt, line 1: .* is not an edge"),
        ("0 -1\n", DataError, r"line 1: .* is not an edge"),
        ("0 1\n2 2\n", DataError, r"line 2: .* links agent 2 with itself"),
        ("0 1\n\n3 4\n", DataError, r"line 3: .* names agent 4, but problem.agents = 4.*0 to 3"),
        ("0 1\n2 3\n", ConfigError, r"has 2 components for 4 agents .* agent 0 to agent 2"),
        ("", ConfigError, r"has 4 components"),
    ],
)
def test_wrong_edge_files_are_named_with_their_line(tmp_path, text, error, sentence):
    (tmp_path / "edges.txt").write_text(text)
    with pytest.raises(error, match=sentence):
        build_topology({"file": "edges.txt"}, 4, tmp_path)


def test_missing_edge_file(tmp_path):
    with pytest.raises(DataError, match=r'topology.file = ".*none.txt" cannot be read: No such'):
        build_topology({"file": "none.txt"}, 4, tmp_path)


def test_custom_edges_are_checked():
    with pytest.raises(ConfigError, match=r"has 2 components .*agent 0 to agent 2"):
        Topology(4, [(0, 1), (2, 3)])
    with pytest.raises(ConfigError, match=r"edge \(0, 4\) is not possible; .* 0 to 3"):
        Topology(4, [(4, 0)])
    with pytest.raises(ConfigError, match="at least one agent"):
        Topology(0, [])


def test_table_of_gaps_in_the_docs_is_what_the_code_gives():
    page = Path(__file__).parents[2] / "docs" / "topologies.md"
    rows = [line for line in page.read_text().splitlines() if line.count("|") == 9]
    cells = [[c.strip(" `") for c in row.split("|")[1:-1]] for row in rows if "---" not in row]
    assert {row[0] for row in cells[1:]} == set(REGISTRY)
    sizes = [int(head.removeprefix("n = ")) for head in cells[0][1:-2]]
    for graph, *gaps, degree, diameter in cells[1:]:
        for n, gap in zip(sizes, gaps, strict=True):
            if gap == "-":
                with pytest.raises(ConfigError):
                    build(graph, n)
            else:
                assert f"{build(graph, n).gap:.4f}" == gap, (graph, n)
        topology = build(graph, 16)
        assert int(degree) == max(map(topology.degree, range(16)))
        assert int(diameter) == topology.diameter


@pytest.mark.parametrize(
    ("rule", "graph", "n", "gap"),
    [
        ("max_degree", "star", 5, 1 - 4 / 5),
        ("fastest", "path", 6, 1 - np.cos(np.pi / 6)),  # every weight is 1/2
        ("fastest", "ring", 8, 1 - (1 - (2 - np.sqrt(2)) * 2 / (6 - np.sqrt(2)))),
        ("fastest", "complete", 4, 1.0),
        ("fastest", "ring", 1, 1.0),
        ("fastest", "star", 9, 2 / 10),  # w = 2 / (1 + n), between the eigenvalues 1 and n
    ],
)
def test_rules_of_weights(rule, graph, n, gap):
    topology = build(graph, n, weights=rule)
    assert topology.gap == pytest.approx(gap, abs=2e-4)
    assert np.array_equal(topology.matrix(), topology.matrix().T)
    assert topology.rule == rule
    table = describe_topology({"graph": graph, "weights": rule}, n, HERE)[1]
    assert build_topology(table, n, HERE).gap == topology.gap


def test_fastest_weights_are_never_slower_than_metropolis():
    for graph in ("grid", "erdos_renyi", "geometric"):
        usual, fastest = build(graph, 12), build(graph, 12, weights="fastest")
        assert fastest.gap > 1.05 * usual.gap


def test_weights_of_an_edge_file(tmp_path):
    text = "0 1 0.25\n2 1 0.5 # heavy\n1 0 0.25\n0 0 0.75\n"
    (tmp_path / "edges.txt").write_text("\ufeff" + text, encoding="utf-8")
    topology, table = describe_topology({"file": "edges.txt"}, 3, tmp_path)
    W = [[0.75, 0.25, 0], [0.25, 0.25, 0.5], [0, 0.5, 0.5]]
    np.testing.assert_array_equal(topology.matrix(), W)
    assert table == {"file": str(tmp_path / "edges.txt"), "weights": "own"}
    assert build_topology(table, 3, HERE).weight(2, 1) == 0.5
    plain = build_topology(table | {"weights": "metropolis"}, 3, HERE)
    assert plain.weight(0, 1) == 1 / 3


def test_weights_of_a_matrix(tmp_path):
    W = np.array([[0.6, 0.4 + 1e-12, 0], [0.4, 0.3, 0.3], [0, 0.3, 0.7]])
    np.save(tmp_path / "W.npy", W)
    topology = build_topology({"file": "W.npy"}, 3, tmp_path)
    np.testing.assert_allclose(topology.matrix(), W, atol=1e-11)
    np.testing.assert_array_equal(topology.matrix(), topology.matrix().T)
    assert topology.edges == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 1 0.3\n1 2\n", r'line 2: "1 2" has no weight, unlike the lines before'),
        ("0 1\n1 2 0.3\n", r'line 2: "1 2 0.3" has a weight, unlike'),
        ("0 1 0.3\n1 0 0.2\n", r'line 2: .* an earlier line gives W_0,1 = 0.3; .* symmetric'),
        ("0 1 half\n", r'line 1: "0 1 half": half is not a weight; accepted: a finite number'),
        ("0 1 nan\n", r"line 1: .* nan is not a weight"),
        ("0 1 0\n", r"line 1: .* the weight 0 links nobody"),
        ("0 1 0.3\n1 2 0.3\n1 1 0.5\n", r"weights of agent 1 sum to 1.1 \(0.5 of itself\); acc"),
        ("0 1 0.7\n1 2 0.9\n", r"do not average: W has the eigenvalue -1\..*agent 1's .* 1\.6"),
        ("0 1 1\n1 2 -1\n", r"do not average: W has the eigenvalue"),
    ],
)  # fmt: skip
def test_wrong_weights_are_named_with_their_line(tmp_path, text, sentence):
    (tmp_path / "edges.txt").write_text(text)
    with pytest.raises(DistoptError, match=sentence):
        build_topology({"file": "edges.txt"}, 3, tmp_path)


ROWS = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("W", "sentence"),
    [
        (np.eye(2), r"has shape \(2, 2\), but problem.agents = 3; accepted: \(3, 3\)"),
        (np.array(["a"]), r"cannot be read: could not convert string"),
        (np.array(ROWS) + np.eye(3)[[1, 0, 2]] * [[0.1], [0], [0]],
         r"W\[0, 1\] = 0.6 is not W\[1, 0\] = 0.5; a mixing matrix is symmetric"),
        (np.array(ROWS) * 1.01, r"row 0 sums to 1.01; accepted: 1"),
        (np.diag([np.nan] * 3), r"W\[0, 0\] = nan is not finite"),
        (np.eye(3), r"has 3 components for 3 agents"),
        (b"\x93NUM", r"cannot be read"),
        (b"", r"cannot be read"),
    ],
)  # fmt: skip
def test_wrong_matrices_are_named(tmp_path, W, sentence):
    path = tmp_path / "W.npy"
    path.write_bytes(W) if isinstance(W, bytes) else np.save(path, W)
    with pytest.raises(DistoptError, match=sentence):
        build_topology({"file": "W.npy"}, 3, tmp_path)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"weights": "metropolitan"}, r'"metropolitan" is not acceptable; did you mean "metropolis"'),
        ({"weights": "own"}, r'topology.weights = "own" needs a graph with weights, and ring has none'),
        ({"weights": 3}, r"topology.weights = 3 is not acceptable; accepted"),
    ],
)  # fmt: skip
def test_unknown_weights_are_refused(section, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_topology(section, 4, HERE)


def test_fastest_weights_have_a_limit():
    with pytest.raises(ConfigError, match='"fastest" takes at most 400 agents, not 401'):
        build("ring", 401, weights="fastest")
