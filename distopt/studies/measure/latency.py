"""Latency on a test bed whose kernel has no netem: this process is the wires, and hands frames over late.

Each host's Ethernet interface, and its port of the switch, is a TAP device: what the kernel sends
through it, this process reads, and what this process writes, the kernel receives. Frames from a host
are held back, frames to a host are not, so each waits once on its way from one host to another.
"""

import fcntl
import os
import select
import struct
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from distopt.core.errors import TransportError

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
TAP, NO_HEADER = 0x0002, 0x1000
FRAME_BYTES = 2048  # more than a frame of 1,500 bytes
BATCH = 64  # frames of a device that are read before the next one's turn
QUEUE_FRAMES = 20_000  # that a device holds until they are read


def open_tap(name: str) -> int:
    """Make a TAP device in this network namespace; return the descriptor of its other end.

    The device lives as long as the descriptor, and keeps working in whatever namespace it is moved to.

    Raises
    ------
    TransportError
        If this kernel or container has no TAP devices.
    """
    try:
        end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | NO_HEADER))
    except OSError as error:
        raise TransportError(
            f"Links with latency need TAP devices ({TUN}: {error.strerror}); leave the latency out, or "
            "load the kernel's module tun."
        ) from None
    return end


def carry(wires: Mapping[int, int], seconds: float) -> None:
    """Carry frames between host ends and port ends, from the hosts `seconds` late; never return."""
    from_port = {port: host for host, port in wires.items()}
    ends = [*wires, *from_port]
    held: deque[tuple[float, int, bytes]] = deque()  # due, to, frame; one delay, so in order
    while True:
        now = monotonic()
        while held and held[0][0] <= now:
            _, end, frame = held.popleft()
            hand_over(end, frame)
        ready, _, _ = select.select(ends, (), (), held[0][0] - now if held else None)
        now = monotonic()
        for end in ready:
            for frame in frames(end):
                if end in wires:
                    held.append((now + seconds, wires[end], frame))
                else:
                    hand_over(from_port[end], frame)


def frames(end: int) -> list[bytes]:
    """Read what waits at an end, some frames at most."""
    found: list[bytes] = []
    while len(found) < BATCH:
        try:
            found.append(os.read(end, FRAME_BYTES))
        except BlockingIOError:
            break
    return found


def hand_over(end: int, frame: bytes) -> None:
    """Give a frame to a device; one that is still down loses it, as an unplugged one would."""
    with suppress(OSError):
        os.write(end, frame)
