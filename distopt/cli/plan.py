"""``distopt plan``: predict a run on a network that you do not have."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Argument, Option

from distopt.cli import options
from distopt.cli.deliver import deliver_tables
from distopt.cli.options import How

Network: TypeAlias = Annotated[
    Path | None,
    Option(
        metavar="measured.json",
        help="Take the cost of an exchange from the measured.json of `distopt measure`.",
        show_default="that of the test bed",
    ),
]


def plan(
    config: Annotated[Path, Argument(metavar="CONFIG | SUITE.toml", help="A TOML file.")],
    links: Annotated[
        str, Option("--link", metavar="RATES", help="Rates of the links, such as 10mbit,1gbit.")
    ] = "10mbit,100mbit,1gbit",
    agents: Annotated[
        int | None,
        Option(metavar="N", min=1, help="Number of agents.", show_default="problem.agents"),
    ] = None,
    accuracy: Annotated[float, Option(metavar="P", min=0, help="Accuracy to reach.")] = 1e-6,
    seconds: Annotated[
        float,
        Option(
            metavar="S",
            min=0.1,
            help="Simulate all variants for about S seconds of the processor in total and project the "
            "rest.",
        ),
    ] = 5.0,
    network: Network = None,
    latency: Annotated[
        float | None,
        Option(
            metavar="MS",
            min=0,
            help="Least time of an exchange, in ms.",
            show_default="as measured",
        ),
    ] = None,
    share: Annotated[
        float | None,
        Option(
            "--per-core",
            metavar="A",
            min=1,
            help="Agents that share a core there, all cores being busy.",
            show_default="each agent has its own host",
        ),
    ] = None,
    settings: options.Settings = [],
    as_json: options.AsJsonLines = False,
    as_table: options.AsTable = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Predict bytes and seconds on a network that you do not have, and the best compressor there.

    For a CONFIG, the recommended method, the best uncompressed one, and other compressors that its
    algorithm takes are tried as well.
    """
    how = How(settings, simulate=True, as_json=as_json, format=as_table, quiet=quiet)
    how.require_one_process("plan")
    from distopt.show import console
    from distopt.studies.measure import plan as planning
    from distopt.studies.measure.computing import busy_cores
    from distopt.studies.measure.link import parse_links

    goal = planning.Goal(accuracy, seconds, share)
    rates = parse_links(links)
    model = planning.known_model(network, latency)
    if agents is not None:
        settings = [*settings, f"problem.agents={agents}"]
    variants = []
    with busy_cores() if share else nullcontext() as computing:
        for label, candidate, part in planning.in_turn(planning.candidates(config, settings), goal):
            if not quiet:
                console.say(f"simulating {label}")
            variants.append(planning.predict(label, candidate, part, rates, model, computing))
    deliver_tables([planning.tabulate(variants, rates, goal, model)], variants, [], how)
