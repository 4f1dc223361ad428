"""Comparisons, reports and exports of run folders, by the code of the command line."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distopt.core.errors import ConfigError
from distopt.record.reader import load
from distopt.show.links import draw, links_of, spoken
from distopt.show.render import to_html
from distopt.show.report import report_page
from distopt.show.run_figures import of_run
from distopt.studies.best import best_minima
from distopt.studies.compare import compare_folders
from distopt.studies.comparison_table import tabulate
from distopt.studies.results import Results

FORMATS = ("csv", "json", "parquet", "latex", "svg", "pdf", "png")


def compare(folders: Sequence[str], accuracies: Sequence[float] | None) -> dict[str, Any]:
    """Compare runs: all numbers, and the tables as people read them."""
    found = compare_folders([Path(folder) for folder in folders], accuracies)
    tables = tabulate(found)
    return found.to_json() | {
        "tables": [{"title": table.title, "html": to_html(table)} for table in tables],
        "notes": [note for table in tables for note in notes(table)],
    }


def notes(table: Results) -> list[str]:
    """Return the sentences under a table."""
    return [*table.notes, *table.screen_notes]


def export(folders: Sequence[str], format: str, x: Sequence[str], y: str) -> str:
    """Write runs in one of `FORMATS`; return the file's content in base 64."""
    from distopt.show.export import export as export_as
    from distopt.show.export import gather

    if format not in FORMATS:
        raise ConfigError(f'format = "{format}" is not known. Accepted: {", ".join(FORMATS)}.')
    content = export_as(gather([Path(folder) for folder in folders], None), format, x, y)
    return b64encode(content).decode()


def graph(folder: str, drawn: bool, alone: bool) -> dict[str, Any]:
    """Describe the graph of one run, and draw it if asked to (see `distopt.show.links`)."""
    links = links_of(Path(folder))
    svg = draw(links, alone) if drawn else ""
    return links.to_json() | {"words": spoken(links), "svg": svg}


def report(folder: str) -> str:
    """Write the page of one run."""
    run = load(Path(folder))
    return report_page(run, of_run(run, *best_minima([run])))
