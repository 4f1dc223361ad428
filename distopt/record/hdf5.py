"""HDF5 on a disk that may be full or gone, and files of named arrays."""

import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distopt.core.errors import CheckpointError, DistoptError
from distopt.core.files import reason, replaced, unwritable
from distopt.record.series import Series

# What h5py raises if the operating system refuses a write, depending on the call.
REFUSED = (OSError, RuntimeError)


def write_arrays(
    path: Path,
    arrays: Mapping[str, Any],
    attributes: Mapping[str, Any],
    described: Mapping[str, Series] | None = None,
    *,
    durable: bool = False,
    refusal: Callable[[Path, Exception], DistoptError] = unwritable,
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
    durable, refusal
        As for `distopt.core.files.replaced`.
    """
    described = described or {}
    with (
        replaced(path, durable=durable, refusal=refusal) as temporary,
        Patient(temporary) as target,
    ):
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
            arrays[name] = item.asstr()[()] if item.dtype.kind == "O" else item[()]

    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            require_format(path, attributes.get("format"), version)
            file.visititems(take)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be read as {what}: {error}.") from None
    return arrays, attributes


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
        f"{path} cannot be written: {words}. Everything saved before is intact; `distopt resume` "
        "continues from there once this is fixed."
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
