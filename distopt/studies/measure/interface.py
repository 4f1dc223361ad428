"""What the network interfaces of a host have carried: the kernel's counters, read before and after.

Counters are those of /proc/net/dev: bytes and packets with their Ethernet headers, as the kernel hands
them to the interface. Packets there may be larger than what a wire carries, where the network card
cuts them up (docs: measured).
"""

import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from distopt.core.errors import TransportError

DEVICES = Path("/proc/self/net/dev")
PROTOCOLS = Path("/proc/self/net/snmp")
SIOCGIFADDR = 0x8915  # ioctl: the IPv4 address of an interface


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


def read_counters(
    names: Iterable[str], devices: Path = DEVICES, protocols: Path = PROTOCOLS
) -> Counters:
    """Add up what the named interfaces of this host have carried since they exist.

    Raises
    ------
    TransportError
        If the system does not tell, or not of one of them.
    """
    try:
        lines = devices.read_text(encoding="ascii").splitlines()[2:]
        table = {
            name.strip(): values.split() for name, _, values in (x.partition(":") for x in lines)
        }
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(
            f"The counters of the network interfaces cannot be read: {error}."
        ) from None
    total = Counters(retransmitted=retransmissions(protocols))
    for name in names:
        if name not in table:
            raise TransportError(
                f'There is no network interface "{name}" on host {socket.gethostname()}; '
                f"it has {', '.join(table)}."
            )
        numbers = [int(value) for value in table[name]]
        total += Counters(numbers[8], numbers[9], numbers[0], numbers[1])
    return total


def retransmissions(protocols: Path = PROTOCOLS) -> int:
    """Return how many TCP segments this host has sent again; 0 where the system does not tell."""
    try:
        names, values = [
            x.split() for x in protocols.read_text().splitlines() if x.startswith("Tcp:")
        ]
        return int(values[names.index("RetransSegs")])
    except (OSError, ValueError):
        return 0


def addresses() -> dict[str, str]:
    """Map the IPv4 addresses of this host, loopback left out, to their interfaces."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, request)
            except OSError:
                continue  # it has none
            found[socket.inet_ntoa(answer[20:24])] = name
    return {a: name for a, name in found.items() if not a.startswith("127.")}


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
