"""The bytes that a host's network interfaces have carried: the kernel's counters, before and after.

Bytes and packets are counted with their Ethernet headers, as the kernel hands them to the interface.
Packets may be larger there than on the wire, where the network card cuts them up (docs: measured).
"""

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from distopt.core.errors import TransportError

PROTOCOLS = Path("/proc/self/net/snmp")


def read_counters(names: Iterable[str]) -> dict[str, int]:
    """Add up the counters of the named interfaces of this host; ``retransmitted`` is of the whole host.

    Raises
    ------
    TransportError
        If the host does not have one of them.
    """
    found = psutil.net_io_counters(pernic=True, nowrap=False)
    names = list(names)
    for name in names:
        if name not in found:
            raise TransportError(
                f'There is no network interface "{name}" on host {socket.gethostname()}; '
                f"it has {', '.join(found)}."
            )
    return {
        "tx_bytes": sum(found[name].bytes_sent for name in names),
        "tx_packets": sum(found[name].packets_sent for name in names),
        "rx_bytes": sum(found[name].bytes_recv for name in names),
        "rx_packets": sum(found[name].packets_recv for name in names),
        "retransmitted": retransmissions(),
    }


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
