"""The resolved job: everything that the ranks of a command need to know, in one file (docs: running).

The command reads the user's files and options once and writes them out with every default. Its ranks read
the job and nothing else; a queue or a scheduler may do the same.
"""

import hashlib
import json
import socket
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import pydantic
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from distopt.config.build import Config, make_config
from distopt.core.errors import ConfigError
from distopt.core.files import reason, write_whole
from distopt.core.parameters import show
from distopt.engine.failures import Failure
from distopt.engine.identity import Identity
from distopt.mpirun.failing import debugging

FORMAT: Final = 1
NAME = "job.json"


def substitute(table: Any, old: float | None, new: float | None) -> Any:
    """Copy nested tables, replacing one value by another."""
    if isinstance(table, dict):
        return {key: substitute(value, old, new) for key, value in table.items()}
    if isinstance(table, list):
        return [substitute(value, old, new) for value in table]
    return new if table is old or table == old else table


def write_config(config: Config) -> dict[str, Any]:
    """Write a configuration with every default; JSON has no infinity, so it becomes null."""
    return substitute(config.resolved(), inf, None)  # type: ignore[no-any-return]


def read_config(given: Any) -> Any:
    """Make the configuration that `write_config` wrote."""
    return make_config(substitute(given, None, inf), Path()) if isinstance(given, dict) else given


Resolved: TypeAlias = Annotated[
    Config, BeforeValidator(read_config), PlainSerializer(write_config, when_used="json")
]


class Part(BaseModel):
    """A part of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Case(Part):
    """One run: its configuration, folder and identity; in a suite also the variant's label and the seed."""

    label: str = ""
    seed: int | None = None
    folder: Path
    config: Resolved
    resume: bool = False  # in a job of kind "run" or "compare": go on from the newest checkpoint
    failures: tuple[Failure, ...] = ()  # from which the run was restarted since its command began
    identity: str = Field(default="", validate_default=True)

    @field_validator("identity")
    @classmethod
    def require_identity(cls, written: str, case: ValidationInfo) -> str:
        """Refuse a job whose files have changed, or are others on this host."""
        if {"folder", "config"} - case.data.keys():
            return written  # one of them is wrong, and pydantic says so
        # The dimension is of this rank's own cost: the survey compares it, and names the agent.
        found = Identity(case.data["config"]).hash_without("dimension")
        if written not in {"", found}:
            raise ConfigError(
                f"{case.data['folder']}: the problem's files on host {socket.gethostname()} are not those "
                "with which this job was written; start it again, or give all hosts the same files."
            )
        return found

    @property
    def changes(self) -> list[str]:
        """Settings with which a run that goes on differs from what its folder says."""
        lost = [*self.config.problem.lost]
        return [f"problem.lost={lost}"] if lost else []

    @property
    def name(self) -> str:
        """Label and seed."""
        return self.label if self.seed is None else f"{self.label} [seed {self.seed}]"


class Timing(Part):
    """One timed run: the case, the link (None: no limit), the round."""

    case: int
    link: str | None
    round: int


class Job(Part):
    """The base of all kinds of jobs."""

    format: Literal[1] = FORMAT
    kind: str
    debug: bool = Field(default_factory=debugging)  # whether ranks show tracebacks

    def write(self, folder: Path) -> Path:
        """Write the job into a folder; return the path of the file."""
        write_whole(folder / NAME, self.content)
        return folder / NAME

    @property
    def content(self) -> bytes:
        """The content of the file."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()


class JobOfCases(Job):
    """A job that needs one rank for each agent."""

    cases: tuple[Case, ...]

    @property
    def ranks(self) -> int:
        """Number of ranks, one for each agent.

        Raises
        ------
        ConfigError
            If cases differ in it.
        """
        agents = {case.config.problem.agents for case in self.cases}
        if len(agents) > 1:
            raise ConfigError(
                f"The variants have different numbers of agents ({sorted(agents)}), so they cannot share "
                "one MPI job; use --simulate."
            )
        return agents.pop()

    @property
    def threads(self) -> int:
        """BLAS threads of a rank, at most."""
        return max(case.config.run.threads for case in self.cases)


class RunJob(JobOfCases):
    """Run one case from iteration 0."""

    kind: Literal["run"] = "run"
    overwrite: bool


class ResumeJob(JobOfCases):
    """Continue one case from its newest checkpoint, to ``config.run.iterations`` in total."""

    kind: Literal["resume"] = "resume"
    force: bool = False  # go on although it is another run


class SuiteJob(JobOfCases):
    """Run cases in turn; a failure ends its case only."""

    kind: Literal["compare"] = "compare"

    @classmethod
    def of(cls, cases: Sequence[Case]) -> Self:
        """Make the job of some cases."""
        return cls(cases=tuple(cases))


class TimingJob(JobOfCases):
    """Time runs in turn, each for about `seconds`."""

    kind: Literal["measure"] = "measure"
    timings: tuple[Timing, ...]
    accuracies: tuple[float, ...]
    seconds: float
    interfaces: tuple[str, ...]


class SweepJob(Job):
    """Finish a sweep over networks: rank 0 deals out the trainings, the others do them."""

    kind: Literal["threshold"] = "threshold"
    sweep: dict[str, Any]
    out: Path
    overwrite: bool
    ranks: int
    threads: Literal[1] = 1


AnyJob: TypeAlias = Annotated[
    RunJob | ResumeJob | SuiteJob | TimingJob | SweepJob, Field(discriminator="kind")
]


def read_job(path: Path, wanted: str | None = None) -> AnyJob:
    """Read a job.

    Parameters
    ----------
    path : Path
    wanted : str, optional
        The SHA-256 of the file when these ranks were started.

    Raises
    ------
    ConfigError
        If it cannot be read, was written by another version, or has been replaced.
    """
    try:
        content = path.read_bytes()
        if wanted not in (None, hashlib.sha256(content).hexdigest()):
            raise ConfigError(
                f"{path} is not the job that this command wrote: another command has replaced it. "
                "Wait for that one, or give this one another folder."
            )
        table = json.loads(content)
    except OSError as error:
        raise ConfigError(
            f"The job file {path} cannot be read: {reason(error)}. All hosts of a job must see its folder."
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not a job file: {error}.") from None
    found = table.get("format") if isinstance(table, dict) else None
    if found != FORMAT:
        raise ConfigError(f"{path} has format {show(found)}; this version reads format {FORMAT}.")
    try:
        return pydantic.TypeAdapter[AnyJob](AnyJob).validate_python(table)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path} is not a job file: {key}: {first['msg']}.") from None
