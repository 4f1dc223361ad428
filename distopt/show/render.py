"""Write a `Results` table: for a terminal, as HTML, JSON, CSV, Markdown or LaTeX.

People get the columns that are shown, values with their units; columns that are joined share a cell.
JSON and CSV have every column and the values as they are. LaTeX (booktabs) has a column for every
quantity that is shown and belongs on paper, its unit in the header.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby, zip_longest
from textwrap import wrap
from typing import TypeAlias

from rich.console import Console, JustifyMethod
from rich.table import Table

from distopt.core import units
from distopt.core.errors import optional
from distopt.core.files import as_json
from distopt.studies.results import MISSING, Column, Results, Row, write_count

Cell: TypeAlias = list[Column]  # the columns that share one cell
WORDS = ' class="words"'  # set to the left
LINE = 345.0  # width of a line of the class article, in pt
NARROW = 5  # columns of a LaTeX table in the type of the text; more are set closer
JOINS = {", "}  # become lines where a terminal is narrow
NARROW_WORDS = 20  # letters of a line of words there
RANGES = RANGE, DASH = " to ", "--"  # join the two ends of a range


def cells_of(results: Results) -> list[Cell]:
    """Put the columns that are joined together."""
    cells: list[Cell] = []
    for column in results.shown:
        if column.join and cells:
            cells[-1].append(column)
        else:
            cells.append([column])
    return cells


def heading(cell: Cell) -> str:
    """Write the header of a cell; its first line is the title above its columns."""
    title = cell[0].under + "\n" * bool(cell[0].under)
    return title + joined(cell, [column.header for column in cell])


def content(cell: Cell, row: Row) -> str:
    """Write a cell; of values that are all unknown one mark is enough, of a range without width one end."""
    texts = [column.text(row) for column in cell]
    for at, column in enumerate(cell):
        if column.join in RANGES and texts[at] == texts[at - 1]:
            texts[at] = ""
    return MISSING if set(texts) == {MISSING} else joined(cell, texts)


def joined(cell: Cell, texts: Iterable[str]) -> str:
    """Join the texts of a cell."""
    whole = ""
    for column, text in zip(cell, texts, strict=True):
        whole += column.join * bool(whole and text) + text
    return whole


# For people


def to_terminal(results: Results, console: Console) -> None:
    """Print a table, in several parts where the terminal is narrow, and its notes."""
    for part in rich_tables(results, console.width):
        console.print(part)
    for note in results.notes:
        console.print(note, style="dim", markup=False)


def texts_of(results: Results, cells: Sequence[Cell]) -> list[list[str]]:
    """Write all cells, row by row; a first one that repeats the one above is left empty."""
    texts = [[content(cell, row) for cell in cells] for row in results.rows]
    firsts = [row[0] for row in texts]
    for row, first, above in zip(texts[1:], firsts[1:], firsts, strict=False):
        row[0] = "" if first == above else first
    return texts


def rich_tables(results: Results, width: int) -> list[Table]:
    """Draw a table; one that is too wide is set narrower, and then in parts, each with the first column."""
    cells = cells_of(results)
    titles, rows = [heading(cell) for cell in cells], texts_of(results, cells)
    if sum(widths := widths_of([titles, *rows])) > width:
        titles = [heading(in_lines(cell, {*JOINS, RANGE})) for cell in cells]
        rows = texts_of(results, [in_lines(cell, JOINS) for cell in cells])
        rows = [
            [wrapped(t) if c[0].words else t for c, t in zip(cells, row, strict=True)]
            for row in rows
        ]
        widths = widths_of([titles, *rows])
    parts: list[list[int]] = [[0]]
    for number in range(1, len(cells)):
        if len(parts[-1]) > 1 and sum(widths[i] for i in parts[-1]) + widths[number] > width:
            parts.append([0])
        parts[-1].append(number)
    several = any("\n" in text for row in rows for text in row)
    tables: list[Table] = []
    for part in parts:
        title = results.title if not tables else None
        table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
        for i in part:
            side: JustifyMethod = "left" if i == 0 or cells[i][0].words else "right"
            table.add_column(titles[i], justify=side, no_wrap=True)
        for row, below in zip_longest(rows, rows[1:]):
            end = several and below is not None and below[0] != ""
            table.add_row(*(row[i] for i in part), end_section=end)
        tables.append(table)
    return tables


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Count the characters that columns take with their borders."""
    return [
        3 + max(len(line) for text in column for line in text.split("\n"))
        for column in zip(*rows, strict=True)
    ]


def in_lines(cell: Cell, joins: Container[str]) -> Cell:
    """Give the values of a cell that are joined so a line each."""
    return [replace(column, join="\n") if column.join in joins else column for column in cell]


