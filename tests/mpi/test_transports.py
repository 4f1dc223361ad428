"""What A sent is what B got, on every transport; sums do not depend on who adds."""

import time

import numpy as np
import pytest

from distopt.core.errors import ConfigError, DataError
from distopt.problems.graph_section import build_topology
from distopt.problems.topology import Topology
from distopt.transport.base import SharedError, slices
from distopt.transport.local import LocalTransport
from distopt.transport.mpi import MpiTransport, require_ranks

pytestmark = pytest.mark.mpi(min_size=4)

LARGEST = 3_000_001
AGENTS = 4
GRAPHS = {
    "ring": [(0, 1), (1, 2), (2, 3), (0, 3)],
    "star": [(0, 1), (0, 2), (0, 3)],
    "path": [(0, 1), (1, 2), (2, 3)],
    "kite": [(0, 1), (1, 2), (0, 2), (2, 3)],
}
SIZES = {  # bytes that agents 0, 1, 2, 3 send in turn
    "empty": (0, 0, 0, 0),
    "one": (1, 1, 1, 1),
    "odd": (7, 13, 1023, 4097),
    "unequal": (0, 1, 65_537, 333),
    "large": (LARGEST, 0, LARGEST - 1, 1_000_003),
}


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.once), "mpi"])
def make(request, comm):
    """Make a transport of each kind over four agents, closed after the test."""
    opened = []

    def make(topology, largest=LARGEST):
        if request.param == "local":
            transport = LocalTransport(topology)
        else:
            transport = MpiTransport(comm, topology, largest, timeout=240.0)
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        transport.close()


def content(agent, turn, size):
    """What agent sends in this turn: different for every agent, turn and place, cheap to make."""
    start = (agent * 101 + turn * 37) % 251
    return np.resize(np.arange(251, dtype=np.uint8), size + 251)[start : start + size]


def check_exchange(transport, topology, sizes, turn):
    payloads = [content(i, turn, sizes[i]).copy() for i in transport.hosted]
    received = transport.exchange(payloads)
    assert len(received) == len(transport.hosted)
    for i, messages in zip(transport.hosted, received, strict=True):
        assert [m.size for m in messages] == [sizes[j] for j in topology.neighbours(i)]
        for j, message in zip(topology.neighbours(i), messages, strict=True):
            assert np.array_equal(message, content(j, turn, sizes[j]))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_what_was_sent_is_what_arrives(make, graph, sizes):
    topology = Topology(AGENTS, GRAPHS[graph])
    transport = make(topology)
    for turn in range(AGENTS):
        check_exchange(transport, topology, np.roll(SIZES[sizes], turn), turn)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("sizes", ["unequal", "large"])
def test_second_parts_arrive_while_python_computes(sizes, moved, comm):
    """Between the parts a rank keeps Python's lock; whoever is early does not write over what has come."""
    topology, me = Topology(AGENTS, GRAPHS["kite"]), comm.rank
    with MpiTransport(comm, topology, LARGEST, timeout=240.0) as transport:
        transport.in_parts(LARGEST, moved)
        for turn in range(6):
            mine, theirs = np.roll(SIZES[sizes], turn), np.roll(SIZES[sizes], turn + 1)
            wholes = [
                np.concatenate([content(i, turn, mine[i]), content(i, turn + 1, theirs[i])])
                for i in range(AGENTS)
            ]
            first = transport.first(wholes[me], int(mine[me]))
            busy = time.perf_counter() + 4e-3 * (me + turn % 2)
            while time.perf_counter() < busy:
                pass
            for j, message in zip(topology.neighbours(me), first, strict=True):
                assert np.array_equal(message, wholes[j][: mine[j]])
            for j, message in zip(topology.neighbours(me), transport.rest(), strict=True):
                assert np.array_equal(message, wholes[j][mine[j] :])
            check_exchange(transport, topology, mine, turn)  # one that is whole, in between
        assert transport.traffic.messages == 12 * topology.degree(me)  # two parts are one message


def test_parts_begin_anew_for_another_run_on_the_same_transport(comm):
    """What the run before had posted takes no message of the next."""
    topology, me = Topology(AGENTS, GRAPHS["ring"]), comm.rank
    with MpiTransport(comm, topology, LARGEST, timeout=60.0) as transport:
        for run, (size, moved) in enumerate([(100, True), (200, False), (100, True)]):
            transport.in_parts(size, moved)
            for turn in range(3):
                whole = [content(i, 10 * run + turn, 50 + size) for i in range(AGENTS)]
                first = [m.copy() for m in transport.first(whole[me], 50)]
                for j, a, b in zip(topology.neighbours(me), first, transport.rest(), strict=True):
                    assert np.array_equal(np.concatenate([a, b]), whole[j])


def test_ten_thousand_rounds(make):
    topology = Topology(AGENTS, GRAPHS["kite"])
    transport = make(topology, 100)
    for turn in range(10_000):
        check_exchange(transport, topology, [(3 * turn + 17 * i) % 101 for i in range(4)], turn)


