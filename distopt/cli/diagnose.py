"""``distopt diagnose``: the PL* condition of a network, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distopt.cli import options
from distopt.cli.options import How
from distopt.core.errors import ConfigError
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import limit_threads

if TYPE_CHECKING:
    from rich.table import Table


def diagnose(
    path: Annotated[
        Path,
        typer.Argument(metavar="CONFIG | RUN_DIR", help="A TOML file, or an earlier run."),
    ],
    at: Annotated[
        list[int],
        typer.Option(
            metavar="K",
            help="With CONFIG: run it in this process and measure after K iterations; may be repeated.",
        ),
    ] = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of numbers and figures.",
            show_default="runs/CONFIG-diagnosis or RUN_DIR",
        ),
    ] = None,
    radius: Annotated[
        float,
        typer.Option(
            metavar="R", min=0.0, help="Radius of the ball of the explicit Hessian bound."
        ),
    ] = 0.0,
    held_out: Annotated[
        int, typer.Option("--held-out", metavar="T", min=1, help="Samples kept out of training.")
    ] = 1000,
    outputs: Annotated[
        int, typer.Option(metavar="K", min=1, help="Single outputs whose Hessians are measured.")
    ] = 6,
    dense: Annotated[
        int,
        typer.Option(
            metavar="SIZE", min=0, help="Largest kernel of which all eigenvalues are computed."
        ),
    ] = 4096,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure the PL* condition of a network: at its start, or along a run.

    Tangent kernel, Hessians, PL ratio, radii; numbers in diagnosis.h5, figures beside it.
    """
    how = How(settings, simulate=True, as_json=as_json, quiet=quiet)
    if this_rank() is not None:
        raise ConfigError("diagnose works in one process; start it without mpirun or srun.")
    limit_threads(path if path.is_file() else path / "config.toml", settings)
    from distopt.show import network_figures, tables
    from distopt.show.figures import png
    from distopt.studies import diagnosis

    request = diagnosis.Request(held_out, outputs, dense, radius)
    if path.is_dir():
        if at or settings:
            raise ConfigError(
                "--at and --set are for a CONFIG; of a run its checkpoints are measured "
                "(run.checkpoint_every and run.keep say which there are)."
            )
        place = out or path
        found = diagnosis.diagnose_run(path, request)
    else:
        from distopt.config.build import load_config

        config = load_config(path, settings)
        place = out or Path("runs") / f"{path.stem}-diagnosis"
        found = (
            diagnosis.diagnose_along(config, at, place, request)
            if at
            else diagnosis.diagnose_start(config, request)
        )
    draw = network_figures.along_run if len(found.rows) > 1 else network_figures.at_start
    diagnosis.write_diagnosis(found, place / "diagnosis.h5")
    figures = {"diagnosis.png": draw(found), "recovered.png": network_figures.recovered(found)}
    written = write_files(place, {name: png(figure) for name, figure in figures.items()})
    deliver_table(
        tables.of_diagnosis(found), [place / "diagnosis.h5", *written], found.to_json(), how
    )


def write_files(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    """Write files into a folder, which may have to be made; return their paths."""
    from distopt.core.files import write_whole

    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def deliver_table(
    tables: "tuple[list[Table], list[str]]", written: list[Path], result: dict[str, Any], how: How
) -> None:
    """Print tables with the sentences under them, or one JSON object."""
    from distopt.show import console

    if how.as_json:
        console.write_json(result | {"files": [str(path) for path in written]})
    elif not how.quiet:
        terminal = console.output()
        for table in tables[0]:
            terminal.print(table)
        for sentence in tables[1]:
            terminal.print(sentence, style="dim", markup=False)
        terminal.print(f"written: {', '.join(map(str, written))}", markup=False)
