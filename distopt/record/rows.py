"""The records of a run, one dict a row, without a dict for each."""

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from distopt.record.metrics import read_metrics
from distopt.record.series import SERIES

Row = dict[str, Any]


class Rows(Sequence[Row]):
    """Rows kept in memory by column, at 8 bytes a number.

    Parameters
    ----------
    names : Sequence[str]
        Of the series, keys of `SERIES`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._columns = {name: array("q" if SERIES[name].dtype == "i8" else "d") for name in names}
        self._count = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; a series by run has a list in place of a number."""
        for name, column in self._columns.items():
            if SERIES[name].by_run:
                column.extend(row[name])
            else:
                column.append(row[name])
        self._count += 1

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        """Return a row, or a list of rows."""
        if isinstance(at, slice):
            return [self[i] for i in range(self._count)[at]]
        return {name: self._value(name, range(self._count)[at]) for name in self._columns}

    def _value(self, name: str, i: int) -> Any:
        column = self._columns[name]
        if not SERIES[name].by_run:
            return column[i]
        width = len(column) // self._count
        return column[i * width : (i + 1) * width].tolist()


class StoredRows(Sequence[Row]):
    """Rows on disk, read when they are first asked for.

    Parameters
    ----------
    path : Path
        Of metrics.h5.

    Raises
    ------
    CheckpointError
        When asked, if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _rows(self) -> list[Row]:
        return read_metrics(self.path).rows()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        """Return a row, or a list of rows."""
        return self._rows[at]
