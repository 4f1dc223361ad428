"""Follow a record while it is written: only the rows that are new, and the last one."""

import os
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from distopt.core.errors import CheckpointError
from distopt.record.hdf5 import UNREADABLE, attributes, own, require_format, stored
from distopt.record.metrics import FORMAT, require_seal, unfinished
from distopt.record.reader import parsed
from distopt.record.series import SERIES


class Part(NamedTuple):
    """Some rows of a record."""

    meta: dict[str, Any]  # the attributes of /meta; those that hold JSON are parsed
    there: list[str]  # the series that the record has, those by run left out
    rows: int  # of the whole record
    # Of the wanted ones those that exist: int64 or float64[rows - since].
    series: dict[str, np.ndarray]


def read_part(path: Path, since: int = 0, names: Container[str] = ()) -> Part:
    """Read the rows of some series from row `since` on; a negative one counts from the end.

    HDF5 may hang or crash over a damaged file of a writer at work, so call it in a process that may end.
    The checksum of such a file's rows, which is one of all, is not compared; that of a whole file is, once
    for each state of the file, since it takes as long as all the rest.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of an unknown format.
    """
    try:
        plain(path)
        state = path.stat()
        compare_seal(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        with h5py.File(path, "r", libver="latest", swmr=unfinished(path)) as file:
            meta = attributes(own(file, "meta", h5py.Group))
            require_format(path, meta.get("format"), FORMAT)
            found = own(file, "series", h5py.Group)
            rows = int(found.attrs["rows"])
            there = [name for name in SERIES.sort(set(found)) if not SERIES[name].by_run]
            first = max(0, rows + since if since < 0 else min(since, rows))
            series = {
                name: stored(found, name, rows)[first:rows] for name in there if name in names
            }
            for name, column in series.items():
                if column.ndim != 1 or column.dtype.kind not in "if":
                    raise ValueError(f"{name} does not hold one number a row")
    except UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as the record of a run: {error}.") from None
    return Part({key: parsed(value) for key, value in meta.items()}, there, rows, series)


@lru_cache(maxsize=4096)
def compare_seal(path: Path, *state: int) -> None:
    """Raise ValueError if a file is sealed and damaged; looks again when its state is another."""
    require_seal(path)


def plain(path: Path) -> None:
    """Raise OSError unless a file is one of its own, not a link to another or a device."""
    os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    if not path.is_file():
        raise OSError("it is not a plain file")
