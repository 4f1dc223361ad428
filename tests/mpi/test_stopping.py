"""All ranks stop after the same iteration, and soon, whoever wants it and whenever."""

import signal
import time

import numpy as np
import pytest
from run_table import configure

from distopt.engine.journal import Journal
from distopt.engine.loop import Loop
from distopt.engine.stopping import StopRequest
from distopt.engine.team import prepare
from distopt.transport.opening import open_transport
from distopt.transport.watch import LOOK_SECONDS

pytestmark = pytest.mark.mpi(min_size=4)


def stop(comm, at, pause=0.0, **settings):
    """Run; after iterations `at` this rank gets a signal, and from then on each takes `pause` seconds."""
    config = configure("gt", "identity", **settings)
    with StopRequest() as request, open_transport("mpi", config, comm) as transport:
        team = prepare(config, transport)
        exchange = transport.exchange

        def disturbed(payloads):
            if team.clock.iteration in at:
                request.note(signal.SIGTERM, None)
            if pause and team.clock.iteration >= min(at, default=10**9):
                time.sleep(pause)
            return exchange(payloads)

        transport.exchange = disturbed
        reason = Loop(team, Journal(team), request).run()
    return reason, team.clock.iteration


def same(found, comm):
    """Demand the same on all ranks."""
    everywhere = comm.allgather(found)
    assert set(everywhere) == {found}
    return found


@pytest.mark.parametrize("who", [0, 2])
def test_iterations_that_become_slow_delay_it_by_few(who, comm):
    """The old agreement came after as many iterations as had taken half a second when it was set."""
    at = {300} if comm.rank == who else set()
    settings = {"iterations": 3000, "record_every": 10**6}
    reason, done = same(stop(comm, at, pause=5e-3, **settings), comm)
    assert reason == "signal"
    assert 301 <= done < 600  # 303, unless a busy machine keeps a rank from looking for long


@pytest.mark.parametrize("record_every", [3, 1000])
def test_any_wish_at_any_time(record_every, comm):
    """One to four ranks, at the same or different iterations, also at the last one."""
    draw = np.random.default_rng(3)
    for last in (1, 2, 6, 6, 6, 20, 20, 20):
        when = draw.integers(0, last + 1, size=comm.size)
        wanted = draw.random(comm.size) < 0.5
        at = {int(when[comm.rank])} if wanted[comm.rank] else set()
        reason, done = same(stop(comm, at, iterations=last, record_every=record_every), comm)
        assert reason in {"signal", "iterations"}
        assert (reason == "iterations") == (done == last)


def test_a_time_limit_is_agreed_too(comm):
    settings = {"iterations": 10**7, "record_every": 10**6, "stop": {"seconds": 0.05}}
    assert same(stop(comm, set(), **settings), comm)[0] == "stop.seconds"


def test_a_late_wish_does_not_reach_the_next_run(comm):
    """Rank 0 no longer needs to hear it, and with MPICH whoever has its communicator next might."""
    config = configure("gt", "identity")
    for _ in range(5):
        with open_transport("mpi", config, comm) as transport:
            while not transport.agree_to_stop("signal" if comm.rank == 1 else ""):
                time.sleep(LOOK_SECONDS)
            if comm.rank == 3:
                transport.agree_to_stop("another signal")
            elif comm.rank == 0:
                time.sleep(3 * LOOK_SECONDS)
        with open_transport("mpi", config, comm) as transport:
            for _ in range(3):
                time.sleep(LOOK_SECONDS)
                assert transport.agree_to_stop("") == ""
            assert transport._watch.promised is None
