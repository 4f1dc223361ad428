"""The table that every study ends in: columns with name, unit and meaning, rows of plain values, notes.

`distopt.show.render` is the one place that writes it: for a terminal, as HTML, JSON, CSV, Markdown or
LaTeX.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from distopt.core import units

Row: TypeAlias = Mapping[str, Any]
MISSING = "-"  # how a missing value is written


def write_plain(value: Any) -> str:
    """Write a value that has no unit.

    >>> [write_plain(v) for v in ("gt", 3, 0.12345, 1e-9, True)]
    ['gt', '3', '0.123', '1e-09', 'yes']
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_count(value: float) -> str:
    """Write a whole number, which a median may have made a half.

    >>> write_count(120.0), write_count(12.5)
    ('120', '12')
    """
    return f"{value:.0f}"


WRITERS: Mapping[str, Callable[[Any], str]] = {
    "B": units.nbytes,
    "s": units.seconds,
    "%": units.share,
    "bit/s": units.rate,
}


@dataclass(frozen=True)
class Column:
    """One quantity of a table.

    A column with `join` shares the cell of the one before, behind this separator, where cells may hold
    several values: everywhere but in JSON, CSV and LaTeX.
    """

    key: str  # of the rows, and the name in JSON and CSV
    header: str  # what people read
    unit: str = ""  # of the values as they stand in the rows; "%": they are shares of 1
    meaning: str = ""  # one sentence, for JSON and for readers who wonder
    write: Callable[[Any], str] | None = None  # a value for people; None: as the unit has it
    under: str = ""  # title above neighbours that belong together, such as an accuracy
    join: str = ""
    marks: Mapping[str, str] | None = None  # patterns such as "{}*", by the key that must be true
    shown: bool = True  # to people; JSON and CSV have every column
    words: bool = False  # whether the values are words, set to the left
    paper: bool = True  # whether LaTeX has it as well

    def text(self, row: Row) -> str:
        """Write the value of a row for people."""
        value = row.get(self.key)
        if value is None:
            return MISSING
        written = (self.write or WRITERS.get(self.unit, write_plain))(value)
        for key, pattern in (self.marks or {}).items():
            if row.get(key):
                written = pattern.format(written, row[key])
        return written


@dataclass(frozen=True)
class Results:
    """A table."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]  # values by key; one that is absent or None is unknown
    notes: Sequence[str] = ()  # sentences that belong under it
    screen_notes: Sequence[str] = ()  # those of them that LaTeX leaves out
    paper_notes: Sequence[str] = ()  # sentences that only LaTeX has

    @classmethod
    def of_words(cls, title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Self:
        """Make a table of texts, whose headers are its keys."""
        columns = [Column(header, header) for header in headers]
        return cls(title, columns, [dict(zip(headers, row, strict=True)) for row in rows])

    @property
    def shown(self) -> list[Column]:
        """The columns that people see."""
        return [column for column in self.columns if column.shown]
