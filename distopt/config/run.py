"""The section [run]: how long to run, what to record, when to save and when to stop."""

from collections.abc import Callable, Mapping
from math import isnan
from operator import ge, le
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from distopt.core.arrays import Precision
from distopt.core.errors import ConfigError, Mistakes
from distopt.core.parameters import show, validated

M = TypeVar("M", bound=BaseModel)
OnFailure: TypeAlias = Literal["stop", "restart", "continue"]

CHECKPOINT_SECONDS = 1.0  # between two checkpoints of a run that is restarted after a failure


TESTS = {"<=": le, ">=": ge}


def read_test(text: str) -> tuple[Callable[[float, float], bool], float]:
    """Read a test of a measure, such as ``">= 0.95"``: the comparison and the bound."""
    sign, number = text[:2], text[2:]
    bound = float(number)
    if sign not in TESTS or isnan(bound):
        raise ValueError(text)
    return TESTS[sign], bound


def check_test(text: str) -> str:
    """Return a test, which must be readable."""
    try:
        read_test(text)
    except ValueError:
        raise ValueError('accepted: <= or >= and a number, such as ">= 0.95".') from None
    return text


class StopConfig(BaseModel):
    """When to stop before the last iteration; each is tested when a record is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stationarity: Annotated[
        float,
        Field(ge=0, description="stop once P = |grad f(xbar)|^2 + consensus error is this small"),
    ] = 0.0
    nmse: Annotated[
        float, Field(ge=0, description="stop once the NMSE on the training samples is this small")
    ] = 0.0
    measures: Annotated[
        dict[str, Annotated[str, AfterValidator(check_test)]],
        Field(description='stop once a measure of the costs is there: { accuracy = ">= 0.95" }'),
    ] = {}
    seconds: Annotated[
        float, Field(gt=0, description="stop after this many seconds, with a checkpoint")
    ] = float("inf")


class RunConfig(BaseModel):
    """How long to run, what to record, when to save and to stop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: Annotated[int, Field(ge=0, lt=2**32, description="last iteration, in total")] = 1000
    seed: Annotated[
        int, Field(ge=0, lt=2**64, description="key of every random bit of the run")
    ] = 0
    record_every: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto"],
        Field(
            description='iterations between two records; "auto": 10, or as many more as keep what they '
            "cost below 5 % of what the algorithm does"
        ),
    ] = "auto"
    series: Annotated[
        Literal["auto", "all", "light"],
        Field(
            description="what takes the means of trackers and gradients (their errors, the Lyapunov "
            'function): in "all" records, in none ("light"), or "auto", where this costs next to nothing'
        ),
    ] = "auto"
    checkpoint_every: Annotated[
        int, Field(ge=0, description="iterations between two checkpoints, 0: only when stopped")
    ] = 0
    checkpoint_seconds: Annotated[
        Annotated[float, Field(ge=0)] | Literal["auto"],
        Field(
            description='about so many seconds between two checkpoints as well, 0: none, "auto": 1 with '
            "run.on_failure, else 0; less often where they take over 0.15 s and a fiftieth of the time",
        ),
    ] = "auto"
    keep: Annotated[int, Field(ge=1, description="how many of the newest checkpoints to keep")] = 2
    timeout: Annotated[
        float, Field(gt=0, description="seconds that a neighbour may stay silent")
    ] = 120.0
    on_failure: Annotated[
        OnFailure,
        Field(
            description="when a rank dies or falls silent: end with an error, restart from the newest "
            "checkpoint, or continue from there without the dead agent; a suite restarts unless it says "
            "otherwise"
        ),
    ] = "stop"
    tries: Annotated[
        int, Field(ge=1, description="restarts in a row without a newer checkpoint, at most")
    ] = 3
    setup_timeout: Annotated[
        float,
        Field(
            gt=0, description="seconds that an agent may take longer than others to set up or save"
        ),
    ] = 300.0
    threads: Annotated[int, Field(ge=1, description="BLAS threads of a rank")] = 1
    workers: Annotated[
        int,
        Field(
            ge=1,
            description="threads that compute the agents of one process side by side, to the same bits",
        ),
    ] = 1
    overlap: Annotated[
        bool | Literal["auto"],
        Field(
            description="let the second vector of a message travel while the gradient is computed, under "
            'MPI and to the same bits; "auto": where both take long'
        ),
    ] = "auto"
    batch: Annotated[
        int, Field(ge=0, description="samples of a gradient, drawn anew for each; 0: all of them")
    ] = 0
    dtype: Annotated[
        Literal["float64", "float32"],
        Field(description="precision of the agents' vectors; records are in float64 with both"),
    ] = "float64"
    checked: Annotated[
        bool, Field(description="send 4 more bytes with every message, its checksum, and verify it")
    ] = False
    stop: Annotated[StopConfig, Field(description="when to stop earlier")] = StopConfig()

    @property
    def precision(self) -> Precision:
        """The type of the agents' vectors."""
        found: Any = np.float32 if self.dtype == "float32" else np.float64
        return found  # type: ignore[no-any-return]

    @property
    def saving_seconds(self) -> float:
        """Seconds between two checkpoints, infinite if the clock demands none."""
        seconds = self.checkpoint_seconds
        if seconds == "auto":
            seconds = 0.0 if self.on_failure == "stop" else CHECKPOINT_SECONDS
        return seconds or float("inf")


def make_run(table: Mapping[str, Any]) -> RunConfig:
    """Validate the section [run]."""
    stop, mistakes = StopConfig(), Mistakes("[run]")
    with mistakes.noted():
        stop = make_stop(table.get("stop", {}))
    with mistakes.noted():
        run = make_section(RunConfig, "run", {**table, "stop": stop})
    mistakes.tell()
    return run


def make_stop(given: object) -> StopConfig:
    """Validate the table ``run.stop``."""
    if isinstance(given, StopConfig):
        return given
    if not isinstance(given, Mapping):
        keys = ", ".join(StopConfig.model_fields)
        raise ConfigError(
            f"run.stop = {show(given)} is not a table; accepted: a table with the keys {keys}."
        )
    return make_section(StopConfig, "run.stop", given)


def make_section(model: type[M], section: str, table: Mapping[str, Any]) -> M:
    """Validate a section that is a model, without converting values to other types."""
    numbers = {k: v.item() if isinstance(v, np.generic) else v for k, v in table.items()}
    return validated(model, section, numbers, strict=True)
