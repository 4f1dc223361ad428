"""Read records for the page: what a run is at, and its curves, with few points but all extremes."""

import math
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distopt.core.errors import CheckpointError, ConfigError
from distopt.core.parameters import nearest
from distopt.record.follow import Part, read_part
from distopt.record.reader import RECORD
from distopt.record.series import SERIES

LAST = ("iteration", "stationarity", "objective", "bytes_per_agent", "seconds")
AXES = ("iteration", "bytes_per_agent", "bytes_on_wire", "seconds", "gradients")


def summaries(folders: Sequence[str]) -> list[dict[str, Any]]:
    """Say what each run folder is at; one that cannot be read says why."""
    return [summary(Path(folder)) for folder in folders]


def summary(folder: Path) -> dict[str, Any]:
    """Say what a run folder is at."""
    found: dict[str, Any] = dict.fromkeys(("agents", "dimension", "iterations", *LAST))
    found |= dict.fromkeys(("algorithm", "compressor", "problem", "message"), "")
    found |= {"records": 0, "status": "unreadable"}
    try:
        part = read_part(folder / RECORD, -1, LAST)
        config = tables(part)
    except CheckpointError as error:
        return found | {"message": str(error)}
    meta, last = part.meta, {n: c[-1].item() for n, c in part.series.items() if len(c)}
    found |= {key: value for key, value in last.items() if math.isfinite(value)}
    found |= {key: str(meta.get(key, "")) for key in ("algorithm", "compressor", "status")}
    found |= {key: whole(meta.get(key)) for key in ("agents", "dimension")}
    problem = config.get("problem", {})
    name = [str(problem.get(key)) for key in ("name", "dataset") if problem.get(key)]
    found["problem"] = " ".join(Path(word).name for word in name)
    found["iterations"] = whole(config.get("run", {}).get("iterations"))
    found["records"] = part.rows
    return found


def whole(value: Any) -> int | None:
    """Return a whole number, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def tables(part: Part) -> dict[str, Any]:
    """Return the configuration that a record holds; sections that are none are left out."""
    import tomllib

    try:
        found = tomllib.loads(str(part.meta.get("config", "")))
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def series(
    folder: str, cursor: str, names: Sequence[str], points: int, skip: bool = False
) -> dict[str, Any]:
    """Return the rows of a run after a cursor, thinned out to about `points`, and the next cursor.

    The cursor names the last row that the reader has. Where the record has another one there, because it
    belongs to a later run or was resumed from before, the answer begins at row 0. Names that the run
    lacks are left out if `skip`.
    """
    path = Path(folder) / RECORD
    since, part = after(path, cursor, [*AXES, *names])
    for name in names:
        if name not in part.there and not skip:
            hint = nearest(name, part.there) or "."
            raise ConfigError(
                f'This run has no series "{name}"{hint} It has {", ".join(part.there)}.'
            )
    kept = chosen([part.series[n] for n in names if n in part.series], points)
    shown = {n: c if kept is None else c[kept] for n, c in part.series.items()}
    return extent(part, since, cursor) | {
        "thinned": kept is not None,
        "series": {name: column.tolist() for name, column in shown.items()},
        "units": {name: SERIES[name].units for name in shown},
    }


def extent(part: Part, since: int, cursor: str) -> dict[str, Any]:
    """Return how far a record is, what it has, and the cursor behind its last row."""
    new = part.series["iteration"]
    return {
        "since": since,
        "rows": part.rows,
        "cursor": f"{part.rows}:{new[-1]}" if len(new) else cursor,
        "status": str(part.meta.get("status", "")),
        "available": part.there,
    }


def after(path: Path, cursor: str, names: Container[str]) -> tuple[int, Part]:
    """Return how many rows a reader has of a record that is there still, and the rows after these.

    `names`, of which "iteration" is one, are the series to read.
    """
    since, at = place(cursor)
    part = read_part(path, max(since - 1, 0), names)
    if "iteration" not in part.series:
        raise CheckpointError(
            f"{path} cannot be read as the record of a run: it has no iterations."
        )
    if since and (part.rows < since or int(part.series["iteration"][0]) != at):
        return 0, read_part(path, 0, names)
    if since:
        part = part._replace(series={name: column[1:] for name, column in part.series.items()})
    return since, part


def place(cursor: str) -> tuple[int, int]:
    """Read a cursor: the rows that the reader has, and the iteration of the last of them.

    Raises
    ------
    ConfigError
        If it is none that `series` gave.
    """
    rows, _, iteration = cursor.partition(":")
    if not cursor:
        return 0, 0
    if not (rows.isdecimal() and iteration.isdecimal() and len(cursor) < 40):
        raise ConfigError(
            f"cursor = {cursor[:40]!r} is not one that this server gave; leave it empty."
        )
    return int(rows), int(iteration)


def chosen(columns: Sequence[np.ndarray], points: int) -> np.ndarray | None:
    """Choose rows such that every column keeps its first, last, smallest and largest value of each bucket.

    Parameters
    ----------
    columns : Sequence[int64 or float64[rows]]
    points : int
        About so many rows are chosen.

    Returns
    -------
    int64[kept] or None
        Ascending; None: all.

    >>> chosen([np.array([0.0, 5.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])], 4).tolist()
    [0, 1, 9]
    """
    rows = len(columns[0]) if columns else 0
    buckets = max(1, points // (4 * max(1, len(columns))))
    if rows <= points:
        return None
    return extremes(columns, np.arange(0, rows, -(-rows // buckets)))


def extremes(columns: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Return the rows with first, last, smallest and largest value of each column within each part.

    Parameters
    ----------
    columns : Sequence[int64 or float64[rows]]
    starts : int64[parts]
        The row with which each part begins; ascending, from 0.

    Returns
    -------
    int64[kept]
        Ascending.
    """
    rows = len(columns[0])
    widths = np.diff(starts, append=rows)
    part = np.repeat(np.arange(len(starts)), widths)
    found = [starts, starts + widths - 1]
    for column in columns:
        values = np.where(np.isfinite(column), column, np.nan)
        for extreme in (np.fmin, np.fmax):
            at = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), widths))
            found.append(at[np.diff(part[at], prepend=-1) > 0])  # the first of equal ones
    return np.unique(np.concatenate(found))
