"""MPI and one process give the same bits: states, records and counters, whatever arrives first."""

import dataclasses
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from algorithms.three_vectors import ThreeVectors
from engine import golden_states
from run_table import (
    SINGLE,
    assert_equal_states,
    comparable,
    configure,
    mark_rest,
    play,
    play_mpi,
    states,
)

import distopt
from distopt.config.build import make_config
from distopt.core.errors import DataError
from distopt.engine.agents import release
from distopt.engine.audit import Audit
from distopt.engine.laws import quadratic
from distopt.engine.team import prepare
from distopt.studies.measure.rounds import Rounds
from distopt.transport.base import SharedError
from distopt.transport.opening import open_transport

pytestmark = pytest.mark.mpi(min_size=4)

ENGINE_DEPENDENT = ("diagnostics_bytes",)  # in one process records cost no messages


def compare(config, comm, disturb=None):
    """Run under both engines and compare this rank's agent, the records and the counters."""
    job, result = play_mpi(config, comm, disturb=disturb)
    alone, expected = play(config)
    mine, total = job.transport.traffic, alone.transport.traffic
    sums = comm.allreduce(np.array([mine.nbytes, mine.nbytes_on_wire, mine.messages]))
    # From here on nothing is exchanged, so a rank whose assertion fails keeps nobody waiting.
    assert_equal_states(states(job), states(alone))
    assert sums.tolist() == [total.nbytes, total.nbytes_on_wire, total.messages]
    own = {link: n for link, n in alone.transport.told.items() if link[0] == comm.rank}
    assert job.transport.told == own
    assert result.summary["iterations"] == expected.summary["iterations"] > 0
    if comm.rank == 0:
        assert comparable(result.rows, *ENGINE_DEPENDENT) == comparable(
            expected.rows, *ENGINE_DEPENDENT
        )


def jitter(transport, *names):
    """Sleep at random before and after exchanges, differently on every rank."""
    rng = np.random.default_rng(transport.hosted[0])

    def late(exchange, *payloads):
        if rng.random() < 0.1:
            time.sleep(rng.exponential(3e-3))
        received = exchange(*payloads)
        if rng.random() < 0.1:
            time.sleep(rng.exponential(3e-3))
        return received

    for name in names or ["exchange"]:
        setattr(transport, name, partial(late, getattr(transport, name)))


@pytest.mark.once
@pytest.mark.parametrize("iterations", [75, pytest.param(250, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("algorithm", "message"), mark_rest(pytest.mark.slow))
def test_mpi_equals_simulate(algorithm, message, iterations, comm):
    compare(configure(algorithm, message, iterations=iterations, record_every=25), comm)


def mark_single():
    """Leave most pairs in float32 to the first MPI, and to the slow tier."""
    for algorithm, message in SINGLE:
        marks = [] if algorithm in {"gt", "cgt1", "zed-auto"} else [pytest.mark.once]
        if "-" in algorithm and algorithm not in {"zed-auto", "cgt1-sum", "diloco-adamw"}:
            marks.append(pytest.mark.slow)
        yield pytest.param(algorithm, message, marks=marks)


@pytest.mark.parametrize(("algorithm", "message"), list(mark_single()))
def test_in_float32(algorithm, message, comm):
    compare(configure(algorithm, message, iterations=60, dtype="float32"), comm)


def test_records_by_default_on_long_vectors(comm):
    """Glances and the decisions that follow from them are the same."""
    problem = {"dimension": 4000, "basis": "diagonal", "start": "zeros"}
    settings = {"iterations": 90, "record_every": "auto", "stop": {"stationarity": 50.0}}
    compare(configure("cgt1", "quantize", problem=problem, **settings), comm)


GOLDEN = json.loads(golden_states.FILE.read_text())
EVERYWHERE = {"cgt1", "choco", "fixed_point_gd"}  # send two vectors, one, and integers' sums


def mark_once():
    """Leave all pairs to the first MPI but those of a few algorithms."""
    for pair in mark_rest(pytest.mark.slow):
        marks = [] if pair.values[0] in EVERYWHERE else [pytest.mark.once]
        yield pytest.param(*pair.values, marks=[*pair.marks, *marks])


@pytest.mark.parametrize(("algorithm", "message"), list(mark_once()))
def test_final_states_are_golden(algorithm, message, comm):
    job, _ = play_mpi(golden_states.make(algorithm, message), comm)
    found = comm.allgather(golden_states.hashes(job))
    assert [mine for (mine,) in found] == GOLDEN[f"{algorithm} {message}"].split()


def once(*values):
    """Leave parameters to the first MPI in the normal tier."""
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*row, marks=pytest.mark.once) for row in rows]


