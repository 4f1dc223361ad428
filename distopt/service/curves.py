"""Curves of many runs for one figure: few points of each, but all extremes, over the same quantity.

Those of a long run that has ended are kept in a file, so they are there at once the next time.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from distopt.core.errors import DistoptError
from distopt.core.files import write_whole
from distopt.record.follow import Part
from distopt.record.reader import RECORD
from distopt.service.reading import after, extent, extremes

MEASURED = "measures."  # how the names begin of series that costs measure
MEASURES = 6  # that are shown without being asked for by name
LONG = 5000  # rows of a record whose curves are worth a file
KEPT_BYTES = 256 << 20  # of all these files; older ones go when a service starts


@dataclass(frozen=True)
class Figure:
    """What curves are asked for.

    Attributes
    ----------
    names : tuple of str
        Series; those that a run lacks are left out.
    x : str
        The series that they are drawn over.
    points : int
        About so many of each curve are wanted.
    log : bool
        Whether the figure's x is logarithmic, so that its parts are equal in log x.
    low, high : float or None
        Only what is between these x, and the next point on either side.
    measures : bool
        Whether to add what the costs measure, such as test accuracy.
    """

    names: tuple[str, ...]
    x: str = "iteration"
    points: int = 1000
    log: bool = False
    low: float | None = None
    high: float | None = None
    measures: bool = False

    def __contains__(self, name: object) -> bool:
        """Whether a series has to be read."""
        more = self.measures and str(name).startswith(MEASURED)
        return name in {"iteration", self.x, *self.names} or more


# With which the page compares runs (static/charts.js); made as soon as a long run has ended.
FIRST = Figure(("stationarity", "consensus_error", "lyapunov", "objective"), measures=True)


def curves(
    folders: Sequence[str | None], cursors: Sequence[str], figure: dict[str, Any], keep: str = ""
) -> list[dict[str, Any]]:
    """Return the curves of runs.

    Parameters
    ----------
    folders : Sequence[str or None]
        Run folders; None: one that is gone.
    cursors : Sequence[str]
        Of the last answers, one a folder; "" for none.
    figure : dict
        The attributes of a `Figure`.
    keep : str
        Folder of the curves that are kept; "" for none.
    """
    asked = Figure(**figure | {"names": tuple(figure["names"])})
    found = []
    for folder, cursor in zip(folders, cursors, strict=True):
        if folder is None:
            found.append({"fault": "This run is gone."})
            continue
        try:
            found.append(of_run(Path(folder), cursor, asked, keep))
        except DistoptError as error:
            found.append({"fault": str(error)})
    return found


def prepare(folder: str, keep: str) -> None:
    """Keep the curves of a run that the page will ask for first."""
    of_run(Path(folder), "", FIRST, keep)


def of_run(folder: Path, cursor: str, figure: Figure, keep: str) -> dict[str, Any]:
    """Return the curves of one run, as they are kept or from its record."""
    path = folder / RECORD
    place = None if cursor or not keep else kept_file(Path(keep), path, figure)
    if place is not None:
        with suppress(OSError, ValueError):
            return dict(from_json(place.read_bytes()))
    since, part = after(path, cursor, figure)
    found = drawn(part, since, cursor, figure)
    if place is not None and part.rows > LONG and found["status"] != "running":
        with suppress(DistoptError, OSError):  # a full disk keeps nothing
            place.parent.mkdir(exist_ok=True)
            write_whole(place, to_json(found, inf_nan_mode="null"))
    return found


def kept_file(keep: Path, path: Path, figure: Figure) -> Path | None:
    """Name the file of the curves of a record as it is now; None if there is no record."""
    try:
        state = path.lstat()
    except OSError:
        return None
    told = repr(
        (str(path), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, figure)
    )
    return keep / f"{sha256(told.encode()).hexdigest()[:32]}.json"


def tidy(keep: Path, most: int = KEPT_BYTES) -> None:
    """Remove the oldest files of kept curves where they are too many."""
    with suppress(OSError):
        found = [(entry.stat(), entry.path) for entry in os.scandir(keep)]
        for state, path in sorted(found, key=lambda each: -each[0].st_mtime):
            most -= state.st_size
            if most < 0:
                Path(path).unlink(missing_ok=True)


def drawn(part: Part, since: int, cursor: str, figure: Figure) -> dict[str, Any]:
    """Return the curves of the rows of one run."""
    at = part.series.get(figure.x, np.empty(0))
    first, last = 0, len(at)
    if figure.low is not None:
        first = max(0, int(np.searchsorted(at, figure.low)) - 1)
    if figure.high is not None:
        last = int(np.searchsorted(at, figure.high, "right")) + 1
    at = at[first:last]
    long = len(at) > figure.points
    starts = parts(at, max(1, figure.points // 4), figure.log) if long else None
    lines = {}
    for name in (*figure.names, *(measured(part) if figure.measures else ())):
        column = part.series.get(name)
        if column is None or not len(at):
            continue
        column = column[first:last]
        kept = slice(None) if starts is None else extremes([column], starts)
        lines[name] = {"x": at[kept].tolist(), "y": column[kept].tolist()}
    return extent(part, since, cursor) | {"thinned": starts is not None, "curves": lines}


def measured(part: Part) -> list[str]:
    """Return the series of a record that its costs measure, of many the first ones."""
    return [name for name in part.there if name.startswith(MEASURED)][:MEASURES]


def parts(at: np.ndarray, buckets: int, log: bool) -> np.ndarray:
    """Divide an axis into equal parts; return the row with which each begins : int64[<= buckets + 1].

    Parameters
    ----------
    at : int64 or float64[rows]
        Ascending.
    buckets : int
    log : bool
        Whether they are to be equal in log x; what is not positive is a part of its own.

    >>> parts(np.arange(100.0), 4, False).tolist()
    [0, 25, 50, 75]
    >>> parts(np.arange(1000.0), 3, True).tolist()
    [0, 1, 10, 100]
    """
    begin = int(np.searchsorted(at, 0, "right")) if log else 0
    low, high = (float(at[i]) for i in (min(begin, len(at) - 1), -1))
    if not (np.isfinite([low, high]).all() and low < high):
        edges = np.empty(0)
    elif log:
        edges = np.geomspace(low, high, buckets + 1)[:-1] * (1 - 1e-12)
    else:
        edges = np.linspace(low, high, buckets + 1)[:-1]
    starts = np.searchsorted(at, edges)
    return np.unique(np.concatenate([[0], starts[starts < len(at)]]))