def wrapped(text: str) -> str:
    """Break the lines of a cell of words."""
    return "\n".join(part for line in text.split("\n") for part in wrap(line, NARROW_WORDS) or [""])


def to_html(results: Results) -> str:
    """Write the table and its notes; lines of a cell after its first are smaller."""
    cells = cells_of(results)

    def line(tag: str, texts: Iterable[str]) -> str:
        parts = (
            f"<{tag}{WORDS * cell[0].words}>{html_lines(text)}</{tag}>"
            for cell, text in zip(cells, texts, strict=True)
        )
        return f"<tr>{''.join(parts)}</tr>"

    top = line("th", map(heading, cells))
    body = "".join(line("td", row) for row in texts_of(results, cells))
    notes = "".join(f'<p class="remark">{escape(note)}</p>' for note in results.notes)
    table = f"<table><thead>{top}</thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>{notes}'


def html_lines(text: str) -> str:
    """Write one cell."""
    first, *rest = text.split("\n")
    return escape(first) + "".join(f"<br><small>{escape(line)}</small>" for line in rest)


def to_markdown(results: Results) -> str:
    """Write a table as our docs have them: no title, notes as paragraphs below."""
    cells = cells_of(results)
    rows = [[content(c, row) for c in cells] for row in results.rows]
    lines = [
        markdown_row(map(markdown_heading, cells)), "|---" * len(cells) + "|",
        *map(markdown_row, rows),
    ]  # fmt: skip
    return "\n".join([*lines, *(f"\n{note}" for note in results.notes)])


def markdown_heading(cell: Cell) -> str:
    """Write the header of a cell in one line."""
    title = cell[0].under + ": " * bool(cell[0].under)
    return title + joined(cell, [column.header.replace("\n", " ") for column in cell])


def markdown_row(cells: Iterable[str]) -> str:
    """Write one row: a | inside a cell is escaped, its lines are joined by commas."""
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", ", ") for c in cells) + " |"


# For programs


def to_json(results: Results) -> str:
    """Write one JSON object in one line: title, columns, rows, notes."""
    whole = {
        "title": results.title,
        "columns": [
            {"key": c.key, "header": c.header, "unit": c.unit, "meaning": c.meaning}
            for c in results.columns
        ],
        "rows": [{c.key: row.get(c.key) for c in results.columns} for row in results.rows],
        "notes": list(results.notes),
    }
    return as_json(whole)