@pytest.mark.parametrize("algorithm", ["cgt1", *once("gt-atc", "cgt3", "lead")])
def test_order_of_arrival_does_not_matter(algorithm, comm):
    message = {"gt-atc": "identity", "cgt3": "saturating"}.get(algorithm, "quantize-dithered")
    compare(configure(algorithm, message, iterations=300, record_every=50), comm, jitter)


def test_with_checked_messages(comm):
    compare(configure("cgt2", "uniform-fast", iterations=60, checked=True), comm)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("cgt1", "quantize-range"),
        *once(("gt", "identity"), ("gt-atc", "identity"), ("gt-fixed", "identity"), ("cgt1-sum", "top_k"),
        ("cgt1-auto", "quantize-dithered"), ("cgt2", "uniform"), ("cgt3-fixed", "saturating"),
        ("cgt3-zoom", "zoom_sign"), ("k_gt-auto", "identity"), ("push_pull", "rand_k")),
    ],
)  # fmt: skip
def test_messages_in_two_parts(algorithm, message, comm):
    """The second vector travels while the gradient is computed, at whatever time its neighbours send it."""
    config = configure(algorithm, message, iterations=150, record_every=50, overlap=True)
    found = []

    def disturb(transport):
        jitter(transport, "first", "rest")
        first = transport.first
        transport.first = lambda payload, cut: found.append(cut) or first(payload, cut)

    compare(config, comm, disturb)
    assert bool(found) == (algorithm != "gt-atc")  # which sends its vectors one by one


SCHEDULE = Path(__file__).parents[1] / "engine" / "schedule.txt"


@pytest.mark.parametrize(
    ("algorithm", "change"),
    [("zed", "up=0.4"), *once(("gt", "up=0.4"), ("lead", "up=0.4"), ("gt", "asleep=0.3"),
     ("zed", "asleep=0.3"), ("lead", f"schedule={SCHEDULE}"))],
)  # fmt: skip
def test_edges_that_are_down(algorithm, change, comm):
    """Agents wait, and messages come late, at the same iterations."""
    message = {"gt": "identity", "zed": "zoom"}.get(algorithm, "quantize-dithered")
    config = configure(algorithm, message, graph="complete", iterations=120)
    compare(config.with_settings([f"topology.{change}"]), comm)


@pytest.mark.parametrize("graph", ["star", *once("path", "complete")])
def test_graphs(graph, comm):
    compare(configure("cgt1", "rand_k", graph=graph, iterations=200), comm)


@pytest.mark.parametrize("algorithm", ["cgt1", *once("gt", "cgt2", "fixed_point_gd")])
@pytest.mark.parametrize("agents", [1, 2, 3])
def test_few_agents(agents, algorithm, comm):
    message = {"cgt1": "rand_k", "cgt2": "uniform"}.get(algorithm, "identity")
    part = comm.Split(int(comm.rank < agents), comm.rank)
    # The others have nothing to wait for: `part` is a communicator of its own.
    if comm.rank < agents:
        compare(configure(algorithm, message, agents, graph="complete", iterations=200), part)
    part.Free()


@pytest.mark.once
def test_real_data(comm):
    """Costs that call BLAS: equal shapes give equal sums in both engines."""
    config = make_config(
        {
            "problem": {"name": "logistic", "dataset": "breast_cancer", "agents": 4},
            "topology": {"graph": "ring"},
            "algorithm": {"name": "cgt1", "eta": 0.1, "gamma": 0.3, "alpha": 1.0},
            "compressor": {"name": "top_k", "fraction": 0.2},
            "run": {"iterations": 200, "record_every": 11},
        },
        Path(),
    )
    compare(config, comm)


