"""``distopt export``: the results of runs as data, a LaTeX table, or a figure."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from distopt.cli import options
from distopt.core.errors import ConfigError

Kind = StrEnum("Kind", ["csv", "parquet", "json", "latex", "svg", "pdf", "png"])
TEXT = {Kind.csv, Kind.json, Kind.latex}  # may go to standard output


def export(
    runs: Annotated[
        list[Path],
        Argument(metavar="RUN_DIR... | SUITE", help="Runs, a suite's folder, or its file."),
    ],
    kind: Annotated[
        Kind | None,
        Option(
            "--format",
            help="csv, json, parquet: every record of every run. latex: the table of the comparison. "
            "svg, pdf, png: a figure.",
            show_default="as FILE ends",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="File to write.", show_default="standard output, or RUN.FORMAT"
        ),
    ] = None,
    x: Annotated[
        list[str],
        Option(
            metavar="X",
            help="Of a figure: iterations, bytes, wire bytes, seconds, gradients or a series; repeated, "
            "a panel each.",
        ),
    ] = ["bytes"],
    y: Annotated[
        str, Option(metavar="Y", help="Of a figure: a series, or gap (objective above the best).")
    ] = "stationarity",
    size: Annotated[
        str, Option(metavar="SIZE", help="Of a figure: one-column or two-column.")
    ] = "one-column",
    style: Annotated[
        str | None,
        Option(
            metavar="STYLE", help="A style of matplotlib, by name or file: fonts, LaTeX, colours."
        ),
    ] = None,
    torch: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Write the trained model of a run as a state dict: FILE.pt or FILE.safetensors.",
            show_default=False,
        ),
    ] = None,
    accuracies: Annotated[
        list[float] | None, Option("--accuracy", metavar="P", help="Of the table.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Write the results of runs as data, a LaTeX table, a figure for a paper, or a trained model."""
    if torch is not None:
        write_model(runs, torch)
        return
    kind = kind or kind_of(out)
    from distopt.core.files import write_whole
    from distopt.show.export import export as export_as
    from distopt.show.export import gather

    content = export_as(gather(runs, accuracies), kind, x, y, size, style)
    if out is None and kind in TEXT:
        typer.echo(content.decode(), nl=False)
        return
    path = out or Path(f"{runs[0].resolve().stem}.{kind}")
    write_whole(path, content)
    typer.echo(path)


def write_model(runs: list[Path], path: Path) -> None:
    """Write the model of one run, and say what is not in it."""
    if len(runs) != 1:
        raise ConfigError(f"--torch writes the model of one run, not of {len(runs)}.")
    from distopt.show.models import write_state

    missing = write_state(runs[0], path)
    typer.echo(path)
    if missing:
        typer.echo(
            f"Constants of the module are not in it ({', '.join(missing)}): load_state_dict(..., "
            "strict=False) keeps the module's own.",
            err=True,
        )


def kind_of(out: Path | None) -> Kind:
    """Return the format that a file's name says."""
    ending = out.suffix.lstrip(".").lower() if out else ""
    known = {str(kind): kind for kind in Kind} | {"tex": Kind.latex}
    if ending not in known:
        raise ConfigError(
            f"What shall be written? Give --format ({', '.join(Kind)}), or --out FILE with such an ending."
        )
    return known[ending]
