"""Why a run stops, and how a signal asks it to."""

from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from signal import signal as handle
from types import FrameType

REASONS = {  # as the record and `--json` name them, and as people read them
    "iterations": "all iterations done",
    "stop.stationarity": "run.stop.stationarity reached",
    "stop.nmse": "run.stop.nmse reached",
    "stop.seconds": "run.stop.seconds used up",
    "signal": "stopped by a signal",
}
EARLY = {"stop.seconds", "signal"}  # after these the run is meant to be resumed


class StopRequest:
    """The signal that asked this process to stop, if any; the next agreement acts on it."""

    def __init__(self) -> None:
        self.signal: Signals | None = None

    @contextmanager
    def listening(self, *numbers: Signals) -> Iterator[None]:
        """Take these signals inside the block (in the main thread only)."""
        try:
            before = {number: handle(number, self.note) for number in numbers}
        except ValueError:  # not the main thread: the host program keeps its own handling
            yield
            return
        try:
            yield
        finally:
            for number, previous in before.items():
                handle(number, previous)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal."""
        self.signal = Signals(number)
