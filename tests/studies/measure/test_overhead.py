"""The accounting: counted bytes, what MPI, TCP, IP and Ethernet add, and the kernel's counters."""

import socket
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from distopt.core.errors import TransportError
from distopt.studies.measure import interface
from distopt.studies.measure.interface import addresses, read_counters, retransmissions, towards
from distopt.studies.measure.overhead import Accounting, on_ethernet
from distopt.studies.measure.timing import account

Seen = namedtuple("Seen", "bytes_sent packets_sent bytes_recv packets_recv")
DEVICES = {
    "lo": Seen(5000, 50, 5000, 50),
    "eth0": Seen(2000, 20, 1000, 10),
    "eth1.7": Seen(300, 3, 100, 1),
}
PROTOCOLS = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs
Tcp: 1 100 200 7 0
"""


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snmp").write_text(PROTOCOLS)
    monkeypatch.setattr(interface, "PROTOCOLS", tmp_path / "snmp")
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: DEVICES)


@pytest.mark.usefixtures("devices")
def test_counters_of_several_interfaces_are_added() -> None:
    assert read_counters(["eth0", "eth1.7"]) == {
        "tx_bytes": 2300, "tx_packets": 23, "rx_bytes": 1100, "rx_packets": 11, "retransmitted": 7,
    }  # fmt: skip


@pytest.mark.usefixtures("devices")
def test_an_interface_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(TransportError, match=r'"ib0".*lo, eth0, eth1\.7'):
        read_counters(["ib0"])


def test_the_counters_of_this_machine_grow_by_what_is_sent() -> None:
    before = read_counters(["lo"])
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sender,
        server.accept()[0] as link,
    ):
        sender.sendall(bytes(10_000))
        link.recv(10_000, socket.MSG_WAITALL)
    after = read_counters(["lo"])
    assert after["tx_bytes"] - before["tx_bytes"] >= 10_000
    assert after["tx_packets"] > before["tx_packets"]


def test_a_system_that_does_not_count_retransmissions_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface, "PROTOCOLS", tmp_path / "missing")
    assert retransmissions() == 0


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
    sizes = [1, 100, 1400, 1500, 10**4, 10**6]
    costs = [on_ethernet(m) for m in sizes]
    assert costs == sorted(costs)
    assert all(c > m for c, m in zip(costs, sizes, strict=True))
