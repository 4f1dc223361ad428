"""``distopt diagnose``: the PL* condition of a network, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How
from distopt.core.errors import ConfigError

if TYPE_CHECKING:
    from distopt.studies.diagnosis import Diagnosis, Request


def diagnose(
    path: Annotated[
        Path, Argument(metavar="CONFIG | RUN_DIR", help="A TOML file, or an earlier run.")
    ],
    at: Annotated[
        list[int],
        Option(
            metavar="K",
            help="With CONFIG: run it in this process and measure at iteration K too; may be repeated.",
        ),
    ] = [],
    settings: options.Settings = [],
    code: options.Code = [],
    out: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Folder for results and figures.",
            show_default="runs/CONFIG-diagnosis or RUN_DIR",
        ),
    ] = None,
    radius: Annotated[
        float,
        Option(metavar="R", min=0.0, help="Radius of the ball of the explicit Hessian bound."),
    ] = 0.0,
    held_out: Annotated[
        int,
        Option("--held-out", metavar="T", min=1, help="Number of samples kept out of training."),
    ] = 1000,
    outputs: Annotated[
        int,
        Option(metavar="K", min=1, help="Number of single outputs whose Hessians are measured."),
    ] = 6,
    dense: Annotated[
        int,
        Option(metavar="SIZE", min=0, help="Largest kernel whose eigenvalues are all computed."),
    ] = 4096,
    as_json: options.AsJson = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure the PL* condition of a network: at its start, or along a run.

    Tangent kernel, Hessians, PL ratio, radii; numbers in diagnosis.h5, figures beside it.
    """
    how = How(settings, simulate=True, as_json=as_json, format=as_table, quiet=quiet)
    how.require_one_process("diagnose")
    from distopt.core.files import write_files
    from distopt.show import network_figures
    from distopt.show.figures import png
    from distopt.studies import diagnosis

    request = diagnosis.Request(held_out, outputs, dense, radius)
    found, folder = measure(path, at, settings, code, out, request)
    draw = network_figures.along_run if len(found.rows) > 1 else network_figures.at_start
    diagnosis.write_diagnosis(found, folder / "diagnosis.h5")
    figures = {"diagnosis.png": draw(found), "recovered.png": network_figures.recovered(found)}
    written = write_files(folder, {name: png(figure) for name, figure in figures.items()})
    written = [folder / "diagnosis.h5", *written]
    told = found.to_json() | {"files": [str(path) for path in written]}
    deliver_tables([diagnosis.tabulate(found)], [told], written, how)


def measure(
    path: Path,
    at: list[int],
    settings: list[str],
    code: list[Path],
    out: Path | None,
    request: "Request",
) -> "tuple[Diagnosis, Path]":
    """Measure a run or a configuration; return what was found, and the folder for it."""
    from distopt.config.build import load_config
    from distopt.studies import diagnosis

    if path.is_dir():
        if at or settings:
            raise ConfigError(
                "--at and --set need a CONFIG; a run is measured at its checkpoints "
                "(run.checkpoint_every and run.keep decide which there are)."
            )
        options.announce(path, code)
        return diagnosis.diagnose_run(path, request, code), out or path
    if code:
        raise ConfigError("--code needs a RUN_DIR; the code of a CONFIG is what it names.")
    config = load_config(path, settings)
    folder = out or Path("runs") / f"{path.stem}-diagnosis"
    if at:
        return diagnosis.diagnose_along(config, at, folder, request), folder
    return diagnosis.diagnose_start(config, request), folder
