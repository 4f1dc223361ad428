"""Configurations: TOML files, ``--set`` and Python tables, all through one model.

Precedence, lowest first: defaults of the classes, the file, ``--set`` in the order given. Whatever a
section accepts is declared by the class that its ``name`` selects; unknown keys are errors.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.algorithms.base import Algorithm
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor
from distopt.core.errors import ConfigError
from distopt.core.parameters import explain, field_names, nearest, require_known, show
from distopt.core.registry import Registry
from distopt.problems.costs import REGISTRY as COSTS
from distopt.problems.problem import Problem, build_problem
from distopt.problems.topologies import REGISTRY as TOPOLOGIES

REGISTRIES = {r.section: r for r in (ALGORITHMS, COMPRESSORS, COSTS, TOPOLOGIES)}
M = TypeVar("M", bound=BaseModel)

SECTIONS = ("problem", "topology", "algorithm", "arithmetic", "compressor", "run")


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
    record_every: Annotated[int, Field(ge=1, description="iterations between two records")] = 10
    checkpoint_every: Annotated[
        int, Field(ge=0, description="iterations between two checkpoints, 0: only when stopped")
    ] = 0
    keep: Annotated[int, Field(ge=1, description="how many of the newest checkpoints to keep")] = 2
    timeout: Annotated[
        float, Field(gt=0, description="seconds that a neighbour may stay silent")
    ] = 120.0
    threads: Annotated[int, Field(ge=1, description="BLAS threads of a rank")] = 1
    batch: Annotated[
        int, Field(ge=0, description="samples of a gradient, drawn anew for each; 0: all of them")
    ] = 0
    stop: Annotated[StopConfig, Field(description="when to stop earlier")] = StopConfig()


@dataclass(frozen=True)
class Config:
    """One validated configuration.

    Attributes
    ----------
    problem : Problem
        Costs and topology.
    algorithm : Algorithm
        Possibly with ``"auto"`` parameters still in it.
    compressor : Compressor
    run : RunConfig
    tables : dict
        The sections as given, after ``--set``: what `with_settings` starts from.
    folder : Path
        What relative file names are relative to.
    """

    problem: Problem
    algorithm: Algorithm
    compressor: Compressor
    run: RunConfig
    tables: dict[str, dict[str, Any]]
    folder: Path

    def resolved(self) -> dict[str, dict[str, Any]]:
        """Write every section out with all defaults; nothing is left to be looked up."""
        return resolved(self.problem, self.algorithm, self.compressor, self.run)

    def with_settings(self, settings: Sequence[str]) -> "Config":
        """Return this configuration with further ``section.key=value`` settings."""
        return make_config(apply_settings(self.tables, settings), self.folder)


def resolved(
    problem: Any, algorithm: Algorithm, compressor: Compressor, run: RunConfig
) -> dict[str, dict[str, Any]]:
    """Describe the parts of a run as the sections that would make them again."""
    method = named(ALGORITHMS, algorithm)
    arithmetic = method.pop("arithmetic", None)
    return {
        "problem": problem.table(),
        "topology": problem.topology_table(),
        "algorithm": method,
        **({} if arithmetic is None else {"arithmetic": arithmetic}),
        "compressor": named(COMPRESSORS, compressor),
        "run": run.model_dump(),
    }


def to_toml(problem: Any, algorithm: Algorithm, compressor: Compressor, run: RunConfig) -> str:
    """Write the parts of a run as a configuration file."""
    return tomli_w.dumps(resolved(problem, algorithm, compressor, run))


def load_config(path: Path, settings: Sequence[str] = ()) -> Config:
    """Read a TOML file, apply ``section.key=value`` settings, and validate.

    Raises
    ------
    ConfigError
        With the key's full name, what was given and what is accepted.
    """
    return make_config(apply_settings(read_toml(path), settings), path.parent)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; errors are sentences that name it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a configuration: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def make_config(tables: dict[str, Any], folder: Path) -> Config:
    """Validate the sections of a configuration."""
    for section, table in tables.items():
        if section not in SECTIONS:
            hint = nearest(section, SECTIONS) or "."
            raise ConfigError(
                f"[{section}] is not a section{hint} Accepted: {', '.join(SECTIONS)}."
            )
        if not isinstance(table, dict):
            raise ConfigError(f"{section} must be a table of keys, not {table!r}.")
    tables = {section: dict(tables.get(section, {})) for section in SECTIONS}
    run = make_run(tables["run"])
    algorithm = make_algorithm(tables["algorithm"], tables["arithmetic"])
    own = COMPRESSORS.name_of(type(algorithm.own_compressor()))
    compressor = make_member(COMPRESSORS, {"name": own} | tables["compressor"])
    problem = build_problem(tables["problem"], tables["topology"], folder)
    compressor = compressor.fitted(lambda: problem.blocks)
    algorithm.accept(compressor, problem.dimension)
    return Config(problem, algorithm, compressor, run, tables, folder)


def make_algorithm(table: dict[str, Any], arithmetic: dict[str, Any]) -> Algorithm:
    """Make the algorithm of [algorithm], with the numbers of [arithmetic] if that section has keys."""
    if "arithmetic" in table:
        raise ConfigError("algorithm.arithmetic is a section of its own; write [arithmetic].")
    if arithmetic:
        name = table.get("name")
        if name in ALGORITHMS.names() and "arithmetic" not in field_names(ALGORITHMS.get(name)):
            raise ConfigError(
                f'[arithmetic] does not go with algorithm.name = "{name}", which computes in its own '
                "numbers; accepted: gt, cgt1, cgt2, cgt3."
            )
        return make_member(ALGORITHMS, table, arithmetic=arithmetic)  # type: ignore[no-any-return]
    return make_member(ALGORITHMS, table)  # type: ignore[no-any-return]


def make_run(table: Mapping[str, Any]) -> RunConfig:
    """Validate the section [run]."""
    stop = table.get("stop", {})
    if isinstance(stop, Mapping):
        stop = make_section(StopConfig, "run.stop", stop)
    elif not isinstance(stop, StopConfig):
        keys = ", ".join(StopConfig.model_fields)
        raise ConfigError(f"run.stop = {show(stop)} is no table; accepted: the keys {keys} in it.")
    return make_section(RunConfig, "run", {**table, "stop": stop})


def make_section(model: type[M], section: str, table: Mapping[str, Any]) -> M:
    """Validate a section that is a model; a text is no number here, nor a number true or false."""
    numbers = {k: v.item() if isinstance(v, np.generic) else v for k, v in table.items()}
    try:
        return model.model_validate(numbers, strict=True)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, section, model.model_fields)) from None


def make_member(registry: Registry, table: dict[str, Any], **others: Any) -> Any:
    """Make the object that a section describes: its ``name`` picks the class, the rest are arguments.

    So are `others`, which come from other sections.
    """
    arguments = dict(table)
    section, name = registry.section, arguments.pop("name", None)
    if not isinstance(name, str):
        given = "is missing" if name is None else f"= {show(name)} is no text in quotes"
        raise ConfigError(f"{section}.name {given}. Known: {', '.join(registry)}.")
    cls = registry.get(name)
    known = sorted({"name", *field_names(cls)} - set(SECTIONS))
    require_known(section, arguments, known, f' with {section}.name = "{name}"')
    return cls(**arguments, **others)


def named(registry: Registry, member: object) -> dict[str, Any]:
    """Describe a member as the table that `make_member` takes."""
    return {"name": registry.name_of(type(member))} | plain(member)


def plain(member: object) -> dict[str, Any]:
    """Return a parameter object's fields as TOML values; nested compressors become tables."""
    table: dict[str, Any] = {}
    for field in fields(member):  # type: ignore[arg-type]
        value = getattr(member, field.name)
        if value is None:
            continue
        if isinstance(value, Compressor):
            value = named(COMPRESSORS, value)
        elif is_dataclass(value):
            value = plain(value)
        elif isinstance(value, Path):
            value = str(value)
        table[field.name] = list(value) if isinstance(value, tuple) else value
    return table


