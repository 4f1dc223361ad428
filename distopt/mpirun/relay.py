"""Messages of rank 0 to the parent of its job: marked lines on standard error, which every MPI forwards."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from distopt.core.rank import this_rank

if TYPE_CHECKING:
    from distopt.engine.loop import Progress

MARK = "\x1edistopt "  # starts such a line


class View(Protocol):
    """Follows one run, or several one after the other, while they are in progress."""

    def begin(self, label: str) -> None:
        """Name the run that `report` will be about."""

    def report(self, progress: "Progress") -> None:
        """Report on the present run."""

    def done(self, label: str, line: str) -> None:
        """Say how a run ended."""

    def failed(self, label: str, reason: str) -> None:
        """Say why a run failed."""


class Relay:
    """The view of a rank: it passes everything on to its parent."""

    def begin(self, label: str) -> None:
        """Name the run that `report` will be about."""
        tell("begin", label=label)

    def report(self, progress: "Progress") -> None:
        """Report on the present run."""
        tell("report", **vars(progress))

    def done(self, label: str, line: str) -> None:
        """Say how a run ended."""
        tell("done", label=label, line=line)

    def failed(self, label: str, reason: str) -> None:
        """Say why a run failed."""
        tell("failed", label=label, reason=reason)


def tell(event: str, all_ranks: bool = False, **details: Any) -> None:
    """Tell the parent, if this is rank 0 (or any, if `all_ranks`)."""
    if this_rank() == 0 or all_ranks:
        line = json.dumps({"event": event} | details, default=str)
        sys.stderr.write(f"{MARK}{line}\n")
        sys.stderr.flush()


def pass_on(event: Mapping[str, Any], view: View) -> None:
    """Pass an event of a `Relay` on to a view."""
    from distopt.engine.loop import Progress

    told = {key: value for key, value in event.items() if key != "event"}
    match event["event"]:
        case "begin":
            view.begin(**told)
        case "report":
            view.report(Progress(**told))
        case "done":
            view.done(**told)
        case "failed":
            view.failed(**told)
