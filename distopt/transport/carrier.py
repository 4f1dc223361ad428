"""A thread that moves messages while Python computes something else.

MPI libraries move a long message only while somebody calls them: what exceeds the buffers of the network
waits otherwise until the rank has computed its gradient. The thread looks for one set of messages every
now and then, in compiled code, which needs neither Python nor its lock.
"""

import ctypes
import time
from threading import Semaphore, Thread

import numpy as np

from distopt.core.arrays import I32, I64
from distopt.core.kernel import kernel
from distopt.transport.posts import CAME, Posts, call, look

NAP_NANOSECONDS = 1_000_000  # between two looks
ENTRY_SECONDS = 0.05  # the thread may take this long to begin; it begins later if it takes longer
INSIDE, STOP, CODE = range(3)  # of the flags


@kernel
def carry(table: I64, told: I32, clock: I64, flags: I64, sleep: int, nap: I64) -> None:
    """Look until all messages have come and gone, or this is to stop."""
    flags[INSIDE] = 1
    duration = np.int64(nap.ctypes.data)
    while flags[STOP] == 0 and told[CAME] == 0 and flags[CODE] == 0:
        flags[CODE] = look(table, told, clock, 0)
        call(sleep, (duration, np.int64(0)))


class Carrier:
    """Moves the messages of one `Posts` between `begin` and `end`."""

    def __init__(self) -> None:
        self._posts: Posts | None = None
        self._flags, self._nap = np.zeros(3, np.int64), np.array([0, NAP_NANOSECONDS], np.int64)
        self._sleep: int = ctypes.cast(ctypes.CDLL(None).nanosleep, ctypes.c_void_p).value or 0
        self._go, self._left = Semaphore(0), Semaphore(0)
        self._flags[STOP], nothing = 1, np.zeros(2, np.int64)
        told = nothing.view(np.int32)
        carry(nothing, told, nothing, self._flags, self._sleep, self._nap)  # compiles
        Thread(target=self._serve, name="distopt-carrier", daemon=True).start()

    def _serve(self) -> None:
        while self._go.acquire() and self._posts is not None:
            posts = self._posts
            carry(posts.table, posts.told, posts.clock, self._flags, self._sleep, self._nap)
            self._left.release()

    def begin(self, posts: Posts) -> None:
        """Move the messages of these posts, which nobody else may look for until `end`."""
        self._posts = posts
        self._flags[:] = 0
        self._go.release()
        # Who computes without letting go of Python's lock would keep the thread from its start.
        deadline = time.perf_counter() + ENTRY_SECONDS
        while not self._flags[INSIDE] and time.perf_counter() < deadline:
            time.sleep(ENTRY_SECONDS / 500)

    def end(self) -> None:
        """Let go of them."""
        if self._posts is None:
            return
        self._flags[STOP] = 1
        self._left.acquire()
        posts, self._posts = self._posts, None
        posts.check(int(self._flags[CODE]))

    def close(self) -> None:
        """End the thread."""
        self.end()
        self._go.release()
