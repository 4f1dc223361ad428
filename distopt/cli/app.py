"""The command ``distopt``: parse, call, print. What does the work is imported when it is needed."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from distopt import __version__
from distopt.core.errors import ConfigError, DistoptError
from distopt.mpirun.launcher import complain, prepare_numba_cache

LISTED = ("compressors", "algorithms", "costs", "topologies")


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
    "Agents that sit on a graph minimise the average of their private costs; what they send each "
    "other is packed to the bit, counted and recorded.",
    epilog="Start with: [bold]distopt run launch/experiments/quickstart.toml --simulate[/bold]",
)


def main() -> None:
    """Run the command line."""
    prepare_numba_cache()
    app(prog_name="distopt")


def set_debug(value: bool) -> bool:
    """Make --debug known to every part of this process and to the ranks that it starts."""
    if value:
        os.environ["DISTOPT_DEBUG"] = "1"
    return value


def show_version(value: bool) -> None:
    """Print the version and end."""
    if value:
        typer.echo(f"distopt {__version__}")
        raise typer.Exit


Ranks: TypeAlias = Annotated[
    int | None,
    typer.Option("-n", metavar="N", help="Number of MPI ranks; the default, problem.agents, is also "
                 "the only possible value."),
]  # fmt: skip
Simulate: TypeAlias = Annotated[
    bool, typer.Option("--simulate", help="All agents in this process, no MPI; same results, to the bit.")
]  # fmt: skip
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the configuration, such as "
                 "algorithm.eta=0.1; may be repeated."),
]  # fmt: skip
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, the last line of the output.")
]  # fmt: skip
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no summary.")
]
Debug: TypeAlias = Annotated[
    bool,
    typer.Option("--debug", callback=set_debug, help="Show tracebacks and all that mpirun says."),
]
MpirunArgs: TypeAlias = Annotated[
    str,
    typer.Option("--mpirun-args", metavar="FLAGS", help="Further flags for mpirun, in one quoted text. "
                 "The variable DISTOPT_MPIRUN names another mpirun."),
]  # fmt: skip
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace an existing run directory.")
]


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file.")],
    ranks: Ranks = None,
    simulate: Simulate = False,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory.", show_default="runs/CONFIG"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    mpirun_args: MpirunArgs = "",
) -> None:
    """Run one configuration; starts its own MPI job with one rank per agent.

    Under mpirun or srun the command is a rank of that job. Records go to RUN_DIR/metrics.h5.
    """
    from distopt.cli import commands

    how = commands.How(simulate, ranks, settings or [], mpirun_args, as_json, quiet)
    commands.run(config, out or Path("runs") / config.stem, overwrite, how)


@app.command()
def resume(
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Directory of an earlier run.")
    ],
    iterations: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="New number of iterations, in total.", show_default="as configured"
        ),
    ] = None,
    ranks: Ranks = None,
    simulate: Simulate = False,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    mpirun_args: MpirunArgs = "",
) -> None:
    """Continue a run from its newest checkpoint, bit for bit as if it had never stopped.

    Only run.* keys that do not change the mathematics may be set.
    """  # fmt: skip
    from distopt.cli import commands

    how = commands.How(simulate, ranks, settings or [], mpirun_args, as_json, quiet)
    commands.resume(run_dir, iterations, how)


@app.command()
def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="SUITE.toml | RUN_DIR...", help="A suite to run, or earlier runs."),
    ],
    ranks: Ranks = None,
    simulate: Simulate = False,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of runs, figures and page.",
            show_default="runs/SUITE, or none for RUN_DIR...",
        ),
    ] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Keep the finished runs that are in DIR already.")
    ] = False,
    overwrite: Overwrite = False,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="J",
            min=1,
            help="With --simulate: variants at a time; more than one makes their seconds longer.",
        ),
    ] = 1,
    accuracies: Annotated[
        list[float] | None,
        typer.Option(
            "--accuracy",
            metavar="P",
            help="With RUN_DIR...: accuracy to compare at; may be repeated.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per variant, the last lines."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
    mpirun_args: MpirunArgs = "",
    cases: Annotated[list[int] | None, typer.Option("--case", hidden=True)] = None,
) -> None:
    """Compare variants of one problem: iterations, bytes and seconds to each accuracy.

    A suite's variants run one after the other in one MPI job. One that diverges ends alone.
    """  # fmt: skip
    from distopt.cli import commands

    how = commands.How(simulate, ranks, settings or [], mpirun_args, as_json, quiet)
    if len(paths) > 1 or paths[0].is_dir():
        commands.compare_runs(paths, accuracies, out, how)
    else:
        place = out or Path("runs") / paths[0].stem
        commands.compare_suite(paths[0], place, reuse, overwrite, jobs, cases, how)


@app.command()
def measure(
    suite: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="A suite of variants.")],
    links: Annotated[
        str | None,
        typer.Option(
            "--link",
            metavar="RATES",
            help="Rates of the links of a test bed of hosts, made for this command: such as "
            "100mbit,1gbit,unlimited. Without it (and --hosts), between the hosts that mpirun takes.",
        ),
    ] = None,
    hosts: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Hosts of the test bed, as many as agents.", show_default="all"
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(metavar="R", min=1, help="How often each is timed, in turn; medians count."),
    ] = 3,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.1,
            help="Time an iteration at most so long; what is left of a run is counted at that pace.",
        ),
    ] = 10.0,
    interfaces: Annotated[
        list[str] | None,
        typer.Option(
            "--interface",
            metavar="NAME",
            help="Network interface that MPI uses; may be repeated.",
            show_default="those that lead to the neighbours",
        ),
    ] = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of runs and numbers.", show_default="runs/SUITE-measured"
        ),
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Keep what is in DIR already: finished runs and timings."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per variant, the last lines.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
    mpirun_args: MpirunArgs = "",
    items: Annotated[list[int] | None, typer.Option("--item", hidden=True)] = None,
) -> None:
    """Measure seconds and bytes at the network interfaces, on links of given rates or real ones.

    Variants alternate, so that all of them see the same machine.
    """  # fmt: skip
    from distopt.cli import commands
    from distopt.cli import measuring as command

    place = out or Path("runs") / f"{suite.stem}-measured"
    how = commands.How(False, None, settings or [], mpirun_args, as_json, quiet)
    what = command.What(
        suite, place, links, hosts, rounds, seconds, interfaces, reuse, overwrite, items
    )
    command.measure(what, how)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG | SUITE.toml", help="A TOML file.")],
    links: Annotated[
        str,
        typer.Option("--link", metavar="RATES", help="Rates of the links, such as 10mbit,1gbit."),
    ] = "10mbit,100mbit,1gbit",
    agents: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How many agents.", show_default="problem.agents"),
    ] = None,
    accuracy: Annotated[
        float, typer.Option(metavar="P", min=0, help="Accuracy to be reached.")
    ] = 1e-6,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S", min=0.1, help="Simulate a variant at most so long; then project."
        ),
    ] = 30.0,
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="measured.json",
            help="Take the constants of an exchange from what `distopt measure` wrote.",
            show_default="those of the test bed",
        ),
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            min=0,
            help="What an exchange costs at least, in ms.",
            show_default="as measured",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--per-core",
            metavar="A",
            min=1,
            help="Agents that share a core there, all cores being busy.",
            show_default="each has a host of its own",
        ),
    ] = None,
    settings: Settings = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per variant, the last lines.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict bytes and seconds on a network that you do not have, and the best compressor there.

    For one configuration, compressors that its algorithm takes are tried in its place.
    """  # fmt: skip
    from distopt.cli import commands
    from distopt.studies.measure import plan as planning

    how = commands.How(True, None, settings or [], "", as_json, quiet)
    needs = planning.Needs(config, links, agents, accuracy, seconds, network, latency, share)
    planning.plan(needs, how)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories.")],
    debug: Debug = False,
) -> None:
    """Write a self-contained report.html and PNG figures into run directories."""
    from distopt.show.report import write_report

    for run_dir in runs:
        typer.echo(write_report(run_dir))


