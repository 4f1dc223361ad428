"""Why a run stops, and how a signal asks it to."""

from contextlib import suppress
from signal import SIGUSR1, Signals
from signal import signal as handle
from types import FrameType
from typing import Any, Self

REASONS = {  # as the record and `--json` name them, and as people read them
    "iterations": "all iterations done",
    "stop.stationarity": "run.stop.stationarity reached",
    "stop.nmse": "run.stop.nmse reached",
    "stop.seconds": "run.stop.seconds used up",
    "signal": "stopped by a signal",
}
EARLY = {"stop.seconds", "signal"}  # after these the run is meant to be resumed


class StopRequest:
    """The signal that asked this process to stop, if any; the next agreement acts on it.

    As a context it gives signals back at the end.
    """

    def __init__(self) -> None:
        self.signal: Signals | None = None
        self._before: dict[Signals, Any] = {}  # handlers

    def listen(self, *numbers: Signals) -> None:
        """Take these signals from now on (in the main thread only; else the host program keeps them)."""
        with suppress(ValueError):
            for number in numbers:
                self._before.setdefault(number, handle(number, self.note))

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal; SIGUSR1 does not hide one that ends the program."""
        if self.signal is None or number != SIGUSR1:
            self.signal = Signals(number)

    def __enter__(self) -> Self:
        """Hold signals."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give them back."""
        for number, previous in self._before.items():
            handle(number, previous)