def apply_settings(tables: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Put ``section.key[.key]=value`` settings into a copy of the tables; values are TOML or bare text.

    Where a setting names another class (``algorithm.name=cgt2``), the keys of the tables that only
    the former class knows are dropped; keys that were set are never.
    """
    result = {s: (dict(t) if isinstance(t, dict) else t) for s, t in tables.items()}
    given: set[tuple[str, ...]] = set()
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or len(path) < 2 or not all(path):
            raise ConfigError(
                f'--set "{setting}" is not understood; accepted: section.key=value, '
                "such as algorithm.eta=0.1."
            )
        table: dict[str, Any] = result
        for part in path[:-1]:
            inner = table.get(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {key}: {part} is not a table.")
            table[part] = inner = dict(inner)
            table = inner
        value = parse_value(text)
        for name in outdated(path, table, value):
            if (*path[:-1], name) not in given:
                del table[name]
        table[path[-1]] = value
        given.add(path)
    return result


def outdated(path: tuple[str, ...], table: Mapping[str, Any], value: Any) -> list[str]:
    """List the keys of a table that lose their meaning when the key `path` gets a value."""
    registry = REGISTRIES.get(path[0])
    nested = path[0] == "compressor" and path[-1] == "name"  # compressor.values.name
    if path == ("topology", "file"):
        shape = table.get("graph", "ring")
        return [key for key in table if key == "graph" or key in known_keys(TOPOLOGIES, shape)]
    if registry is None or not (path[1:] == (registry.key,) or nested):
        return []
    old, new = known_keys(registry, table.get(path[-1])), known_keys(registry, value)
    if registry is TOPOLOGIES:
        old = {*old, "file"}
    return [key for key in table if key in old and key not in new]


def known_keys(registry: Registry, name: Any) -> set[str]:
    """Return the parameters of a registered class; none for a name that is not known."""
    return set(field_names(registry.get(name))) if name in registry.names() else set()


def parse_value(text: str) -> Any:
    """Read one value as TOML, and as a plain text where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
