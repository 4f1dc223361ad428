"""How many bytes a network carries for the bytes of a message: MPI, TCP, IP and Ethernet on top.

Three counts belong to one message of m bytes (docs: measured):

    counted     m, what the program hands to MPI
    interface   m + M + P H, what the kernel's counters show: P packets, acknowledgements included
    wire        the same cut into full Ethernet frames, each with what only the cable sees

M and H are not fitted: M is the header that Open MPI's eager protocol over TCP puts before a message, H
what Ethernet, IPv4 and TCP (with time stamps) put before each packet.
"""

from dataclasses import dataclass
from math import ceil

ETHERNET = 14  # addresses and type; what the kernel counts of a frame besides its contents
IP, TCP = 20, 32  # without options, with time stamps
PACKET = ETHERNET + IP + TCP  # H
MPI_MESSAGE = 24  # M, Open MPI: 8 bytes of the TCP transport, 16 of the matching header
FULL = 1500 - IP - TCP  # bytes of a message in a full Ethernet frame
CABLE = 24  # preamble, start, checksum and pause of a frame: on the cable, in no counter
SMALL = 16 * 1024  # bytes; up to here a message counts as small


@dataclass(frozen=True)
class Accounting:
    """What some hosts sent to each other, counted and seen; all numbers are totals over hosts."""

    counted: int  # bytes handed to MPI for other hosts
    messages: int
    seen: int  # bytes at the interfaces, sent
    packets: int  # sent

    @property
    def explained(self) -> int:
        """Counted bytes and the model of what MPI, TCP, IP and Ethernet add, in bytes."""
        return self.counted + MPI_MESSAGE * self.messages + PACKET * self.packets

    @property
    def error(self) -> float:
        """How far the interfaces' bytes are from the explained ones, as a share of them."""
        return self.seen / self.explained - 1 if self.explained else 0.0

    @property
    def overhead(self) -> float:
        """What the interfaces carried on top, as a share of the counted bytes."""
        return self.seen / self.counted - 1 if self.counted else 0.0

    @property
    def message(self) -> float:
        """Mean bytes of a message."""
        return self.counted / self.messages if self.messages else 0.0

    @property
    def balanced(self) -> bool:
        """Whether the error is within 3 %, or within 10 % for small messages."""
        return abs(self.error) <= (0.03 if self.message > SMALL else 0.10)

    @property
    def ethernet(self) -> float:
        """What full Ethernet frames and the cable would add, as a share of the counted bytes."""
        return on_ethernet(self.message) / self.message - 1 if self.message else 0.0


def on_link(nbytes: float, beside: int = 0) -> float:
    """Predict what a link that takes 1500 bytes a packet carries for one message, in bytes.

    Full frames, and an acknowledgement for every second one on the way back; that of a message in one
    frame rides on an answer. `beside`: bytes to each frame that no counter shows.
    """
    frames = ceil((nbytes + MPI_MESSAGE) / FULL)
    return nbytes + MPI_MESSAGE + (frames + frames // 2) * (PACKET + beside)


def on_ethernet(nbytes: float) -> float:
    """Predict what the cable of an Ethernet carries for one message, in bytes.

    With preamble, checksum and the pause between frames: they take time like bytes.

    >>> round(on_ethernet(1_000_000) / 1_000_000, 3)
    1.093
    >>> round(on_ethernet(10), 0)
    124
    """
    return on_link(nbytes, CABLE)
