"""``distopt report``: a page and figures of a run."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from distopt.cli import options


def report(
    runs: Annotated[list[Path], Argument(metavar="RUN_DIR...", help="Run directories.")],
    debug: options.Debug = False,
) -> None:
    """Write a self-contained report.html and PNG figures into run directories."""
    from distopt.show.report import write_reports

    for page in write_reports(runs):
        typer.echo(page)
