"""The command ``distopt``: all commands, and errors turned into sentences."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from distopt import __version__
from distopt.cli.compare import compare
from distopt.cli.diagnose import diagnose
from distopt.cli.doctor import doctor
from distopt.cli.export import export
from distopt.cli.list import list_members
from distopt.cli.measure import measure
from distopt.cli.plan import plan
from distopt.cli.report import report
from distopt.cli.resume import resume
from distopt.cli.run import run
from distopt.cli.serve import serve
from distopt.cli.threshold import threshold
from distopt.core.errors import DistoptError
from distopt.mpirun.environment import ending_threads, prepare
from distopt.mpirun.failing import complain


class Commands(TyperGroup):
    """The commands; a `DistoptError` that escapes from one becomes a sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except DistoptError as error:
            complain(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Decentralized optimization over MPI with really compressed messages.\n\n"
    "Agents on a graph minimise the average of their private costs. Their messages are packed to the "
    "bit, counted and recorded.",
    epilog="Start with: [bold]distopt run launch/experiments/quickstart.toml --simulate[/bold]",
)
for command in (run, resume, compare, measure, plan, report, export, diagnose, threshold, serve):
    app.command()(command)
app.command("list")(list_members)
app.command()(doctor)


def show_version(value: bool) -> None:
    """Print the version and end."""
    if value:
        typer.echo(f"distopt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """Take the options before a command."""


def main() -> None:
    """Run the command line."""
    prepare()
    with ending_threads():
        app(prog_name="distopt")
