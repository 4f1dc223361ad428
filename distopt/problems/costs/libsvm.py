"""LIBSVM text files, read in two passes: labels and sizes first, then the requested rows only.

A line is ``label index:value index:value ...`` with ascending indices from 1; ``#`` starts a
comment. Files may be compressed (.gz, .bz2).
"""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distopt.core.arrays import F64, I64
from distopt.core.errors import DataError
from distopt.core.files import not_utf8, reason

SPARSE = 0.1  # share of stored entries below which rows stay sparse


class Scan(NamedTuple):
    """What the first pass keeps: one number or two per sample, no features."""

    labels: F64
    lines: I64  # line number of each sample, from 1
    features: int  # largest index


class Libsvm:
    """The samples of a LIBSVM file.

    Parameters
    ----------
    path : Path
    features : int, optional
        Number of features, where it is more than the largest index in the file.
    """

    def __init__(self, path: Path, features: int | None = None) -> None:
        self.path = path
        scanned = scan(path, *stamp(path))
        self.labels, self._lines = scanned.labels, scanned.lines
        self.features = features or scanned.features
        if self.features < scanned.features:
            raise DataError(
                f"problem.features = {features} is too small for {path}, whose largest index is "
                f"{scanned.features}; accepted: at least that."
            )

    def rows(self, index: I64) -> Any:
        from scipy.sparse import csr_array

        lines = self._lines[index].tolist()
        found: dict[int, tuple[list[int], list[float]]] = {}
        wanted = set(lines)
        for number, text in samples(self.path):
            if number in wanted:
                found[number] = parse_features(self.path, number, text)
                if len(found) == len(wanted):
                    break
        columns, values = zip(*(found[number] for number in lines), strict=True)
        ends = np.cumsum([0, *map(len, columns)])
        table = csr_array(
            (list(chain(*values)), list(chain(*columns)), ends), shape=(index.size, self.features)
        )
        return table if table.nnz < SPARSE * index.size * self.features else table.toarray()

    def moments(self) -> tuple[F64, F64]:
        return moments(self.path, self.features, *stamp(self.path))


@lru_cache(maxsize=4)
def scan(path: Path, size: int, changed: int) -> Scan:
    """Read labels and largest index; `size` and `changed` tell the file's versions apart."""
    labels, lines, features = [], [], 0
    for number, text in samples(path):
        label, _, rest = text.partition(" ")
        try:
            value = float(label)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise wrong(path, number, f'the label "{label[:40]}" is not a finite number')
        last = rest.rpartition(" ")[2]
        if last:
            # Indices ascend, so the last one is the largest; the other entries are left for later.
            columns, _ = parse_features(path, number, f"0 {last}")
            features = max(features, columns[-1] + 1)
        labels.append(value)
        lines.append(number)
    if not labels:
        raise DataError(f'{path} holds no sample; accepted: lines such as "+1 3:0.5 7:1".')
    return Scan(np.array(labels), np.array(lines, np.int64), features)


@lru_cache(maxsize=4)
def moments(path: Path, features: int, size: int, changed: int) -> tuple[F64, F64]:
    """Accumulate mean and standard deviation of the features in one pass, two vectors of memory."""
    total, square, count = np.zeros(features), np.zeros(features), 0
    for number, text in samples(path):
        columns, values = parse_features(path, number, text)
        total[columns] += values
        square[columns] += np.square(values)
        count += 1
    mean = total / count
    return mean, np.sqrt(np.maximum(square / count - mean**2, 0))


def samples(path: Path) -> Iterator[tuple[int, str]]:
    """Iterate over the lines that hold a sample: (line number, text with single spaces)."""
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                text = " ".join(line.partition("#")[0].split())
                if text:
                    yield number, text
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        why = not_utf8(error) if isinstance(error, UnicodeDecodeError) else reason(error)
        raise DataError(f"{path} cannot be read as a LIBSVM file: {why}.") from None


def parse_features(path: Path, number: int, text: str) -> tuple[list[int], list[float]]:
    """Read the ``index:value`` entries of a line: columns from 0, ascending, and values."""
    columns: list[int] = []
    values: list[float] = []
    for entry in text.split(" ")[1:]:
        index, colon, value = entry.partition(":")
        try:
            column, read = int(index) - 1, float(value)
        except ValueError:
            colon = ""
            column, read = 0, 0.0
        if not colon or not np.isfinite(read):
            raise wrong(path, number, f'"{entry[:40]}" is not index:value with finite numbers')
        if column < 0:
            raise wrong(path, number, f"the index {index} is below 1")
        if columns and column <= columns[-1]:
            raise wrong(path, number, f"the index {index} does not ascend")
        columns.append(column)
        values.append(read)
    return columns, values


def wrong(path: Path, number: int, what: str) -> DataError:
    """Make the error that names file and line."""
    return DataError(f'{path}, line {number}: {what}; accepted: lines such as "+1 3:0.5 7:1".')


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f'problem.dataset = "{path}" cannot be read: {reason(error)}.') from None
    return status.st_size, status.st_mtime_ns
