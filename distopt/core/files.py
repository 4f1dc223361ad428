"""Files that a configuration names: where they are, what they hold, why they cannot be read."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distopt.core.errors import DistoptError


def locate(file: str, folder: Path) -> Path:
    """Find a file of the configuration: beside the configuration, else in the current folder.

    A file that is in neither is taken beside the configuration, where the error will name it.
    """
    path = Path(file).expanduser()
    beside = folder / path
    return (path if not beside.exists() and path.exists() else beside).absolute()


def reason(error: Exception) -> str:
    """Say why a file cannot be read, without repeating its name."""
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, which takes its place once the block is over.

    Raises
    ------
    DistoptError
        If the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise DistoptError(f"{path} cannot be written: {reason(error)}.") from None
    finally:
        temporary.unlink(missing_ok=True)
