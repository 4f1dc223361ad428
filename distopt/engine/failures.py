"""Failures that a run has survived: what its record and summary say of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pydantic

from distopt.record.reader import parsed


@dataclass(frozen=True)
class Failure:
    """A job that died, and where its run went on.

    Attributes
    ----------
    reason : str
        A sentence.
    iteration : int
        About how many iterations were done.
    origin : int
        The iteration from which the run went on.
    since : float
        When that state was saved, in seconds since 1970.
    seconds : float or None
        From `since` until the run went on; None while it has not.
    """

    reason: str
    iteration: int
    origin: int
    since: float
    seconds: float | None = None

    def over(self) -> "Failure":
        """Return this failure with `seconds`, now that the run goes on."""
        if self.seconds is not None:
            return self
        return replace(self, seconds=max(time.time() - self.since, 0.0))


def tabulate(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Return what ``/meta`` keeps."""
    return [asdict(failure) for failure in failures]


def failures_in(meta: Mapping[str, Any]) -> list[Failure]:
    """Read the failures from ``/meta``; none where they cannot be read."""
    found = parsed(meta.get("failures", "[]"))
    try:
        return list(pydantic.TypeAdapter(list[Failure]).validate_python(found))
    except pydantic.ValidationError:
        return []


def totals(failures: Sequence[Failure]) -> dict[str, Any]:
    """Return what the summary says: how many, iterations done twice, seconds lost."""
    return {
        "failures": len(failures),
        "iterations_repeated": sum(max(f.iteration - f.origin, 0) for f in failures),
        "seconds_lost": sum(f.seconds or 0.0 for f in failures),
    }
