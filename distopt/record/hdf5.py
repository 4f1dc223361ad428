"""HDF5 on a disk that may be full or gone, and files of named arrays."""

import io
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distopt.core.errors import CheckpointError
from distopt.core.files import reason, replaced
from distopt.record.series import Series

# What h5py raises if the operating system refuses a write, depending on the call.
REFUSED = (OSError, RuntimeError)
CACHE = 2**16  # bytes of chunks that HDF5 keeps in memory for each series; 1 MiB by default
# What it raises for a file that is damaged, or was made to do harm.
UNREADABLE = (
    *REFUSED, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError
)  # fmt: skip


def write_arrays(
    path: Path,
    arrays: Mapping[str, Any],
    attributes: Mapping[str, Any],
    described: Mapping[str, Series] | None = None,
) -> None:
    """Write a file of named arrays, whole or not at all.

    Parameters
    ----------
    path : Path
    arrays : Mapping[str, array_like]
        A name with a slash, ``"points/x"``, is the array x of the group points.
    attributes : Mapping[str, Any]
        Of the file.
    described : Mapping[str, Series], optional
        Units and descriptions of some of the arrays, and the type to store.
    """
    with replaced(path) as temporary:
        write_data(temporary, arrays, attributes, described)


def write_data(
    path: Path,
    arrays: Mapping[str, Any],
    attributes: Mapping[str, Any],
    described: Mapping[str, Series] | None = None,
) -> None:
    """Write a file as `write_arrays` does; `OSError` if the system refuses."""
    described = described or {}
    with Patient(path) as target:
        with h5py.File(target, "w") as file:
            for name, array in arrays.items():
                known, values = described.get(name), np.asarray(array)
                kind = h5py.string_dtype() if values.dtype.kind == "U" else None
                data = file.create_dataset(
                    name, data=array if kind else values, dtype=known.dtype if known else kind
                )
                if known:
                    data.attrs["units"] = known.units
                    data.attrs["description"] = known.description
            file.attrs.update(attributes)
        if target.refused:
            raise target.refused


def read_arrays(
    path: Path, what: str, version: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_arrays` wrote: arrays and attributes.

    `what` names the file's content in errors; its attribute "format" must be `version`.
    """
    arrays: dict[str, np.ndarray] = {}

    def take(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            data = stored(file, name)
            arrays[name] = data.asstr()[()] if data.dtype.kind == "O" else data[()]

    try:
        with h5py.File(path, "r") as file:
            found = attributes(file)
            require_format(path, found.get("format"), version)
            file.visititems(take)  # never follows a link
    except UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as {what}: {error}.") from None
    return arrays, found


def own(group: h5py.Group, name: str, kind: type[h5py.HLObject]) -> Any:
    """Return a group or data set of a group; raise TypeError if it is not in this very file."""
    here = isinstance(group.get(name, getlink=True), h5py.HardLink)
    item = group[name] if here else None
    if not isinstance(item, kind):
        raise TypeError(f"it has no {kind.__name__.lower()} {name} of its own")
    return item


def stored(group: h5py.Group, name: str, rows: int | None = None) -> h5py.Dataset:
    """Return a data set that is safe to read, or to read up to a row.

    Raises
    ------
    TypeError or ValueError
        If it is in another file, has fewer rows, or claims more bytes than the file has.
    """
    data: h5py.Dataset = own(group, name, h5py.Dataset)
    if data.external or data.is_virtual:
        raise ValueError(f"the numbers of {name} are in another file")
    shape = data.shape
    if rows is not None:
        if not shape or not 0 <= rows <= shape[0]:
            raise ValueError(f"{name} does not have {rows} rows")
        shape = (rows, *shape[1:])
    claimed = math.prod(shape) * data.dtype.itemsize
    if claimed > os.fstat(group.file.id.get_vfd_handle()).st_size:
        raise ValueError(f"{name} claims {claimed} bytes, more than the file has")
    return data


def attributes(group: h5py.Group) -> dict[str, Any]:
    """Read attributes; raise ValueError unless each is a text or a number."""
    found = dict(group.attrs)
    for name, value in found.items():
        number = isinstance(value, np.generic) and value.dtype.kind in "biuf"
        if not (number or isinstance(value, str)):
            raise ValueError(f"its attribute {name} is neither a text nor a number")
    return found


def require_format(path: Path, found: Any, version: int) -> None:
    """Raise `CheckpointError` unless a file has the format that this version of distopt reads."""
    if found != version:
        raise CheckpointError(
            f"{path} has format {found}, but this version of distopt reads format {version}."
        )


def run_refused(path: Path, error: BaseException) -> CheckpointError:
    """Make the sentence about a file of a run that cannot be written."""
    told = re.search(r"error message = '([^']*)'", str(error))  # HDF5 wraps the system's words
    words = told[1] if told else reason(error)  # type: ignore[arg-type]
    return CheckpointError(
        f"{path} cannot be written: {words}. Everything saved before is intact; once this is fixed, "
        "`distopt resume` continues from the newest checkpoint, if there is one."
    )


def abandon(file: h5py.File) -> None:
    """Close a file whose last write was refused, leaving what is on disk as it is.

    HDF5 would try that write again when the file is closed, and crash at the end of the process; so
    its descriptor is redirected to a device on which every write succeeds.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, file.id.get_vfd_handle())
    os.close(nowhere)
    with suppress(*REFUSED):
        file.close()


def in_memory(path: Path) -> h5py.File:
    """Open a new file in memory, for `move`; on the disk it is empty so far.

    HDF5 writes when it creates objects, changes the mode or closes the file, and crashes, at once or at
    the end of the process, if a disk refuses that.
    """
    file = h5py.File(path, "w", libver="latest", rdcc_nbytes=CACHE)
    turn(file, os.memfd_create("record"))
    return file


def content(file: h5py.File) -> bytes:
    """Read all bytes of an open, flushed file."""
    with os.fdopen(file.id.get_vfd_handle(), "rb", closefd=False) as raw:
        raw.seek(0)
        return raw.read()


def move(file: h5py.File, path: Path) -> None:
    """Put an open, flushed file on the disk; there HDF5 writes to it from now on."""
    path.write_bytes(content(file))
    turn(file, os.open(path, os.O_RDWR))


def closed(file: h5py.File) -> bytes:
    """Close a flushed file in memory; return what it is then. The disk keeps the file as it was."""
    memory = os.memfd_create("record")
    with os.fdopen(os.dup(memory), "w+b") as raw:
        raw.write(content(file))
        raw.flush()
        turn(file, memory)
        file.close()
        raw.seek(0)
        return raw.read()


def turn(file: h5py.File, descriptor: int) -> None:
    """Let HDF5 go on with another file of the same content."""
    os.dup2(descriptor, file.id.get_vfd_handle())
    os.close(descriptor)


class Patient(io.FileIO):
    """A new file that HDF5 can write through (``h5py.File(file, "w")``) and that never refuses.

    It keeps the first refusal in `refused`, and drops this and all later writes: HDF5 cannot stop in the
    middle of a file without crashing at the end of the process.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self.refused: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of `content`."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        while self.refused is None and len(rest):
            try:
                rest = rest[super().write(rest) or 0 :]
            except OSError as error:
                self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        if self.refused is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.refused = error
        return size or 0
