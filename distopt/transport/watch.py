"""What ranks tell each other besides messages and records: that one has failed, or wants to stop.

To stop, a rank asks rank 0 and waits. Rank 0 asks all ranks with how many iterations they can stop, and
tells all the largest number. A rank that has answered goes on to its number, and beyond it only once it
knows the largest. So all stop after the same iteration, the next one that all can reach, without any
traffic until somebody wants to.

Ranks look for such messages whenever they wait and between iterations, so nobody waits for a rank that
waits for him.
"""

import fcntl
import json
import signal
import socket
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from time import perf_counter, sleep
from typing import Any

import numpy as np
from mpi4py import MPI

from distopt.core.arrays import U8
from distopt.core.errors import DistoptError
from distopt.transport.verdict import Report

ALARM, WISH, ASK, ANSWER, LAST = range(32_101, 32_106)  # tags; MPI has at least 32_767
HOSTS = MPI.Comm.Create_keyval()  # of a communicator whose ranks have told their hosts
LOOK_SECONDS = 0.01  # how often a rank looks
READ_SECONDS = 5.0  # mpirun may take this long to read the last sentence
ABORT_SECONDS = 60  # MPI may take this long to end a job


class RemoteError(DistoptError):
    """Another rank has failed and is about to say why."""


def packed(item: Any) -> U8:
    """Write an item as JSON, uint8[:]: what another rank sends is data, never code."""
    return np.frombuffer(json.dumps(item).encode(), np.uint8)


def introduce(comm: MPI.Comm) -> None:
    """Let the ranks tell each other their hosts, before any of them runs what may hang."""
    comm.Set_attr(HOSTS, comm.allgather(socket.gethostname()))


def end_job(code: int) -> None:
    """End all ranks of the job; this one ends even if MPI cannot reach the others."""
    deadline = perf_counter() + READ_SECONDS
    while unread(2) and perf_counter() < deadline:  # mpirun may drop what it has not read
        sleep(LOOK_SECONDS)
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ABORT_SECONDS)
    # MPICH ends any other communicator by telling each rank, and waits for one that is out of reach.
    MPI.COMM_WORLD.Abort(code)
    sleep(2 * ABORT_SECONDS)  # with MPICH, mpirun now ends this process, or the alarm does


def unread(file: int) -> int:
    """Return how many bytes nobody has read yet from a pipe that this process writes to."""
    try:
        return int.from_bytes(fcntl.ioctl(file, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:  # a file
        return 0


class Watch:
    """Looks for what other ranks tell, and answers.

    Parameters
    ----------
    comm : MPI.Comm
    earliest : callable
        Returns the least number of iterations with which this rank can stop.
    shared : bool
        Whether others use the communicator, so that only alarms are looked for.

    Attributes
    ----------
    promised : int or None
        Iterations beyond which this rank does not go until it knows `last`.
    last : int or None
        Iterations after which all stop.
    reason : str
        Why.
    wished : bool
        Whether this rank has asked for a stop.
    """

    def __init__(self, comm: MPI.Comm, earliest: Callable[[], int], shared: bool = False) -> None:
        self.comm, self.earliest = comm, earliest
        self._tag = ALARM if shared else MPI.ANY_TAG
        self.others = [j for j in range(comm.size) if j != comm.rank]
        self.promised: int | None = None
        self.last: int | None = None
        self.reason = ""
        self._answers: dict[int, int] = {}  # on rank 0
        self.wished, self._heard = False, 0  # by rank 0
        self._sent: list[tuple[MPI.Request, Any]] = []
        self._looked = perf_counter()
        self._status = MPI.Status()

    def stop(self, reason: str) -> None:
        """Ask for a stop."""
        if self.wished:
            return
        self.wished = True
        if self.comm.rank == 0:
            self._ask_all(reason)
        else:
            self._send(WISH, reason, [0])

    @property
    def waiting(self) -> bool:
        """Whether this rank may not go on before it knows `last`."""
        at_the_end = self.promised is not None and self.earliest() >= self.promised
        return self.last is None and (self.wished or at_the_end)

    def look(self) -> None:
        """Take what has come and answer it, if the last look was a while ago.

        Raises
        ------
        RemoteError
            If a rank has failed; `alarms` returns its report.
        """
        now = perf_counter()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._let_go()
        while self.comm.Iprobe(tag=self._tag, status=self._status):
            tag, rank = self._status.Get_tag(), self._status.Get_source()
            if tag == ALARM:
                raise RemoteError("Another rank has failed.")
            told = self._take()
            if tag == WISH:
                self._heard += 1
                self._ask_all(told)
            elif tag == ASK:
                self.promised = self.earliest()
                self._send(ANSWER, self.promised, [0])
            elif tag == ANSWER:
                self._note(rank, told)
            else:
                self.last, self.reason = told

    def has_heard(self, wished: U8) -> bool:
        """Tell whether the wishes of all ranks that have one have come."""
        return self.comm.rank != 0 or self._heard == wished[1:].sum()

    def _ask_all(self, reason: str) -> None:
        """Ask all ranks with how many iterations they can stop, once."""
        if self.promised is None:
            self.reason, self.promised = reason, self.earliest()
            self._send(ASK, None, self.others)
            self._note(0, self.promised)

    def _note(self, rank: int, answer: int) -> None:
        """Take an answer; tell the result after the last one."""
        self._answers[rank] = answer
        if len(self._answers) == self.comm.size:
            self.last = max(self._answers.values())
            self._send(LAST, (self.last, self.reason), self.others)

    def alarm(self, report: Report) -> None:
        """Call all other ranks."""
        self._send(ALARM, asdict(report), self.others)

    def alarms(self) -> Iterator[Report]:
        """Take the reports that have come; let the own ones go out."""
        self._let_go()
        while self.comm.Iprobe(tag=self._tag, status=self._status):
            alarm = self._status.Get_tag() == ALARM
            # A damaged one is one that did not come.
            with suppress(ValueError, TypeError, KeyError):
                told = self._take()
                if alarm:
                    yield Report(**told | {"waits": tuple(told["waits"])})

    def _take(self) -> Any:
        """Receive the message that was found."""
        status = self._status
        content = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        self.comm.Recv(content, source=status.Get_source(), tag=status.Get_tag())
        return json.loads(content.tobytes())

    def _send(self, tag: int, told: Any, ranks: list[int]) -> None:
        """Send without waiting."""
        content = packed(told)
        self._sent += [(self.comm.Isend(content, dest=j, tag=tag), content) for j in ranks]

    def _let_go(self) -> None:
        """Let messages go out, and forget those that have."""
        self._sent = [(request, content) for request, content in self._sent if not request.Test()]

    def free(self) -> None:
        """Release the communicator, once all have stopped."""
        MPI.Request.Waitall([request for request, _ in self._sent])
        self.comm.Free()