def test_received_bytes_stay_until_the_next_call(make, comm):
    """A neighbour that is already one exchange ahead does not write over what was received."""
    topology = Topology(AGENTS, GRAPHS["ring"])
    transport = make(topology)
    for turn in range(50):
        received = transport.exchange([content(i, turn, 5000) for i in transport.hosted])
        if comm.rank % 2 == 0:
            time.sleep(1e-3 * (turn % 3))
        for i, messages in zip(transport.hosted, received, strict=True):
            for j, message in zip(topology.neighbours(i), messages, strict=True):
                assert np.array_equal(message, content(j, turn, 5000))


def test_traffic_counts_what_was_handed_over(make, comm):
    topology = Topology(AGENTS, GRAPHS["star"])
    transport = make(topology)
    for turn in range(3):
        check_exchange(transport, topology, SIZES["odd"], turn)
    transport.collect(np.zeros((len(transport.hosted), 9)))
    transport.mean([np.zeros(5) for _ in transport.hosted], np.zeros(5))
    hosted = transport.hosted
    assert transport.traffic.nbytes == 3 * sum(SIZES["odd"][i] for i in hosted)
    assert transport.traffic.messages == 3 * sum(topology.degree(i) for i in hosted)
    assert transport.traffic.nbytes_on_wire == 3 * sum(
        SIZES["odd"][i] * topology.degree(i) for i in hosted
    )
    if len(hosted) < AGENTS:
        assert transport.traffic.diagnostics_nbytes > 0


@pytest.mark.parametrize("d", [1, 3, 5, 1000])
def test_scatter_gives_each_agent_its_slice_of_all_rows(make, d):
    transport = make(Topology(AGENTS, GRAPHS["ring"]))
    rows = np.arange(AGENTS * d, dtype=float).reshape(AGENTS, d)
    found = [*transport.scatter([rows[i] for i in transport.hosted])]
    for i, parts in zip(transport.hosted, found, strict=True):
        assert [part.tolist() for part in parts] == rows[:, slices(d, AGENTS)[i]].tolist()


@pytest.mark.parametrize("d", [1, 2, 3, 5, 1000])
def test_mean_is_summed_in_the_order_of_the_agents(make, d):
    """Rounding differs by order here: 1e16 + 1 + 1 - 1e16 is 2 or 0."""
    topology = Topology(AGENTS, GRAPHS["ring"])
    transport = make(topology)
    rng = np.random.default_rng(d)
    rows = rng.standard_normal((AGENTS, d)) * 10.0 ** rng.integers(-16, 16, (AGENTS, d))
    out = np.empty(d)
    transport.mean([rows[i] for i in transport.hosted], out)
    expected = (((rows[0] + rows[1]) + rows[2]) + rows[3]) / 4
    assert out.tobytes() == expected.tobytes()


def test_collect_and_share(make):
    transport = make(Topology(AGENTS, GRAPHS["ring"]))
    table = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(transport.collect(table[list(transport.hosted)]), table)
    items = transport.share({"hosted": transport.hosted})
    assert sorted(i for item in items for i in item["hosted"]) == [0, 1, 2, 3]


def test_what_a_process_says_is_data(make):
    transport = make(Topology(AGENTS, GRAPHS["ring"]))
    if len(transport.hosted) < AGENTS:
        with pytest.raises(TypeError, match="JSON"):
            transport.share(Topology)  # on all ranks, before anything is sent

    def fail():
        with transport.together():
            if 2 in transport.hosted:
                raise DataError("The data of agent 2.")

    with pytest.raises(SharedError, match="of agent 2") as caught:
        fail()
    assert type(caught.value.cause) is DataError


def test_one_rank_of_a_host_compiles_before_the_others_load(comm):
    topology, began = Topology(AGENTS, GRAPHS["ring"]), []

    def compile_kernels():
        began.append(time.monotonic())
        time.sleep(0.05)

    with MpiTransport(comm, topology, 10, timeout=240.0) as transport:
        transport.warm_up(compile_kernels)
        ((first,), *others) = comm.allgather(began)
    for (other,) in others:  # all ranks are on this host, so they share a clock
        assert other - first >= 0.05


def test_transports_open_and_close_many_times(comm):
    topology = Topology(AGENTS, GRAPHS["ring"])
    for turn in range(40):
        with MpiTransport(comm, topology, 64, timeout=240.0) as transport:
            for _ in range(turn % 3):
                check_exchange(transport, topology, (1, 2, 3, 4), turn)


def test_ranks_must_be_agents(comm):
    with pytest.raises(ConfigError, match=r"problem\.agents = 7, but the MPI job has 4 ranks"):
        require_ranks(comm, 7)
    with pytest.raises(ConfigError, match="MPI carries at most"):
        MpiTransport(comm, build_topology({"graph": "ring"}, 4, None), 2**31, timeout=240.0)
