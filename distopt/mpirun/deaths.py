"""Which rank of a job ended first, which no MPI tells for certain.

MPICH's mpirun kills all ranks when one ends, and then names any of those with the largest exit code.
"""

import os
import socket
import time
from collections.abc import Sequence

ALONE_SECONDS = 0.1


class Deaths:
    """Watches ranks that run on this host.

    Attributes
    ----------
    files : dict[int, int]
        File descriptors that become readable when a rank ends, and the ranks.
    """

    def __init__(self) -> None:
        self.files: dict[int, int] = {}
        self._first: list[int] = []  # those that were seen to have ended first, at once
        self._elsewhere = False
        self._seen: list[float] = []  # when ranks were seen to have ended

    def watch(self, rank: int, host: str, pid: int) -> None:
        """Watch a rank, if it is here."""
        if host != socket.gethostname() or not hasattr(os, "pidfd_open"):
            self._elsewhere = True
            return
        try:
            self.files[os.pidfd_open(pid)] = rank
        except ProcessLookupError:
            self._first.append(rank)
        except OSError:
            self._elsewhere = True

    def note(self, ready: Sequence[int]) -> None:
        """Take the descriptors that are readable."""
        ended = [self.files.pop(file) for file in ready]
        self._first = self._first or ended
        self._seen += [time.monotonic()] * len(ended)
        for file in ready:
            os.close(file)

    @property
    def first(self) -> int | None:
        """Return who ended first; None if that is not certain."""
        return None if self._elsewhere or len(self._first) != 1 else self._first[0]

    @property
    def culprit(self) -> int | None:
        """Return who ended first if the others lived on for a while, so nothing had ended them all.

        On a busy machine a rank that mpirun ends may be gone before the one that made it do so.
        """
        alone = len(self._seen) < 2 or self._seen[1] - self._seen[0] > ALONE_SECONDS
        return self.first if alone else None

    def close(self) -> None:
        """Watch no longer."""
        self.note(list(self.files))
