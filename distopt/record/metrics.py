"""The content of a metrics.h5, verified.

A file whose writer ended ends with the SHA-256 of all before, which is compared before HDF5 sees the file.
That of a writer at work, or killed, has none, and damaged metadata can keep HDF5 in there for ever, deaf
to Ctrl-C; so a child process reads it, with limits: ``python -m distopt.record.metrics FILE SECONDS``. Its
rows and W have a checksum of their own.
"""

import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from crc32c import crc32c

from distopt.core.arrays import F64
from distopt.core.errors import CheckpointError
from distopt.record.hdf5 import UNREADABLE, attributes, own, require_format, stored
from distopt.record.series import SERIES

FORMAT = 1
SEAL = b"distopt sha256 "  # before the digits and a line feed at the end of a sealed file
SEALED = len(SEAL) + 65
READ_SECONDS = 20  # a child may read for this long, and a second more for each megabyte
START_SECONDS = 300.0  # to start the child on a busy machine
MEMORY = 1 << 30  # bytes of data that a child may have, besides 8 times the file


@dataclass(frozen=True)
class Metrics:
    """The content of a metrics file.

    Attributes
    ----------
    meta : dict
        The attributes of ``/meta`` as they are stored.
    matrix : float64[n, n]
        The mixing matrix W.
    series : dict[str, ndarray[rows]]
        The valid rows, in the order of `SERIES`, each with the type that is stored.
    """

    meta: dict[str, Any]
    matrix: F64
    series: dict[str, np.ndarray]

    def rows(self) -> list[dict[str, Any]]:
        """Return the records one by one."""
        columns = [column.tolist() for column in self.series.values()]
        return [dict(zip(self.series, row, strict=True)) for row in zip(*columns, strict=True)]


def read_metrics(path: Path) -> Metrics:
    """Read a metrics file of a finished, running or interrupted run.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, or of an unknown format.
    """
    try:
        require_seal(path)
        return read_in_child(path) if unfinished(path) else read_here(path)
    except UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as the record of a run: {error}.") from None


def read_here(path: Path) -> Metrics:
    """Read in this process; raises whatever HDF5 does."""
    with h5py.File(path, "r", libver="latest", swmr=unfinished(path)) as file:
        group = own(file, "meta", h5py.Group)
        meta = attributes(group)
        require_format(path, meta.get("format"), FORMAT)
        found = own(file, "series", h5py.Group)
        rows, width = int(found.attrs["rows"]), index(meta.get("repeats", 1))
        # Earlier versions wrote no checksum. A writer killed between the two leaves `rows` behind.
        count, total = found.attrs.get("checked", (rows, None))
        if not 0 <= rows <= count:
            raise ValueError(f"it claims {rows} rows, but has {count}")
        series, there = {}, set(found)
        for name in SERIES.sort(there):
            data = stored(found, name, count)
            wanted = (width,) if SERIES[name].by_run else ()
            if data.shape[1:] != wanted or data.dtype.kind not in "iuf":
                raise ValueError(f"{name} does not hold one number a row and run")
            series[name] = data[:count]
        matrix = stored(group, "W")[()]
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind != "f":
            raise ValueError("W is not a square matrix")
        whole = there == set(series)  # what a later version wrote may have further series
        if whole and total not in (None, checksum(series, matrix_sum(matrix))):
            raise ValueError("its rows do not match their checksum")
        return Metrics(meta, matrix, series)


def unfinished(path: Path) -> bool:
    """Whether the mark of single-writer mode is set: the writer is at work, or died.

    Only such files are opened in that mode, for there HDF5 waits for damaged metadata to become
    whole, and doubles its waiting time a hundred times.
    """
    with path.open("rb") as file:
        return file.read(12)[11:] == b"\x05"  # the flags of the superblock


def checksum(columns: Mapping[str, np.ndarray], before: int) -> int:
    """Continue a CRC-32C by rows : float64 or int64[rows, ...] of series, names in alphabetical order."""
    parts = [columns[name] for name in sorted(columns)]
    if not parts or not len(parts[0]):
        return before
    parts = [part.reshape(len(part), -1) for part in parts]
    whole = np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts], axis=1)
    return int(crc32c(whole.reshape(-1).data, before))


def matrix_sum(matrix: F64) -> int:
    """Return the CRC-32C of W, where that of the rows begins."""
    return int(crc32c(np.ascontiguousarray(matrix, np.float64).reshape(-1).view(np.uint8).data))


def seal(content: bytes) -> bytes:
    """Return the content of a file with its SHA-256 behind it, where HDF5 does not look."""
    return content + seal_of(content)


def seal_of(content: bytes | memoryview) -> bytes:
    """Return the end of a sealed file."""
    return SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"


def require_seal(path: Path) -> None:
    """Raise ValueError if a file is sealed and not as it was then."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - SEALED, 0))
        if file.read(len(SEAL)) != SEAL:
            return
        file.seek(0)
        content = file.read(size)
    if seal_of(memoryview(content)[:-SEALED]) != content[-SEALED:]:
        raise ValueError("it does not match its own checksum")


def read_in_child(path: Path) -> Metrics:
    """Read in another process, whose time and memory are limited."""
    seconds = READ_SECONDS + (path.stat().st_size >> 20)
    command = [sys.executable, "-m", "distopt.record.metrics", str(path), str(seconds)]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | threads,
            timeout=START_SECONDS + seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError("a process that reads it did not start") from None
    if child.returncode == -signal.SIGALRM:
        raise ValueError(f"HDF5 came to no end within {seconds} s")
    if child.returncode < 0:
        raise ValueError(f"HDF5 crashed ({signal.Signals(-child.returncode).name})")
    if child.returncode:
        raise ValueError(child.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    return unpacked(child.stdout)


def packed(found: Metrics) -> bytes:
    """Write what was read as arrays; numbers and texts of /meta keep their types."""
    arrays = {f"meta/{key}": np.asarray(value) for key, value in found.meta.items()}
    arrays |= {f"series/{name}": column for name, column in found.series.items()}
    content = io.BytesIO()
    np.savez(content, matrix=found.matrix, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def unpacked(content: bytes) -> Metrics:
    """Read what `packed` wrote."""
    meta, series = {}, {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "meta":
                meta[name] = str(array) if array.dtype.kind == "U" else array[()]
            elif kind == "series":
                series[name] = array
        return Metrics(meta, arrays["matrix"], series)


def main(path: Path, seconds: int) -> None:
    """Read a file for the parent, within limits; an error is the last line of standard error."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = MEMORY + 8 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.alarm(seconds)  # ends this process even inside HDF5
    try:
        found = read_here(path)
    except (*UNREADABLE, CheckpointError) as error:
        sys.exit(str(error) or type(error).__name__)
    sys.stdout.buffer.write(packed(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
