"""Graphs of which some edges are down: the weights of every iteration, what comes late, what it costs."""

from pathlib import Path

import numpy as np
import pytest
from algorithms import reference as ref
from algorithms.test_reference import arguments, build, close
from run_table import assert_equal_states, configure, play, states

from distopt.core.errors import ConfigError, DistoptError, MessageError
from distopt.engine.run import resume, run
from distopt.problems.changing import PREFIX, WINDOW, DrawnTopology
from distopt.problems.graph_section import describe_topology
from distopt.problems.topology import Topology
from distopt.transport.base import SharedError
from distopt.transport.local import LocalTransport

UP = ["topology.up=0.5", "topology.up_seed=3"]
SCHEDULE = Path(__file__).with_name("schedule.txt")  # of the ring of 4 with both chords
CHANGES = {
    "edges": UP,
    "sleepers": ["topology.asleep=0.4", "topology.up_seed=3"],
    "both": [*UP, "topology.asleep=0.2"],
    "schedule": [f"topology.schedule={SCHEDULE}"],
}
ROWS = [("gt", "identity"), ("exact_diffusion", "identity"), ("lead", "quantize"),
        ("cgt1", "quantize-range"), ("zed", "zoom"), ("zed1", "zoom_sign")]  # fmt: skip


def unreliable(algorithm, message, graph="complete", changes="edges", **run):
    more = ["algorithm.memory=replicas"] if algorithm == "zed1" else []
    return configure(algorithm, message, graph=graph, **run).with_settings(CHANGES[changes] + more)


def matrices(topology, k):
    """W of iteration k, and which agents have an edge in it."""
    n = topology.agents
    W = np.zeros((n, n))
    for i in range(n):
        links = topology.at(k).links(i)
        W[i, list(links.hears)] = links.weights
    np.testing.assert_array_equal(W, W.T)
    awake = W.any(axis=1)
    np.fill_diagonal(W, 1 - W.sum(axis=1))
    return W, awake[:, None]


def test_edges_are_up_as_often_as_asked_and_once_in_a_window():
    topology = DrawnTopology(Topology(12, [(i, (i + 1) % 12) for i in range(12)]), 0.3, seed=1)
    up = np.array(
        [[i in topology.at(k).links((i + 1) % 12).hears for i in range(12)] for k in range(2000)]
    )
    # Of 24000 draws, with one in WINDOW of those that are down put up: within 5 standard deviations.
    wanted = 0.3 + 0.7 / WINDOW
    assert abs(up.mean() - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / up.size)
    gaps = [np.diff(np.flatnonzero(column)).max() for column in up.T]
    assert max(gaps) <= WINDOW
    again = DrawnTopology(topology.whole, 0.3, seed=1)
    assert [again.at(k).links(0) for k in (1999, 0)] == [topology.at(k).links(0) for k in (1999, 0)]
    assert topology.missed(0, 1, WINDOW + 40) == [
        k for k in topology.missed(0, 1, WINDOW + 40) if topology.at(k).links(0).hears
    ]


def test_who_sleeps_has_no_edge_but_those_of_the_window():
    n, p = 8, 0.3
    edges = [(i, j) for i in range(n) for j in range(i)]
    topology = DrawnTopology(Topology(n, edges), asleep=p, seed=2)
    forced, awake = 0, []
    for k in range(2000):
        up = topology.up_at(k)
        ends = np.array(topology.edges)[up & ((k + np.arange(up.size)) % WINDOW > 0)]
        some = np.unique(ends)
        # All pairs of those who are awake are linked, but for the one edge that may be up anyway.
        assert len(ends) + 1 >= some.size * (some.size - 1) // 2
        awake.append(some.size)
        forced += up.sum() - len(ends)
    # A single one who is awake has no edge: n (1-p) less P(only one) of one.
    wanted = n * (1 - p) - n * (1 - p) * p ** (n - 1)
    assert abs(np.mean(awake) - wanted) < 5 * np.sqrt(n * p * (1 - p) / 2000)
    assert forced == sum((k + e) % WINDOW == 0 for k in range(2000) for e in range(len(edges)))


