"""metrics.h5: one dataset per series, readable with h5py alone, whole after a crash.

The file is written in HDF5's single-writer mode: all datasets and attributes exist before the first
row, rows are flushed before the counter ``/series.attrs["rows"]``, and a reader trusts the counter
only. It gets its name once it is in that mode and holds all rows that a resumed run keeps, and is
replaced by a copy with the final status at the end, sealed by its SHA-256. So whenever its writer dies,
there is a file that ``h5py.File(path, "r", swmr=True)`` opens; and nobody who reads it can stop its writer.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import CheckpointError
from distopt.core.files import replaced, write_whole
from distopt.record.hdf5 import REFUSED, abandon, closed, in_memory, move, run_refused
from distopt.record.metrics import FORMAT, Metrics, checksum, matrix_sum, seal
from distopt.record.series import SERIES

CHUNK = 512


class Writer:
    """Writes rows to metrics.h5; call `flush` before anything that must not be lost.

    Parameters
    ----------
    path : Path
        Of the file; its folder exists.
    names : Sequence[str]
        Series to record, keys of `SERIES`.
    meta : Mapping[str, Any]
        Attributes of ``/meta``: texts, numbers, booleans; anything else is stored as JSON. "repeats"
        is the number of runs in the series by run, 1 by default.
    matrix : float64[n, n]
        The mixing matrix, ``/meta/W``.
    series : Mapping[str, ndarray[rows]], optional
        The rows of an earlier part of the run, of all names; [rows, repeats] of a series by run.

    Attributes
    ----------
    first : dict or None
        The first row of that part.
    last : int
        The iteration of its last row; -1 if there is none.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        meta: Mapping[str, Any],
        matrix: F64,
        series: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.path = path
        self.first: dict[str, Any] | None = None
        self.last = -1
        self._pending: list[Mapping[str, Any]] = []
        self._rows, self._sum = 0, matrix_sum(matrix)
        self._file: Any = None
        try:
            with replaced(path, durable=True, refusal=run_refused) as temporary:
                self._file = in_memory(temporary)
                self._series = self._create(names, meta, matrix)
                if series and len(series["iteration"]):
                    self._write(series)
                    self.first = {name: column[0].tolist() for name, column in series.items()}
                    self.last = int(series["iteration"][-1])
                self._file.swmr_mode = True
                move(self._file, temporary)
        except (*REFUSED, CheckpointError) as error:
            if self._file is not None:
                abandon(self._file)
            known = isinstance(error, CheckpointError)
            raise error if known else run_refused(path, error) from None

    def _create(
        self, names: Sequence[str], meta: Mapping[str, Any], matrix: F64
    ) -> dict[str, h5py.Dataset]:
        """Write everything but rows; return the data sets of the series."""
        found, width = {}, int(meta.get("repeats", 1))
        series, group = self._file.create_group("series"), self._file.create_group("meta")
        series.attrs["rows"] = np.int64(0)
        series.attrs["checked"] = np.array([0, self._sum])
        for name in names:
            known = SERIES[name]
            more = (width,) if known.by_run else ()
            data = found[name] = series.create_dataset(
                name, (0, *more), known.dtype, maxshape=(None, *more), chunks=(CHUNK, *more)
            )
            data.attrs["units"], data.attrs["description"] = known.units, known.description
        group.attrs["format"] = FORMAT
        for key, value in (dict(meta) | {"status": "running", "stop_reason": ""}).items():
            plain = isinstance(value, str | bool | int | float | np.generic)
            group.attrs[key] = value if plain else json.dumps(value)
        group.create_dataset("W", data=matrix)
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row; it is on disk after the next `flush`."""
        self._pending.append(row)

    def flush(self) -> None:
        """Write all pending rows, then the counter."""
        if not self._pending:
            return
        try:
            self._write({name: [row[name] for row in self._pending] for name in self._series})
        except REFUSED as error:
            self._pending = []
            self._series.clear()
            abandon(self._file)
            self._file = None
            raise run_refused(self.path, error) from None
        self._pending = []

    def _write(self, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        """Append to every series, then move the counter."""
        end = self._rows + len(columns["iteration"])
        rows = {n: np.asarray(columns[n], data.dtype) for n, data in self._series.items()}
        self._sum = checksum(rows, self._sum)
        for name, data in self._series.items():
            data.resize(end, axis=0)
            data[self._rows :] = rows[name]
            data.flush()
        self._file["series"].attrs.modify("checked", np.array([end, self._sum]))
        self._file["series"].attrs.modify("rows", np.int64(end))
        self._file.flush()
        self._rows = end

    def finish(self, status: str, stop_reason: str) -> None:
        """Flush, close, and say how the run ended ("finished" or "stopped")."""
        self.flush()
        content = io.BytesIO(closed(self._file))
        self._file = None
        with h5py.File(content, "r+") as file:
            file["meta"].attrs["status"] = status
            file["meta"].attrs["stop_reason"] = stop_reason
        write_whole(self.path, seal(content.getvalue()), durable=True, refusal=run_refused)

    def close(self) -> None:
        """Save pending rows, as far as possible, after a failure; the status stays "running"."""
        with suppress(CheckpointError):
            self.flush()
            if self._file is not None:  # else closed already, when the disk refused something
                write_whole(self.path, seal(closed(self._file)), refusal=run_refused)

    @classmethod
    def reopen(
        cls, path: Path, found: Metrics, keep: Callable[[int], bool], changes: Mapping[str, Any]
    ) -> Self:
        """Continue an earlier file, rewritten cleanly.

        Parameters
        ----------
        path : Path
        found : Metrics
            What the earlier file holds.
        keep : callable
            Whether the row of an iteration stays: those after the checkpoint will be made again.
        changes : Mapping[str, Any]
            New values of attributes of ``/meta``.
        """
        meta = {k: v for k, v in found.meta.items() if k not in {"format", "status", "stop_reason"}}
        stays = np.array([keep(k) for k in found.series["iteration"].tolist()], dtype=bool)
        kept = {name: column[stays] for name, column in found.series.items()}
        return cls(path, list(kept), meta | dict(changes), found.matrix, kept)
