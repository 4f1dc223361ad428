"""Results that leave the program: records as data, the table of a paper, figures of a paper's size."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import matplotlib.style

from distopt.core.errors import CheckpointError, ConfigError, DistoptError
from distopt.record.series import SERIES
from distopt.show import render
from distopt.show.figures import saved
from distopt.show.plot import SEEN_ALONE, paper_figure
from distopt.studies.compare import Comparison, compare, compare_folders, compare_suite
from distopt.studies.comparison_table import tabulate
from distopt.studies.results import Column, Results
from distopt.studies.suite import load_suite

FIGURES = ("svg", "pdf", "png")
DATA: Mapping[str, Callable[[Results], str | bytes]] = {
    "csv": render.to_csv,
    "json": render.to_json,
    "parquet": render.to_parquet,
}
LONG = {"bits_per_coordinate", "end", "seconds", "seconds_diagnostics"}


def gather(paths: Sequence[Path], accuracies: Sequence[float] | None) -> Comparison:
    """Read runs, a suite's folder, or the runs of a suite's file, where `distopt compare` puts them.

    Raises
    ------
    CheckpointError
        If there is no run.
    """
    if len(paths) > 1 or paths[0].suffix != ".toml":
        return compare_folders(paths, accuracies)
    folder = Path("runs") / paths[0].stem
    suite = load_suite(paths[0], [], folder)
    found = compare_suite(replace(suite, accuracies=tuple(accuracies or suite.accuracies)), {})
    if not any(variant.histories for variant in found.variants):
        raise CheckpointError(
            f"{folder} holds no run of {paths[0]}: run `distopt compare {quote(str(paths[0]))}` first, "
            "or name the folder of its runs."
        )
    return found


def export(
    c: Comparison,
    format: str,
    xs: Sequence[str] = ("bytes",),
    y: str = "stationarity",
    size: str = "one-column",
    style: str | None = None,
) -> bytes:
    """Write runs in a format: all records (csv, json, parquet), the table (latex), or a figure.

    `xs` (a panel each), `y`, `size` and `style` (a style sheet of matplotlib, by name or file) are for
    figures; see `plot`.

    Raises
    ------
    DistoptError
        If a run lacks the series, a style is unknown, or a package that writes the format is missing.
    """
    if format in DATA:
        content = DATA[format](records(c))
        return content if isinstance(content, bytes) else f"{content}\n".encode()
    if format == "latex":
        return f"{render.to_latex(paper_table(c))}\n".encode()
    groups = {v.label: v.histories for v in c.variants}
    try:
        with matplotlib.style.context(style or []):
            return saved(paper_figure(groups, xs, y, size=size), format)
    except OSError as error:
        raise ConfigError(f"--style {style} cannot be used: {error}.") from None
    except RuntimeError as error:  # of LaTeX, under text.usetex; its log is long
        found = re.search(r"^! (.*)$", str(error), re.MULTILINE)
        why = found[1] if found else str(error).partition("\n")[0]
        raise DistoptError(f"The figure cannot be set with LaTeX: {why.rstrip('.')}.") from None


def records(c: Comparison) -> Results:
    """Tabulate the series of all runs, a row for every record."""
    runs = [(v.label, run.seed, run.history) for v in c.variants for run in v.runs if run.history]
    names = {name for _, _, run in runs for name in run.series} - SEEN_ALONE
    columns = [Column("variant", "variant"), Column("seed", "seed", meaning="of the suite")]
    columns += [
        Column(name, name, known.units if known.units != "1" else "", known.description)
        for name, known in ((name, SERIES[name]) for name in SERIES.sort(names))
    ]
    rows: list[dict[str, Any]] = []
    for label, seed, run in runs:
        series = {
            name: (values.astype(int) if SERIES[name].dtype == "i8" else values).tolist()
            for name, values in run.series.items()
            if name in names
        }
        rows += (
            {"variant": label, "seed": seed} | dict(zip(series, row, strict=True))
            for row in zip(*series.values(), strict=True)
        )
    return Results(c.title, columns, rows)


def paper_table(c: Comparison) -> Results:
    """Tabulate what fits the width of a page: one accuracy, the finest that any run reached."""
    reached = [e.accuracy for v in c.variants for e in v.efforts if e.reached]
    runs = [run for v in c.variants for run in v.runs]
    one = compare(runs, [min(reached or c.accuracies)], c.baseline, c.title)
    table = tabulate(replace(one, references={}))[0]  # without the shares of the best
    columns = [
        replace(column, shown=column.shown and column.key.partition("_to_")[0] not in LONG)
        for column in table.columns
    ]
    return replace(table, columns=columns)
