"""When messages travel in two parts; that this changes nothing is in tests/mpi/test_engines_agree.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from run_table import configure

import distopt
from distopt.engine.driver import run_one_to_end
from distopt.engine.overlap import can_overlap, overlap
from distopt.engine.team import prepare
from distopt.transport.local import LocalTransport


class Ranks(LocalTransport):
    """Stands for ranks on two hosts; notes what it is asked for."""

    travels, hosts = True, 2

    def __init__(self, topology, slowest=1.0):
        super().__init__(topology)
        self.slowest, self.asked = slowest, None

    def collect(self, rows):
        return np.array([[self.slowest]])

    def in_parts(self, max_nbytes, moved):
        self.asked = max_nbytes, moved


def decided(algorithm="cgt1", message="identity", d=4000, slowest=1.0, hosts=2, **run):
    """Return what overlap asks the transport for, and whether the agent overlaps."""
    config = configure(algorithm, message, problem={"dimension": d, "basis": "diagonal"}, **run)
    [first, *_] = prepare(config, LocalTransport(config.problem.topology), together=False).hosted
    transport = Ranks(config.problem.topology, slowest)
    transport.hosts = hosts
    overlap(config, first.agent, transport)
    assert first.agent.overlaps == (transport.asked is not None)
    return transport.asked


def test_where_it_pays():
    assert decided() == (32_000, False)
    assert decided(slowest=0.0) is None
    assert decided(d=400) is None
    assert decided(hosts=1) is None
    assert decided(d=20_000) == (160_000, True)


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_user_decides(hosts):
    assert decided(overlap=False, hosts=hosts) is None
    assert decided(d=19, overlap=True, slowest=0.0, hosts=hosts) == (152, False)


@pytest.mark.parametrize(
    ("algorithm", "message", "settings"),
    [("lead", "identity", {}), ("beer", "identity", {}), ("cgt1", "identity", {"checked": True})],
)
def test_others_send_whole_messages(algorithm, message, settings):
    assert decided(algorithm, message, overlap=True, **settings) is None


def test_a_step_of_ones_own_says_it_anew():
    class Same(distopt.CompressedTracking1):
        def remedy(self):
            return "nothing helps"

    class Own(distopt.CompressedTracking1):
        def step(self, agent, s, k):
            yield from super().step(agent, s, k)

    assert can_overlap(Same(eta=0.1, gamma=0.5, alpha=1.0))
    assert not can_overlap(Own(eta=0.1, gamma=0.5, alpha=1.0))


def test_a_step_that_forgets_the_rest_is_told():
    agent = SimpleNamespace(overlaps=True, cut=None, wanting=print)
    with pytest.raises(RuntimeError, match=r"must take what `agent\.rest\(\)` gives"):
        run_one_to_end(agent, iter(()), LocalTransport(configure().problem.topology))
