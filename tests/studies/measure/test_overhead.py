"""The accounting: counted bytes, what MPI, TCP, IP and Ethernet add, and the kernel's counters."""

from pathlib import Path

import pytest

from distopt.core.errors import TransportError
from distopt.studies.measure.interface import (
    Counters,
    addresses,
    read_counters,
    retransmissions,
    towards,
)
from distopt.studies.measure.overhead import PACKET, Accounting, at_interface, on_ethernet
from distopt.studies.measure.timing import account

DEVICES = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5000      50    0    0    0     0          0         0     5000      50    0    0    0     0       0          0
  eth0: 1000       10    0    0    0     0          0         0   2000       20    0    0    0     0       0          0
eth1.7:  100        1    0    0    0     0          0         0    300        3    0    0    0     0       0          0
"""  # noqa: E501
PROTOCOLS = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs
Tcp: 1 100 200 7 0
"""


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / "dev").write_text(DEVICES)
    (tmp_path / "snmp").write_text(PROTOCOLS)
    return tmp_path


def test_counters_of_several_interfaces_are_added(devices: Path) -> None:
    found = read_counters(["eth0", "eth1.7"], devices / "dev", devices / "snmp")
    assert found == Counters(2300, 23, 1100, 11, 7)
    assert found - Counters(300, 3, 100, 1, 7) == Counters(2000, 20, 1000, 10, 0)


def test_an_interface_that_is_not_there_is_named_with_those_that_are(devices: Path) -> None:
    with pytest.raises(TransportError, match=r'"ib0".*lo, eth0, eth1\.7'):
        read_counters(["ib0"], devices / "dev", devices / "snmp")


def test_counters_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"cannot be read.*No such file"):
        read_counters(["eth0"], tmp_path / "dev")
    assert retransmissions(tmp_path / "snmp") == 0


def test_this_machine_reaches_its_own_addresses_by_no_interface() -> None:
    own = addresses()
    assert not any(a.startswith("127.") for a in own)
    assert towards(list(own), own) == {}


def test_the_books_close_with_the_headers_of_every_packet() -> None:
    books = Accounting(counted=1_000_000, messages=10, seen=1_000_240 + 66 * 30, packets=30)
    assert books.explained == books.seen
    assert books.error == 0.0
    assert books.balanced
    assert books.overhead == pytest.approx((240 + 66 * 30) / 1e6)


@pytest.mark.parametrize(("message", "limit"), [(20_000, 0.03), (100, 0.10)])
def test_small_messages_have_a_wider_limit(message: int, limit: float) -> None:
    explained = 1000 * (message + 24 + 66)
    for share, good in ((0.9 * limit, True), (-0.9 * limit, True), (1.1 * limit, False)):
        books = Accounting(1000 * message, 1000, round(explained * (1 + share)), 1000)
        assert books.balanced is good


def test_an_interface_that_sees_nothing_is_not_the_one_that_mpi_uses() -> None:
    told = account(Accounting(counted=10**6, messages=10, seen=1000, packets=5))
    assert "InfiniBand" in told["problem"]
    assert "one host" in account(Accounting(0, 0, 0, 0))["problem"]


def test_full_frames_carry_1448_bytes_each_and_half_of_them_are_answered() -> None:
    million = on_ethernet(1448 * 1000 - 24)
    assert million == pytest.approx(1000 * 1538 + 500 * 90)
    assert on_ethernet(1) >= 84  # preamble, the smallest frame, pause
    assert at_interface(100) == 100 + 24 + 2 * PACKET
    sizes = [1, 100, 1400, 1500, 10**4, 10**6]
    costs = [on_ethernet(m) for m in sizes]
    assert costs == sorted(costs)
    assert all(c > m for c, m in zip(costs, sizes, strict=True))
