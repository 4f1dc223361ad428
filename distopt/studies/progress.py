"""What a study reports about runs in progress; `distopt.show.console` shows it."""

from typing import Any, Protocol

from distopt.engine.loop import Progress


class ProgressView(Protocol):
    """Hears how far runs are."""

    def begin(self, label: str) -> None:
        """Name the run that `report` will be about."""

    def report(self, progress: Progress) -> None:
        """Report on the present run."""

    def done(self, label: str, line: str) -> None:
        """Say how a run ended."""

    def failed(self, label: str, reason: str) -> None:
        """Say why a run failed."""

    def take(self, event: dict[str, Any]) -> None:
        """Take an event that a rank passed on: one of the above, by its name."""

    def pass_on(self, line: str) -> None:
        """Show a line of another program."""

    def clear(self) -> None:
        """Leave the terminal to others."""
