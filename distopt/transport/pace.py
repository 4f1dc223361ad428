"""How a rank passes the time until messages have come."""

import os
import time
from math import inf
from time import perf_counter

YIELD_SECONDS = 2e-3  # of a wait, at most, in which a rank yields its core between two looks
SHORT_SECONDS = 2e-5  # the same after a yield that was long
LONG_SECONDS = 1e-3  # a yield that takes longer than this has let another program compute
RARELY = 50.0  # times what a long yield took, until yields are tried again
SLEEP_SECONDS = 1e-6  # the kernel's timer slack makes it about 50 us


class Pace:
    """Lets others have the core between two looks for messages: at first it yields, later it sleeps.

    A yield takes as long as others keep the core. Where these are ranks with short vectors, which compute
    what is awaited, that is microseconds, and a sleep would take longer. Where they are other programs,
    they keep it for some milliseconds each, while a sleeper is woken in time. So after a long yield a rank
    sleeps, for so much longer that long yields take a fiftieth of the time (docs: speed, waiting).
    """

    def __init__(self) -> None:
        # When yields are tried again; never where the user says that others need the cores.
        self._again = inf if os.environ.get("DISTOPT_BUSY_WAIT") == "0" else 0.0

    def spin(self) -> float:
        """Return for how many seconds of a wait to yield."""
        return YIELD_SECONDS if perf_counter() >= self._again else SHORT_SECONDS

    def felt(self, took: float) -> None:
        """Note that a yield, or so many seconds in which there was one, was long."""
        self._again = max(self._again, perf_counter() + RARELY * took)

    def rest(self, began: float) -> bool:
        """Let others have the core, in a wait that began then; return whether this rank has slept."""
        now = perf_counter()
        if now - began < self.spin():
            os.sched_yield()
            took = perf_counter() - now
            if took > LONG_SECONDS:
                self.felt(took)
            return False
        time.sleep(SLEEP_SECONDS)
        return True