def test_a_schedule_is_followed_over_and_over():
    topology = unreliable("gt", "identity", changes="schedule").problem.topology
    lines = [line.split() for line in SCHEDULE.read_text().splitlines() if line[0] != "#"]
    wanted = {(int(k), *sorted((int(i), int(j)))) for k, i, j in lines}
    period = 1 + max(k for k, _, _ in wanted)
    for k in range(3 * period):
        up = {
            (i, j)
            for i in range(4)
            for j in topology.at(k).links(i).hears
            if i < j
        }  # fmt: skip
        assert up == {(i, j) for when, i, j in wanted if when == k % period}
    waits = [
        max(np.diff([*ks, ks[0] + period]))
        for edge in topology.edges
        if (ks := sorted(k for k, *pair in wanted if tuple(pair) == edge))
    ]
    assert topology.window == max(waits) == period  # of the edge that is up once


def gt(weights, grad, X, eta, gamma):
    G = grad(X)
    Y = G.copy()
    for W, awake in weights:
        A = W - np.eye(len(W))
        X = np.where(awake, X + gamma * A @ X - eta * Y, X)
        new = grad(X)
        Y, G = np.where(awake, Y + gamma * A @ Y + new - G, Y), new
    return X


def lead(weights, grad, X, C, eta, gamma, alpha):
    """A memory has one value: who hears it again has taken in all that it missed."""
    D, H = np.zeros_like(X), np.zeros_like(X)
    for W, awake in weights:
        B, G = np.eye(len(W)) - W, grad(X)
        Q = np.where(awake, C(X - eta * (G + D) - H), 0.0)
        D = D + gamma / (2 * eta) * B @ (H + Q)
        H = H + alpha * Q
        X = np.where(awake, X - eta * (G + D), X)
    return X


@pytest.mark.parametrize(
    ("graph", "changes", "iterations"),
    [("ring", "edges", 1), ("ring", "edges", 50), ("complete", "edges", 50), ("ring", "sleepers", 50),
     ("complete", "both", 50), ("path", "schedule", 50)],
)  # fmt: skip
def test_the_product_follows_the_matrix_of_every_iteration(graph, changes, iterations, tmp_path):
    _, grad, X = arguments(graph=graph)

    def product(table, compressor):
        config = build(table, compressor, graph=graph, iterations=iterations)
        file = tmp_path / "turns.txt"  # on a path of 6: two edges in turn, none, or all
        file.write_text("".join(f"{k} {i} {i + 1}\n" for i in range(5) for k in (i % 3, 4)))
        settings = CHANGES[changes] if changes != "schedule" else [f"topology.schedule={file}"]
        config = config.with_settings(settings)
        weights = [matrices(config.problem.topology, k) for k in range(iterations)]
        return np.array(run(config, engine="simulate").x), weights

    found, weights = product({"name": "gt", "eta": 0.01, "gamma": 0.3}, {})
    close(found, gt(weights, grad, X, 0.01, 0.3))
    memory = {"eta": 0.01, "gamma": 0.3, "alpha": 0.05}
    found, weights = product({"name": "lead"} | memory, {"name": "quantize", "bits": 5})
    close(found, lead(weights, grad, X, ref.quantize(5), **memory))


CHANGING_ROWS = [(*row, "edges") for row in ROWS] + [
    ("lead", "quantize", "schedule"), ("zed", "zoom", "sleepers")
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "message", "changes"), CHANGING_ROWS)
def test_copies_agree_wherever_an_edge_is_up(algorithm, message, changes):
    """The audit compares memories and coder states; it runs with the records, and what is up converges."""
    config = unreliable(algorithm, message, changes=changes, iterations=400, record_every=50)
    team, result = play(config)
    assert result.rows[-1]["stationarity"] < 0.2 * result.rows[0]["stationarity"]
    ends = [h.agent.links for h in team.hosted]
    for h in team.hosted:
        for _, memory in team.parts.algorithm.view(h.state).memories.values():
            for m, j in enumerate(h.agent.neighbours, start=1):
                other = dict(team.parts.algorithm.view(team.hosted[j].state).memories)
                if j in ends[h.agent.index].hears:
                    assert memory.h[m].tobytes() in {o.own.tobytes() for _, o in other.values()}