def to_csv(results: Results) -> str:
    """Write the keys of the columns, then a line for every row; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([c.key for c in results.columns])
    writer.writerows([[row.get(c.key) for c in results.columns] for row in results.rows])
    return text.getvalue().rstrip("\n")


def to_parquet(results: Results) -> bytes:
    """Write a Parquet file, the units of its columns in the attributes of the data frame.

    Raises
    ------
    DistoptError
        If pandas or pyarrow is not installed.
    """
    pandas = optional("pandas", "A Parquet file")
    optional("pyarrow", "A Parquet file")
    keys = [column.key for column in results.columns]
    frame = pandas.DataFrame([[row.get(key) for key in keys] for row in results.rows], columns=keys)
    frame.attrs["units"] = {column.key: column.unit for column in results.columns if column.unit}
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow")
    return buffer.getvalue()


# For papers

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": "$<$", ">": "$>$", "|": r"$|$", "≤": r"$\le$", "≈": r"$\approx$", "µ": r"$\mu$",
    "‖∇f(x̄)‖²": r"$\|\nabla f(\bar x)\|^2$", "x̄": r"$\bar{x}$", "‖": r"$\|$", "∇": r"$\nabla$", "²": "$^2$",
}  # fmt: skip
PATTERN = re.compile("|".join(map(re.escape, sorted(SPECIAL, key=len, reverse=True))))
COMMAND = re.compile(r"\\[a-z]+|[\\${}^]")
EXPONENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d+)\b")
SCALES = {
    "B": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")),
    "%": ((0.01, "%"),),
}


def to_latex(results: Results) -> str:
    """Write a `table` environment for the package booktabs; a wide one is scaled to the line."""
    cells: list[Cell] = []
    # Of joined columns, only the ends of a range share a cell.
    for column in (c for c in results.shown if c.paper):
        if column.join == RANGE and cells:
            cells[-1].append(column)
        else:
            cells.append([column])
    columns = [cell[0] for cell in cells]
    body = [latex_column(cell, results.rows) for cell in cells]
    sides = "".join("l" if i == 0 or c.words else "r" for i, c in enumerate(columns))
    close = [r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"] if len(cells) > NARROW else []
    begin, end, needs = "", "", r"% needs \usepackage{booktabs}"
    if width_of(body, small=bool(close)) > LINE:
        begin, end, needs = r"\resizebox{\linewidth}{!}{", "}", needs[:-1] + ",graphicx}"
    name = re.sub(r"[^a-z0-9]+", "-", results.title.lower()).strip("-") or "results"
    notes = [*(n for n in results.notes if n not in results.screen_notes), *results.paper_notes]
    lines = [
        needs, r"\begin{table}", r"\centering", *close, rf"\caption{{{latex(results.title)}}}",
        rf"\label{{tab:{name}}}", rf"{begin}\begin{{tabular}}{{{sides}}}", r"\toprule",
        *latex_spans(columns), latex_row(column[0] for column in body), r"\midrule",
        *(latex_row(cells) for cells in zip(*(column[1:] for column in body), strict=True)),
        r"\bottomrule", r"\end{tabular}" + end,
        *(rf"\par\smallskip{{\footnotesize {latex(note)}}}" for note in notes),
        r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines)


def width_of(body: Sequence[Sequence[str]], small: bool) -> float:
    """Estimate the width of a table in pt, in the type of the text or in footnotesize."""
    letter, gap = (4.5, 8.0) if small else (5.5, 12.0)
    letters = [max(len(COMMAND.sub("", cell)) for cell in column) for column in body]
    return sum(letter * n + gap for n in letters)


def latex_spans(columns: Sequence[Column]) -> list[str]:
    """Write the titles above neighbouring columns, with a rule under each."""
    if not any(column.under for column in columns):
        return []
    spans, rules, last = [], "", 0
    for title, group in groupby(columns, key=lambda column: column.under):
        first, last = last + 1, last + len(list(group))
        spans.append(rf"\multicolumn{{{last - first + 1}}}{{c}}{{{latex(title)}}}")
        rules += rf"\cmidrule(lr){{{first}-{last}}}" * bool(title)
    return [latex_row(spans), rules]


def latex_column(cell: Cell, rows: Sequence[Row]) -> list[str]:
    """Write header and cells of a column; numbers with a unit are all written in the header's."""
    unit, header = cell[0].unit, joined(cell, [c.header.replace("\n", " ") for c in cell])
    if len(cell) > 1 and cell[0].header.startswith("smallest "):
        header = cell[0].header.replace("smallest", "range of", 1)
    values = [v for c in cell for row in rows if (v := row.get(c.key)) is not None]
    numbers = [abs(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if unit in SCALES and all(isinstance(v, int | float) for v in values):
        scale, unit = scale_of(numbers, SCALES[unit])
        write = write_count if unit == "B" else lambda value: significant(value / scale)
        cell = [replace(column, write=write) for column in cell]
        header = f"{header} [{unit}]"
    cell = [cell[0], *(replace(column, join=DASH) for column in cell[1:])]
    return [latex(header), *(latex(content(cell, row)) for row in rows)]


def scale_of(numbers: Sequence[float], scales: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Choose the unit of a column: the largest value's, or a smaller one if the smallest needs it."""
    largest, small = max(numbers, default=0.0), min(filter(None, numbers), default=0.0)
    at = next((i for i, s in enumerate(scales) if largest >= s[0]), len(scales) - 1)
    while (
        at + 1 < len(scales) and small < 0.1 * scales[at][0] and largest < 1e5 * scales[at + 1][0]
    ):
        at += 1
    return scales[at]


def significant(value: float) -> str:
    """Write three significant digits, zeros at the end as well.

    >>> significant(0.2), significant(1234.0), significant(0.0)
    ('0.200', '1234', '0')
    """
    return f"{value:#.3g}" if 0 < abs(value) < 0.9995 else units.three_digits(value)


def latex_row(cells: Iterable[str]) -> str:
    """Write one row."""
    return " & ".join(cells) + r" \\"


def latex(text: str) -> str:
    r"""Escape a text; numbers such as 1e-6 become powers of ten.

    >>> print(latex("gt_2 & 50 %, P ≤ 1e-6"))
    gt\_2 \& 50 \%, P $\le$ $10^{-6}$
    """
    escaped = PATTERN.sub(lambda found: SPECIAL[found[0]], text.replace("\n", ", "))
    return EXPONENT.sub(power_of_ten, escaped)


def power_of_ten(found: re.Match[str]) -> str:
    """Write a number with an exponent as mathematics."""
    mantissa = "" if found[1] == "1" else rf"{found[1]}\times"
    return f"${mantissa}10^{{{int(found[2])}}}$"


FORMATS: Mapping[str, Callable[[Results], str]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "latex": to_latex,
}