@pytest.mark.once
@pytest.mark.parametrize("problem", [{"name": "logistic", "dataset": "digits"}, {"name": "lista"}])
def test_mini_batches_and_blocks(problem, comm):
    config = make_config(
        {
            "problem": problem | {"agents": 4},
            "algorithm": {"name": "cgt1", "eta": 0.1, "gamma": 0.3, "alpha": 1.0},
            "compressor": {"name": "blockwise", "values": {"name": "quantize", "bits": 4}}
            | ({} if problem["name"] == "lista" else {"block": 20}),
            "run": {"iterations": 60, "record_every": 11, "batch": 3},
        },
        Path(),
    )
    compare(config, comm)


@pytest.mark.parametrize("graph", ["path", *once("star")])
def test_letters_along_a_tree(graph, comm):
    """zest's messages go to parents and children only; checked, with the root's own Hessian."""
    config = configure("zest", "uniform-inset", graph=graph, iterations=60, checked=True)
    compare(config.with_settings(["algorithm.hessian=own"]), comm)


@pytest.mark.parametrize(
    ("algorithm", "overlap"), [("zest", "auto"), *once(("gt", "auto")), ("gt", True)]
)
def test_exchanges_that_wait_are_counted_alike(algorithm, overlap, comm):
    """`distopt measure` counts under MPI what `distopt plan` counts in one process."""
    message = {"zest": "uniform-inset", "gt": "identity"}[algorithm]
    config = configure(algorithm, message, graph="star", iterations=9, overlap=overlap)
    found = []
    for engine in ("mpi", "simulate"):
        with open_transport(engine, config, comm) as transport:
            team = prepare(config, transport, together=False)
            rounds = Rounds(transport, config.problem.topology)
            for _ in range(9):
                team.iterate()
            found.append((len(rounds), rounds.waits(4)))
            release(team.driven)
    assert found[0] == found[1]
    n, waits = found[0][0], found[0][1]
    # A star of 4: 1 message up or 3 down in turn.
    expected = {"zest": (18, 14, 2.0), "gt": (9, 5, 3.0)}
    assert (n, waits.exchanges, waits.copies) == expected[algorithm]


def test_three_vectors_a_message(comm):
    settings = {
        "algorithm": ThreeVectors(eta=0.02, gamma=0.3, alpha=1.0),
        "compressor": distopt.Quantize(bits=3, entropy="range"),
        "iterations": 60,
    }
    costs = [quadratic(i) for i in range(comm.size)]
    mine = distopt.minimize(costs[comm.rank], comm=comm, **settings)
    alone = distopt.simulate(costs, **settings)
    assert np.array_equal(mine.x[0], alone.x[comm.rank])


def test_a_pair_that_no_longer_agrees_is_named_on_every_rank(comm):
    """One rank's model of a neighbour is changed; all ranks stop with the same sentence."""
    job, _ = play_mpi(configure("cgt1", "quantize-range", iterations=9), comm)
    if comm.rank == 2:
        job.hosted[0].agent.codecs.decoders[1][1]["symbols"][0] += 1
    with open_transport("mpi", job.parts, comm) as t:
        with pytest.raises(SharedError) as caught:
            Audit(dataclasses.replace(job, transport=t)).run()
        sentences = comm.allgather(str(caught.value))
        assert t.traffic.diagnostics_nbytes > 0
    assert len(set(sentences)) == 1
    assert "Agents 2 and 1 no longer agree: at iteration 9 they hold different bits" in sentences[0]
    assert "compressor's state for y of agent 1" in sentences[0]


def test_costs_of_different_dimension_are_refused_together(comm):
    """No rank sees another's cost, so only together they notice; all then say the same."""

    class Parabola:
        smoothness = 1.0

        def __init__(self, dimension):
            self.dimension = dimension

        def value(self, x):
            return 0.5 * float(x @ x)

        def gradient(self, x, out):
            out[:] = x

    cost = Parabola(3 + (comm.rank == 2))
    with pytest.raises(
        DataError, match=r"cost of agent 2 has dimension 4, but that of agent 0 has 3"
    ):
        distopt.minimize(cost, comm=comm, algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5))