@pytest.mark.parametrize(("algorithm", "message", "changes"), CHANGING_ROWS)
def test_resume_equals_no_restart(algorithm, message, changes, tmp_path):
    settings = {"checkpoint_every": 20, "record_every": 20, "changes": changes}
    config = unreliable(algorithm, message, iterations=40, **settings)
    run(config, engine="simulate", out=tmp_path / "a")
    found = resume(tmp_path / "a", iterations=73, engine="simulate")
    wanted = run(unreliable(algorithm, message, iterations=73, **settings), engine="simulate")
    np.testing.assert_array_equal(found.x, wanted.x)
    assert found.summary["bytes_on_wire"] == wanted.summary["bytes_on_wire"]


def test_bytes_are_those_of_the_edges_that_are_up():
    config = unreliable("gt", "identity", iterations=50)
    _, result = play(config)
    topology, message = config.problem.topology, 2 * 8 * config.problem.dimension
    links = [topology.at(k).links(i) for k in range(50) for i in range(4)]
    assert result.summary["bytes_on_wire"] == message * sum(len(x.tells) for x in links)
    awake = sum(bool(x.tells) for x in links)
    assert result.summary["bytes_per_agent"] == message * awake / 4


def test_every_message_arrives_once_with_its_size_if_late():
    config = unreliable("lead", "quantize", iterations=60)
    team, result = play(config)
    topology = config.problem.topology
    nbytes = (
        result.summary["bytes_per_agent"]
        * 4
        / sum(bool(topology.at(k).links(i).hears) for k in range(60) for i in range(4))
    )  # all messages of this compressor are equally long
    arrived = 0
    for k in range(60):
        for i in range(4):
            for j in topology.at(k).links(i).tells:
                late = len(topology.missed(i, j, k))
                arrived += nbytes * (1 + late) + PREFIX * late
    assert team.transport.traffic.nbytes_on_wire == arrived


def test_a_wrong_size_is_named():
    config = unreliable("lead", "quantize", iterations=30)

    class Garbling(LocalTransport):
        travels = True

        def deliver(self, letters):
            received = super().deliver(letters)
            for i, messages in enumerate(received):
                for m, message in enumerate(messages):
                    if message.size > 40:  # more than one
                        changed = message.copy()
                        changed[1] = 0xFF
                        received[i] = [*messages[:m], changed, *messages[m + 1 :]]
            return received

    with pytest.raises(MessageError, match=r"what it missed at iteration \d+ needs \d+ bytes of"):
        play(config, Garbling(config.problem.topology))


@pytest.mark.parametrize("changes", ["edges", "schedule"])
@pytest.mark.parametrize(("algorithm", "message"), ROWS)
def test_steps_of_auto_arrive(algorithm, message, changes):
    """They are half the first of a search on a graph whose gap is smaller by the share of up edges."""
    given = unreliable(
        algorithm, message, changes=changes, iterations=2500, stop={"stationarity": 1e-6}
    )
    job, result = play(given.with_settings(["algorithm.eta=auto"]))
    assert result.summary["stationarity"] <= 1e-6
    facts, eta = job.known.facts, job.parts.algorithm.eta
    assert job.parts.problem.topology.share == facts.share < 1
    assert eta == pytest.approx(
        job.parts.algorithm.balance(facts.gap * facts.share).first_eta(facts.curvature) / 2,
        rel=1e-11,
    )


def test_the_share_is_counted():
    ring = Topology(6, [(i, (i + 1) % 6) for i in range(6)])
    drawn = DrawnTopology(ring, 0.4, asleep=0.3, seed=1)
    up = np.array([drawn.up_at(k) for k in range(3200)])
    assert abs(up.mean() - drawn.share) < 0.02


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["algorithm.name=zest"], r'"zest" needs all its edges .* topology.up = 0.5; accepted: .*cgt1'),
        (["algorithm.name=zest", "topology.asleep=0.2"], r"topology.up = 0.5 and topology.asleep = 0.2"),
        (["algorithm.name=zed", "algorithm.eta=0.1", "algorithm.memory=sum"], r"sum for all weights"),
        (["topology.up=0"], r"topology.up = 0 is not acceptable; accepted: a number > 0 and <= 1"),
        (["topology.up=true"], r"topology.up = true is not acceptable"),
        (["topology.asleep=1"], r"topology.asleep = 1 is not acceptable; accepted: a number >= 0 and < 1"),
        (["topology.asleep=true"], r"topology.asleep = true is not acceptable"),
        ([f"topology.schedule={SCHEDULE}"], r"topology.schedule = .* exclude each other; keep the"),
        (["topology.up_seed=-1"], r"topology.up_seed = -1 is not acceptable; accepted: a whole"),
        (["topology.graph=directed_ring", "algorithm.name=push_pull"], r"changing graphs are undirected"),
    ],
)  # fmt: skip
def test_what_cannot_change_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build({"name": "gt", "eta": 0.1}, {}).with_settings([*UP, *settings])


