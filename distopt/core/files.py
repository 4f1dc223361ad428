"""Find a configuration's files, write our own whole, say why one cannot be read or written."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from distopt.core.errors import DataError, DistoptError

FEW = 4  # files for which the disk is asked one by one; of more,
AT_ONCE = 32  # so many together


def locate(file: str, folder: Path) -> Path:
    """Find a file of the configuration: beside the configuration, else in the current folder.

    A file that is in neither is taken beside the configuration, where the error will name it.
    """
    path = Path(file).expanduser()
    beside = folder / path
    return (path if not beside.exists() and path.exists() else beside).absolute()


def slug(label: str) -> str:
    """Make a folder name of a label.

    >>> slug("cgt1, 2 bits (dithered)")
    'cgt1-2-bits-dithered'
    """
    return re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.") or "variant"


def reason(error: Exception) -> str:
    """Say why a file cannot be read or written, without repeating its name."""
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")


def read_text(path: Path, key: str) -> str:
    """Read a text in UTF-8, with or without a byte order mark; `key` names the file in sentences."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        why = reason(error)
    except UnicodeDecodeError as error:
        why = not_utf8(error)
    raise DataError(f'{key} = "{path}" cannot be read: {why}.')


def not_utf8(error: UnicodeDecodeError) -> str:
    """Say why bytes are no text in UTF-8."""
    content = error.object
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "it is text in UTF-16; save it as UTF-8"
    what = "binary data" if b"\0" in content[:4096] else "text in another encoding"
    return f"it is {what}, not text in UTF-8 (byte {error.start} is 0x{content[error.start]:02x})"


def unwritable(path: Path, error: Exception) -> DistoptError:
    """Make the sentence about a file that cannot be written."""
    return DistoptError(f"{path} cannot be written: {reason(error)}.")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replaced(
    path: Path,
    *,
    durable: bool = False,
    refusal: Callable[[Path, Exception], DistoptError] = unwritable,
) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes `path` once the block is over.

    So a reader, also after a crash, finds the old file or the new one, each whole.

    Parameters
    ----------
    path : Path
        Its folder is created if needed.
    durable : bool
        Whether the new file must also outlive a power failure.
    refusal : callable
        Makes the error if the system refuses.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            synchronize(temporary)
        temporary.replace(path)
        if durable:
            synchronize(path.parent)
    except OSError as error:
        raise refusal(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def replaced_together(
    refusal: Callable[[Path, Exception], DistoptError] = unwritable,
) -> Iterator[Callable[[Path], Path]]:
    """Give a function that gives temporary names; those files become theirs, durably, after the block.

    The disk is asked for many at once, which takes a small part of the time of one after the other.
    """
    temporary: dict[Path, Path] = {}
    with ExitStack() as files:

        def begin(path: Path) -> Path:
            temporary[path] = files.enter_context(replaced(path, refusal=refusal))
            return temporary[path]

        yield begin
        synchronize_all(temporary.values(), refusal)
    synchronize_all({path.parent for path in temporary}, refusal)


def synchronize_all(
    paths: Collection[Path], refusal: Callable[[Path, Exception], DistoptError]
) -> None:
    """Wait until files, or the names in folders, are on the disk."""

    def wait(path: Path) -> None:
        try:
            synchronize(path)
        except OSError as error:
            raise refusal(path, error) from None

    if len(paths) <= FEW:
        for path in paths:
            wait(path)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(wait, paths))


def write_whole(
    path: Path,
    content: bytes,
    *,
    durable: bool = False,
    refusal: Callable[[Path, Exception], DistoptError] = unwritable,
) -> None:
    """Write a file so that it is there whole or not at all (see `replaced`)."""
    with replaced(path, durable=durable, refusal=refusal) as temporary:
        temporary.write_bytes(content)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, which is created if needed; return their paths."""
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def synchronize(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_json(item: Any, indent: int | None = None) -> str:
    """Write an item as JSON, which knows no infinity and no nan: null stands for both.

    >>> as_json({"a": [1.0, float("nan")]})
    '{"a": [1.0, null]}'
    """
    return json.dumps(_finite(item), indent=indent, allow_nan=False, default=str)


def _finite(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item
