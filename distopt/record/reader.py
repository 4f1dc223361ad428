"""Read the records of a run: series, meta, configuration. Nothing is ever written."""

import json
import tomllib
from collections.abc import Iterator, KeysView
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Protocol

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.core.arrays import F64
from distopt.core.errors import CheckpointError, ConfigError, optional
from distopt.core.parameters import nearest
from distopt.record.metrics import read_metrics
from distopt.record.series import MEASURES, SERIES

RECORD = "metrics.h5"  # its name in a run directory
COMPARISON = "comparison.html"  # the page of a suite, in the folder of its runs' folders
# What readers rely on: texts, counts, numbers.
META: dict[str, type | UnionType] = {
    **dict.fromkeys(("algorithm", "compressor", "config", "status", "engine", "lyapunov"), str),
    **dict.fromkeys(("host", "stop_reason"), str),
    **dict.fromkeys(("guarantee", "lyapunov_weights", "versions"), dict),
    **dict.fromkeys(("agents", "dimension"), int),
    **dict.fromkeys(("minimum", "spectral_gap", "certified"), int | float),
    **dict.fromkeys(("kappa", "smoothness"), int | float),
    "minimum_kind": str,
}


class Recorded(Protocol):
    """What `load` takes of a result."""

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` prints."""

    @property
    def run_dir(self) -> Path | None:
        """Where it was written."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The records, on the first rank."""


class Reach(NamedTuple):
    """The first record at which a run reached an accuracy."""

    iterations: float
    bytes_per_agent: float
    bytes_on_wire: float
    seconds: float
    bytes_recorded: float  # per agent, with those of records
    seconds_recorded: float
    held: bool  # it stayed that small to the end of the run


@dataclass(frozen=True, repr=False)
class RunData:
    """The records of one run, as `load` reads them.

    Attributes
    ----------
    place : Path or None
        The run directory; None for a result that was never written.
    meta : dict
        The attributes of /meta; those that hold JSON are parsed.
    matrix : float64[n, n]
        W; empty for a result that was never written.
    series : dict[str, float64[rows]]
        Those that exist for the run's algorithm, in the order of `SERIES`; those by run are
        float64[rows, repeats].
    """

    place: Path | None
    meta: dict[str, Any]
    matrix: F64
    series: dict[str, F64]

    def __getitem__(self, name: str) -> F64:
        """Return one series."""
        try:
            return self.series[name]
        except KeyError:
            hint = nearest(name, [*self.series]) or "."
            raise ConfigError(
                f'{self.name} has no series "{name}"{hint} It has {", ".join(self.series)}.'
            ) from None

    def __contains__(self, name: object) -> bool:
        """Whether the run has a series."""
        return name in self.series

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the series."""
        return iter(self.series)

    def keys(self) -> KeysView[str]:
        """Return the names of the series."""
        return self.series.keys()

    def __repr__(self) -> str:
        """Say whose records these are and what they have."""
        records = len(self.series.get("iteration", ()))
        return f"<RunData {self.name}: {records} records of {', '.join(self.series)}>"

    def last(self, name: str, default: float = np.nan) -> float:
        """Return the last value of a series, `default` where it does not exist."""
        return float(self.series[name][-1]) if name in self.series else default

    def dataframe(self) -> Any:
        """Return the series as a `pandas.DataFrame`, a row for every record.

        A series by run has a column for each run, such as ``objective_runs.0``. The units are in
        ``frame.attrs["units"]``.

        Raises
        ------
        DistoptError
            If pandas is not installed.
        """
        pandas = optional("pandas", "A DataFrame")
        columns: dict[str, F64] = {}
        for name, values in self.series.items():
            by_run = {f"{name}.{r}": column for r, column in enumerate(values.T)}
            columns |= by_run if values.ndim == 2 else {name: values}
        frame = pandas.DataFrame(columns)
        frame.attrs["units"] = self.units
        return frame

    @property
    def units(self) -> dict[str, str]:
        """The unit of every series, "1" for plain numbers."""
        return {name: SERIES[name].units for name in self.series}

    @property
    def name(self) -> str:
        """Name of the run directory; of a result that was never written, its method."""
        if self.place is None:
            return f"{self.meta['algorithm']} with {self.meta['compressor']}"
        return self.place.resolve().name

    @property
    def uncompressed(self) -> bool:
        """Whether vectors were sent uncompressed."""
        return bool(self.meta["compressor"] == "identity")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as tables."""
        try:
            tables = tomllib.loads(self.meta["config"])
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"The record of {self.place} holds no TOML: {error}.") from None
        for section, table in tables.items():
            if not isinstance(table, dict):
                raise CheckpointError(
                    f"The record of {self.place} holds a damaged configuration: {section} is {table!r}, "
                    "not a table."
                )
        return tables

    @cached_property
    def bits(self) -> float:
        """Bits per coordinate and message, over the whole run; nan for an unknown algorithm."""
        vectors = self.meta.get("vectors")
        if not isinstance(vectors, int):  # an earlier version wrote it
            try:
                vectors = int(ALGORITHMS.get(self.meta["algorithm"]).vectors)
            except ConfigError:
                return np.nan
        vectors *= int(self.meta.get("repeats", 1))
        coordinates = self.last("iteration") * vectors * int(self.meta["dimension"])
        return 8 * self.last("bytes_per_agent") / coordinates if coordinates else np.nan

    def reach(self, accuracy: float, measure: str = "stationarity") -> Reach | None:
        """Return the first record where a series is <= `accuracy`, None where there is none."""
        if measure not in self.series:
            return None
        good = self[measure] <= accuracy
        if not good.any():
            return None
        row = int(np.argmax(good))
        at = {name: float(values[row]) for name, values in self.series.items() if values.ndim == 1}
        records = at.get("diagnostics_bytes", 0.0) / int(self.meta["agents"])
        return Reach(
            at["iteration"],
            at["bytes_per_agent"],
            at["bytes_on_wire"],
            at["seconds"],
            at["bytes_per_agent"] + records,
            at["seconds"] + at.get("seconds_diagnostics", 0.0),
            held=bool(good[row:].all()),
        )


def load(run: "str | Path | RunData | Recorded") -> RunData:
    """Read the records of a finished, running or interrupted run.

    Parameters
    ----------
    run : path, Result or RunData
        A run directory, or what `distopt.run`, `simulate` and `minimize` return.

    Returns
    -------
    RunData
        ``data["objective"]`` is a numpy array, ``data.config`` the resolved configuration,
        ``data.units`` the units, ``data.dataframe()`` a pandas DataFrame.

    Raises
    ------
    CheckpointError
        If the directory holds no record, a damaged one, or one of an unknown format.
    """
    if isinstance(run, RunData):
        return run
    if not isinstance(run, str | Path):
        if run.run_dir is None and not run.rows:
            raise CheckpointError("This result holds no record; that of the first rank does.")
        if run.run_dir is None:
            names = [name for name in SERIES if name in run.rows[0]]
            names += [name for name in run.rows[0] if name.startswith(MEASURES)]
            series = {name: np.array([row[name] for row in run.rows], float) for name in names}
            return RunData(None, run.summary | {"config": ""}, np.empty((0, 0)), series)
        run = run.run_dir
    place = Path(run)
    path = place / RECORD
    if not path.is_file():
        what = f"has no {RECORD}" if place.is_dir() else "does not exist"
        if (place / COMPARISON).is_file():
            what += f", but {COMPARISON}, the page of a suite whose runs are in folders beside it"
        raise CheckpointError(f"{place} is not a run directory: it {what}.")
    found = read_metrics(path)
    if not len(found.series.get("iteration", ())):
        raise CheckpointError(f"{path} holds no record yet.")
    meta = {key: parsed(value) for key, value in found.meta.items()}
    for key, kind in META.items():
        value: Any = meta.get(key)
        right = isinstance(value, kind)
        if not right or (kind is int and value < 1):
            raise CheckpointError(
                f"{path} cannot be read as the record of a run: {key} in /meta is {value!r}."
            )
    series = {name: column.astype(np.float64) for name, column in found.series.items()}
    return RunData(place, meta, found.matrix, series)


def parsed(value: Any) -> Any:
    """Turn an attribute into a plain Python value."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # a TOML text may begin with [
    return value