def scheduled(text, tmp_path, agents=3, **more):
    (tmp_path / "contacts.txt").write_text(text)
    return describe_topology({"schedule": "contacts.txt"} | more, agents, tmp_path)


def test_the_graph_of_a_schedule_is_that_of_its_edges(tmp_path):
    text = "# who, when\n0 0 1  # a comment\n\n3 2 1\n0 1 0\n"
    topology, table = scheduled(text, tmp_path)
    assert topology.edges == ((0, 1), (1, 2))
    assert topology.table.tolist() == [[True, False], [False, False], [False, False], [False, True]]
    assert table == {"schedule": str(tmp_path / "contacts.txt")}
    assert topology.whole.rule == "metropolis"
    again, _ = scheduled(text, tmp_path, graph="path")
    assert (again.edges, again.described()) == (topology.edges, topology.described())
    assert topology.without([2]).table.tolist() == [[True], [False], [False], [False]]


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("0 1\n", {}, r'contacts.txt, line 1: "0 1" is no edge of an iteration; accepted: .*"4 0 3"'),
        ("0 0 1\n1 1 -2\n", {}, r'line 2: "1 1 -2" is no edge of an iteration'),
        ("0 0 3\n", {}, r"names agent 3, but problem.agents = 3; accepted: 0 to 2"),
        ("0 1 1\n", {}, r"links agent 1 with itself"),
        ("100000 0 1\n", {}, r"is about iteration 100000; accepted: 0 to 99999"),
        ("# nothing\n", {}, r"contacts.txt lists no edge; accepted: lines such as"),
        ("0 0 1\n", {}, r"contacts.txt has 2 components for 3 agents"),
        ("0 0 1\n4 0 2\n0 1 2\n", {"graph": "path"}, r"the edge \(0, 2\) up in iteration 4, but the path"),
        ("0 0 1\n", {"graph": "path"}, r"never has the edge \(1, 2\) of the path graph up; accepted"),
        ("0 0 1\n0 1 2\n", {"up_seed": 1}, r"topology.up_seed = 1 and topology.schedule = .* exclude each"),
        ("0 0 1\n0 1 2\n", {"rows": 1}, r"topology.rows is not known. Accepted with topology.schedule"),
        ("0 0 1\n0 1 2\n", {"weights": "own"}, r'"own" needs a graph with weights'),
        ("0 0 1\n0 1 2\n", {"schedule": 3}, r"topology.schedule = 3 is not acceptable"),
        ("0 0 1\n0 1 2\n", {"schedule": 3, "graph": "path"}, r"accepted: the name of a file in quotes"),
        ("0 0 1\n0 1 2\n", {"schedule": "x.txt"}, r"topology.schedule = .*x.txt\" cannot be read: No such"),
    ],
)  # fmt: skip
def test_bad_schedules_are_refused(text, more, sentence, tmp_path):
    with pytest.raises(DistoptError, match=sentence):
        scheduled(text, tmp_path, **more)


def test_a_seed_alone_says_nothing():
    with pytest.raises(
        ConfigError, match=r"topology.up_seed = 1 says nothing alone; add topology.up or"
    ):
        describe_topology({"up_seed": 1}, 3, Path())


def test_checked_messages_are_refused():
    with pytest.raises(
        SharedError, match=r"run.checked = true cannot be combined with topology.up"
    ):
        play(unreliable("gt", "identity", checked=True))


def test_all_edges_up_is_the_graph_itself():
    plain, _ = play(configure("lead", "quantize", iterations=40))
    config = configure("lead", "quantize", iterations=40).with_settings(["topology.up=1.0"])
    found, _ = play(config)
    wanted = states(plain)
    kept = {
        i: {name: a for name, a in arrays.items() if not name.startswith("backlog")}
        for i, arrays in states(found).items()
    }
    assert_equal_states(kept, wanted)
    assert found.transport.traffic.nbytes_on_wire == plain.transport.traffic.nbytes_on_wire
