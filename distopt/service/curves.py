"""Curves of many runs for one figure: few points of each, but all extremes, over the same quantity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distopt.core.errors import DistoptError
from distopt.record.follow import Part
from distopt.record.reader import RECORD
from distopt.service.reading import after, extremes

MEASURED = "measures."  # how the names begin of series that costs measure
MEASURES = 6  # that are shown without being asked for by name


def curves(
    folders: Sequence[str | None],
    cursors: Sequence[str],
    names: Sequence[str],
    x: str,
    points: int,
    log: bool = False,
    low: float | None = None,
    high: float | None = None,
    measures: bool = False,
) -> list[dict[str, Any]]:
    """Return the curves of runs, each thinned out to about `points`.

    Parameters
    ----------
    folders : Sequence[str or None]
        Run folders; None: one that is gone.
    cursors : Sequence[str]
        Of the last answers, one a folder; "" for none.
    names : Sequence[str]
        Series; those that a run lacks are left out.
    x : str
        The series that they are drawn over.
    points : int
        About so many of each curve are kept.
    log : bool
        Whether the figure's x is logarithmic, so that its parts are equal in log x.
    low, high : float, optional
        Only what is between these x, and the next point on either side.
    measures : bool
        Whether to add what the costs measure, such as test accuracy.
    """
    found = []
    for folder, cursor in zip(folders, cursors, strict=True):
        if folder is None:
            found.append({"fault": "This run is gone."})
            continue
        path = Path(folder) / RECORD
        try:
            since, part = after(path, cursor, Wanted(["iteration", x, *names], measures))
        except DistoptError as error:
            found.append({"fault": str(error)})
            continue
        lines = [*names, *(measured(part) if measures else ())]
        found.append(drawn(part, since, cursor, lines, x, points, (log, low, high)))
    return found


class Wanted:
    """Series to read: some names and, if `measures`, all that the costs measure."""

    def __init__(self, names: Sequence[str], measures: bool) -> None:
        self.names, self.measures = names, measures

    def __contains__(self, name: object) -> bool:
        """Whether to read a series."""
        return name in self.names or (self.measures and str(name).startswith(MEASURED))


def measured(part: Part) -> list[str]:
    """Return the series of a record that its costs measure, of many the first ones."""
    return [name for name in part.there if name.startswith(MEASURED)][:MEASURES]


def drawn(
    part: Part,
    since: int,
    cursor: str,
    names: Sequence[str],
    x: str,
    points: int,
    axis: tuple[bool, float | None, float | None],
) -> dict[str, Any]:
    """Return the curves of the rows of one run, as `curves` does."""
    log, low, high = axis
    at, new = part.series.get(x, np.empty(0)), part.series["iteration"]
    first = 0 if low is None else max(0, int(np.searchsorted(at, low)) - 1)
    last = len(at) if high is None else int(np.searchsorted(at, high, "right")) + 1
    at = at[first:last]
    starts = parts(at, max(1, points // 4), log) if len(at) > points else None
    lines = {}
    for name in names:
        column = part.series.get(name)
        if column is None or not len(at):
            continue
        column = column[first:last]
        kept = slice(None) if starts is None else extremes([column], starts)
        lines[name] = {"x": at[kept].tolist(), "y": column[kept].tolist()}
    return {
        "since": since,
        "rows": part.rows,
        "cursor": f"{part.rows}:{new[-1]}" if len(new) else cursor,
        "thinned": starts is not None,
        "status": str(part.meta.get("status", "")),
        "available": part.there,
        "curves": lines,
    }


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
