"""``distopt serve``: a queue of jobs with a page and an HTTP API."""

import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from distopt.cli import options
from distopt.core.errors import ConfigError, DistoptError

PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "sse_starlette", "jinja2")
LEAST_SLOTS = 8
CLUSTER_SLOTS = 256  # that Slurm is given at once


def serve(
    host: Annotated[
        str, Option(help="Address to listen at; others than this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Port to listen at.")] = 8080,
    data: Annotated[
        Path, Option(metavar="DIR", help="Folder of all jobs; runs that are in it are shown.")
    ] = Path("runs"),
    slots: Annotated[
        int | None,
        Option(
            metavar="N",
            min=1,
            help="Ranks that may run at once.",
            show_default=f"usable cores, at least {LEAST_SLOTS}; {CLUSTER_SLOTS} with --slurm",
        ),
    ] = None,
    files: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Folder of files that configurations may name: costs in Python, data, graphs.",
            show_default="none",
        ),
    ] = None,
    name: Annotated[
        list[str],
        Option(metavar="NAME", help="Host name by which browsers reach this; may be repeated."),
    ] = [],
    slurm: Annotated[
        str | None,
        Option(
            metavar="OPTIONS",
            help="Run jobs on the Slurm cluster, with these options of sbatch. All nodes must see --data.",
            show_default="this machine",
        ),
    ] = None,
    token: Annotated[bool, Option("--token", help="Ask for a token on this machine, too.")] = False,
    new_token: Annotated[
        str | None, Option(metavar="read|run", help="Make a further token, print it, and end.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Serve a page and an HTTP API: submit, watch and compare runs.

    Jobs are those of the command line, and go on if the service ends.
    """
    require_packages()
    from distopt.mpirun.environment import usable_cores
    from distopt.service.serving import make_token, serve_until_stopped
    from distopt.service.settings import Settings

    if files is not None and not files.is_dir():
        raise ConfigError(f"--files {files} is not a folder.")
    settings = Settings(
        data=data.absolute(),
        slots=slots or (CLUSTER_SLOTS if slurm is not None else max(usable_cores(), LEAST_SLOTS)),
        host=host,
        port=port,
        files=files.absolute() if files else None,
        names=tuple(n.lower() for n in name),
        slurm=None if slurm is None else sbatch_options(slurm),
    )
    if new_token is not None:
        typer.echo(make_token(settings, new_token))
        return
    serve_until_stopped(settings, token)


def sbatch_options(text: str) -> tuple[str, ...]:
    """Split the options of sbatch."""
    if shutil.which("sbatch") is None:
        raise DistoptError("--slurm needs the command sbatch, which is not in PATH.")
    try:
        found = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"--slurm cannot be split into options: {error}.") from None
    for option in found:
        if not option.startswith("-"):
            raise ConfigError(f"--slurm {option} is no option; write it as --option=value.")
    return found


def missing_packages() -> list[str]:
    """List the packages of the extra that are not there."""
    return [package for package in PACKAGES if find_spec(package) is None]


def require_packages() -> None:
    """Refuse to serve without the packages of the extra."""
    if missing := missing_packages():
        raise DistoptError(
            f'The service needs {", ".join(missing)}; `pip install "distopt-mpi[service]"` installs '
            "what is missing."
        )
