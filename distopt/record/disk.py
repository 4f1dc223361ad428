"""Writing to a disk that may be full or gone."""

import io
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

from distopt.core.errors import CheckpointError

# What h5py raises where the operating system refuses a write, depending on the call.
REFUSED = (OSError, RuntimeError)


def unwritable(path: Path, error: BaseException) -> CheckpointError:
    """Make the sentence about a file that could not be written."""
    told = re.search(r"error message = '([^']*)'", str(error))  # HDF5 wraps the system's words
    reason = told[1] if told else getattr(error, "strerror", None) or str(error)
    return CheckpointError(
        f"{path} cannot be written: {reason}. What was saved before is intact; `distopt resume` goes "
        "on from there once this is mended."
    )


def abandon(file: h5py.File) -> None:
    """Close a file whose last write was refused, leaving what is on disk as it is.

    HDF5 would try that write again when the file is closed, and crash at the end of the process; so
    its descriptor is made to point to where every write succeeds.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, file.id.get_vfd_handle())
    os.close(nowhere)
    with suppress(*REFUSED):
        file.close()


class Patient(io.FileIO):
    """A new file that HDF5 can write through (``h5py.File(file, "w")``) and that never refuses.

    A refused write is remembered in `refused`, and it and all later ones are dropped: HDF5 cannot be
    left in the middle of a file without crashing at the end of the process.
    """

    refused: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")

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