@app.command()
def diagnose(
    path: Annotated[
        Path,
        typer.Argument(metavar="CONFIG | RUN_DIR", help="A TOML file, or an earlier run."),
    ],
    at: Annotated[
        list[int] | None,
        typer.Option(
            metavar="K",
            help="With CONFIG: run it in this process and measure after K iterations; may be repeated.",
        ),
    ] = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of numbers and figures.",
            show_default="runs/CONFIG-diagnosis or RUN_DIR",
        ),
    ] = None,
    radius: Annotated[
        float, typer.Option(metavar="R", min=0.0, help="Ball of the explicit Hessian bound.")
    ] = 0.0,
    held_out: Annotated[
        int, typer.Option("--held-out", metavar="T", min=1, help="Samples that nobody trains on.")
    ] = 1000,
    outputs: Annotated[
        int, typer.Option(metavar="K", min=1, help="Single outputs whose Hessians are measured.")
    ] = 6,
    dense: Annotated[
        int,
        typer.Option(
            metavar="SIZE", min=0, help="Size of a kernel up to which all eigenvalues are computed."
        ),
    ] = 4096,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure the PL* condition of a network: at its start, or along a run.

    Tangent kernel, Hessians, PL ratio, radii; numbers in diagnosis.h5, figures beside it.
    """
    from distopt.cli import commands

    how = commands.How(True, None, settings or [], "", as_json, quiet)
    commands.diagnose(path, at or [], out, (held_out, outputs, dense, radius), how)


@app.command()
def threshold(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file of a sweep.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "-n", metavar="N", min=1, help="Start N MPI ranks that work, and one that deals."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="J", min=1, help="Without MPI: processes that work.")
    ] = 1,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of results.", show_default="runs/CONFIG"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew instead of going on.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    mpirun_args: MpirunArgs = "",
) -> None:
    """Find how many samples networks can be trained on, by width; a farm of jobs.

    Goes on where it stopped: all that is done stays in threshold.h5. Under mpirun rank 0 deals and the
    other ranks work.
    """
    from distopt.cli import commands

    how = commands.How(False, workers, settings or [], mpirun_args, as_json, quiet)
    commands.threshold(config, out or Path("runs") / config.stem, jobs, overwrite, how)


@app.command(name="list")
def list_members(
    kind: Annotated[
        str | None, typer.Argument(metavar=f"[{'|'.join(LISTED)}]", help="All by default.")
    ] = None,
    dimension: Annotated[
        int,
        typer.Option("-d", metavar="D", min=1, help="Dimension for the compressors' constants."),
    ] = 1000,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List what a configuration can name, with parameters, ranges and defaults."""
    from distopt.core.parameters import nearest
    from distopt.show.listing import print_members

    if kind is not None and kind not in LISTED:
        hint = nearest(kind, LISTED) or "."
        raise ConfigError(f'There is no list of "{kind}"{hint} Known: {", ".join(LISTED)}.')
    print_members([kind] if kind else list(LISTED), dimension, as_json)


@app.command()
def doctor(debug: Debug = False) -> None:
    """Check this installation: packages, MPI, a message between two ranks, caches."""
    from distopt.cli.doctor import examine

    if not examine():
        raise typer.Exit(1)
