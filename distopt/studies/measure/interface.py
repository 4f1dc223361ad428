"""The bytes that a host's network interfaces have carried: the kernel's counters, before and after.

Bytes and packets are counted with their Ethernet headers, as the kernel hands them to the interface.
Packets may be larger there than on the wire, where the network card cuts them up (docs: measured).
"""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from distopt.core.errors import TransportError

PROTOCOLS = Path("/proc/self/net/snmp")


@dataclass(frozen=True)
class Counters:
    """What some interfaces have carried so far, or between two moments."""

    tx_bytes: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    rx_packets: int = 0
    retransmitted: int = 0  # TCP segments that were sent again, of the whole host

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


def read_counters(names: Iterable[str]) -> Counters:
    """Add up the counters of the named interfaces of this host.

    Raises
    ------
    TransportError
        If the host does not have one of them.
    """
    found = psutil.net_io_counters(pernic=True, nowrap=False)
    total = Counters(retransmitted=retransmissions())
    for name in names:
        if name not in found:
            raise TransportError(
                f'There is no network interface "{name}" on host {socket.gethostname()}; '
                f"it has {', '.join(found)}."
            )
        seen = found[name]
        total += Counters(seen.bytes_sent, seen.packets_sent, seen.bytes_recv, seen.packets_recv)
    return total


def retransmissions() -> int:
    """Return how many TCP segments this host has sent again; 0 where the system does not count them."""
    try:
        lines = PROTOCOLS.read_text().splitlines()
        names, values = [line.split() for line in lines if line.startswith("Tcp:")]
        return int(values[names.index("RetransSegs")])
    except (OSError, ValueError):
        return 0


def addresses() -> dict[str, str]:
    """Map the IPv4 addresses of this host, loopback left out, to their interfaces."""
    return {
        own.address: name
        for name, found in psutil.net_if_addrs().items()
        for own in found
        if own.family == socket.AF_INET and not own.address.startswith("127.")
    }


def towards(others: Sequence[str], own: dict[str, str]) -> dict[str, str]:
    """Map each reachable address of other hosts to the own address that packets to it leave from."""
    found = {}
    for other in others:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((other, 9))  # sends nothing
            except OSError:
                continue
            source = asking.getsockname()[0]
        if source in own and other not in own:
            found[other] = source
    return found
