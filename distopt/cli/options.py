"""The options that several commands share, each declared once."""

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from distopt.core.errors import ConfigError
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import Mpirun, find_mpirun

if TYPE_CHECKING:
    from concurrent.futures import Future

    from distopt.transport.opening import Engine


Format = StrEnum("Format", ["csv", "json", "md", "latex"])  # of the tables of results


def set_debug(value: bool) -> bool:
    """Make --debug known to every part of this process and to the ranks that it starts."""
    if value:
        os.environ["DISTOPT_DEBUG"] = "1"
    return value


Ranks: TypeAlias = Annotated[
    int | None, Option("-n", metavar="N", help="Number of MPI ranks; must be that of the agents.")
]
Simulate: TypeAlias = Annotated[
    bool,
    Option(
        "--simulate", help="Run all agents in this process, without MPI; same results, to the bit."
    ),
]
Settings: TypeAlias = Annotated[
    list[str],
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, such as algorithm.eta=0.1; may be repeated.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, Option("--json", help="Print one JSON object as the last line of the output.")
]
AsJsonLines: TypeAlias = Annotated[
    bool, Option("--json", help="Print one JSON object per variant as the last lines.")
]
AsTable: TypeAlias = Annotated[
    Format | None, Option("--format", help="Print only the tables of results, in this format.")
]
Quiet: TypeAlias = Annotated[
    bool, Option("--quiet", "-q", help="Print no progress and no summary.")
]
Debug: TypeAlias = Annotated[
    bool, Option("--debug", callback=set_debug, help="Show tracebacks and all that mpirun says.")
]
MpirunArgs: TypeAlias = Annotated[
    str,
    Option(
        "--mpirun-args",
        metavar="FLAGS",
        help="More flags for mpirun, quoted as one argument. DISTOPT_MPIRUN names another mpirun.",
    ),
]
Code: TypeAlias = Annotated[
    list[Path],
    Option(
        "--code",
        metavar="FILE",
        help="Run this Python file for the one of its name in RUN_DIR/config.toml; may be repeated.",
    ),
]
Overwrite: TypeAlias = Annotated[bool, Option("--overwrite", help="Replace existing runs.")]
Config: TypeAlias = Annotated[Path, Argument(metavar="CONFIG", help="A TOML file.")]


def announce(run_dir: Path, code: list[Path], force: bool = False) -> None:
    """Say which code of a run folder is about to run; refuse code that is not trusted."""
    from distopt.engine.trust import trusted
    from distopt.show.console import say

    _, files = trusted(run_dir, code, force)
    if this_rank() in (None, 0):
        for file in files:
            say(f"This runs the code of {file}.")


@dataclass(frozen=True)
class How:
    """Where a command works, and what it prints."""

    settings: list[str]
    simulate: bool = False
    ranks: int | None = None
    mpirun_args: str = ""
    as_json: bool = False
    format: Format | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        """Refuse two kinds of output."""
        if self.as_json and self.format:
            raise ConfigError(
                "--json and --format both write to standard output; give only one of them."
            )

    def engine(self) -> "Engine | None":
        """Return the engine of this process; None if it is to start ranks.

        Raises
        ------
        ConfigError
            If --simulate and ranks are asked for together.
        """
        if not self.simulate:
            if this_rank() is not None:
                return "mpi"
            _ = self.mpirun  # which is looked for while the configuration is read
            return None
        if this_rank() is not None:
            raise ConfigError(
                "--simulate runs all agents in one process; start it without mpirun or srun."
            )
        if self.ranks is not None:
            raise ConfigError(
                "-n starts MPI ranks, and --simulate has none; give only one of them."
            )
        return "simulate"

    @cached_property
    def mpirun(self) -> "Future[Mpirun]":
        """The mpirun of this installation, or the error; another thread asks the programs for it."""
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(1)
        found = pool.submit(find_mpirun)
        pool.shutdown(wait=False)
        return found

    def require_one_process(self, command: str) -> None:
        """Refuse to be a rank."""
        if this_rank() is not None:
            raise ConfigError(
                f"`distopt {command}` works in one process; start it without mpirun or srun."
            )

    def require_ranks(self, agents: int) -> None:
        """Refuse a number of ranks other than that of the agents."""
        if self.ranks is not None and self.ranks != agents:
            raise ConfigError(
                f"-n {self.ranks} and problem.agents = {agents} differ, but one rank is one agent; use "
                f"-n {agents} (or leave -n out), or --set problem.agents={self.ranks}."
            )
