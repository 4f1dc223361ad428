"""Configurations: TOML files, ``--set`` and Python tables, all through one model.

Precedence, lowest first: defaults of the classes, the file, ``--set`` in the order given. The class that
a section's ``name`` selects declares the accepted keys; unknown keys are errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.algorithms.base import Algorithm
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor
from distopt.config.run import RunConfig, make_run
from distopt.config.tables import (
    apply_settings,
    read_toml,
    require_plain,
    require_sections,
    require_table,
)
from distopt.core.arrays import require_room
from distopt.core.errors import ConfigError, Mistakes
from distopt.core.files import locate
from distopt.core.parameters import field_names, make
from distopt.core.registry import OWN, Registry
from distopt.core.usercode import blaming, within
from distopt.problems.given import GivenProblem
from distopt.problems.problem import Problem, build_problem

UNCOMPRESSED = "identity"
UNNAMED = "No compressor is named"  # begins the remark
OTHERS = (("variant", "a suite", "compare"), ("network", "a sweep", "threshold"))
SECTIONS = ("problem", "topology", "algorithm", "arithmetic", "compressor", "run")


@dataclass(frozen=True)
class Parts:
    """What a run is made of, all of it valid.

    Attributes
    ----------
    problem : Problem or GivenProblem
        Costs and topology.
    algorithm : Algorithm
        Possibly with ``"auto"`` parameters still in it.
    compressor : Compressor
    run : RunConfig
    remarks : tuple of str
        Sentences for the user about what was chosen for want of a name.
    """

    problem: Problem | GivenProblem
    algorithm: Algorithm
    compressor: Compressor
    run: RunConfig
    remarks: tuple[str, ...] = field(default=(), kw_only=True)

    def resolved(self) -> dict[str, dict[str, Any]]:
        """Return every section with all defaults written out."""
        method = ALGORITHMS.describe(self.algorithm)
        arithmetic = method.pop("arithmetic", None)
        return {
            "problem": self.problem.table(),
            "topology": self.problem.topology_table,
            "algorithm": method,
            **({} if arithmetic is None else {"arithmetic": arithmetic}),
            "compressor": COMPRESSORS.describe(self.compressor),
            "run": self.run.model_dump(),
        }

    def to_toml(self) -> str:
        """Write the sections as a configuration file."""
        return tomli_w.dumps(self.resolved())


@dataclass(frozen=True)
class Config(Parts):
    """Parts that a configuration describes.

    Attributes
    ----------
    tables : dict
        The sections as given, after ``--set``: what `with_settings` starts from.
    folder : Path
        The folder of relative file names.
    """

    problem: Problem
    tables: dict[str, dict[str, Any]]
    folder: Path

    def with_settings(self, settings: Sequence[str]) -> "Config":
        """Return this configuration with further ``section.key=value`` settings."""
        return make_config(self.tables, self.folder, settings)


def load_config(path: str | Path, settings: Sequence[str] = ()) -> Config:
    """Read a TOML file, apply ``section.key=value`` settings, and validate.

    Raises
    ------
    ConfigError
        With the key's full name, what was given and what is accepted.
    """
    path = Path(path)
    tables = read_toml(path)
    for section, what, command in OTHERS:
        if section in tables:
            raise ConfigError(
                f"{path} has [[{section}]] tables, so it is {what}; `distopt {command}` runs it."
            )
    return make_config(tables, path.parent, settings)


def make_config(tables: dict[str, Any], folder: Path, settings: Sequence[str] = ()) -> Config:
    """Apply ``section.key=value`` settings to the sections of a configuration, and validate them.

    Raises
    ------
    DistoptError
        With a sentence for each mistake that a section has by itself; else for the first that the
        sections have together.
    """
    tables = apply_settings(tables, settings)
    mistakes = Mistakes("The configuration")
    with mistakes.noted():
        require_sections(tables, SECTIONS)
    for section in SECTIONS:
        with mistakes.noted():
            require_table(section, tables.get(section, {}))
    tables = {
        section: dict(table) if isinstance(table := tables.get(section, {}), dict) else {}
        for section in SECTIONS
    }
    run = RunConfig()
    with mistakes.noted():
        run = make_run(tables["run"])
    with blaming(), within(run.setup_timeout, agent=0):
        with mistakes.noted():
            problem = build_problem(tables["problem"], tables["topology"], folder)
        method = None
        with mistakes.noted():
            method = make_algorithm(located(tables["algorithm"], folder), tables["arithmetic"])
        with mistakes.noted():
            code = make_compressor(located(tables["compressor"], folder), method)
        mistakes.tell()
        require_plain("", tables)
        assert method is not None
        assert code is not None
        compressor = fit(code, problem, method, run)
    remarks = unnamed(method, named="name" in tables["compressor"])
    return Config(problem, method, compressor, run, tables, folder, remarks=remarks)


def located(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy a section with the files of the user's own classes as absolute paths, nested ones too."""
    found = {k: located(v, folder) if isinstance(v, dict) else v for k, v in table.items()}
    file = found.get("file")
    if found.get("name") == OWN and isinstance(file, str):
        found["file"] = str(locate(file, folder))
    return found


def fit(
    compressor: Compressor, problem: Problem | GivenProblem, algorithm: Algorithm, run: RunConfig
) -> Compressor:
    """Fit a compressor to the blocks of a problem; the algorithm must accept the result."""
    algorithm.accept_precision(run.dtype)
    require_room(problem.dimension)
    algorithm.accept_graph(problem.whole)
    fitted = compressor.fitted(lambda: problem.blocks)
    algorithm.accept(fitted, problem.dimension)
    return fitted


def unnamed(algorithm: Algorithm, named: bool) -> tuple[str, ...]:
    """Say so if a method that compresses does not, since nobody named a compressor."""
    if named or algorithm.needs is None or algorithm.compressor != UNCOMPRESSED:
        return ()
    return (
        f"{UNNAMED}, so {ALGORITHMS.name_of(type(algorithm))} sends its vectors uncompressed; "
        f'"{UNCOMPRESSED}" says that this is meant, and `distopt list compressors` has others.',
    )


def make_algorithm(table: dict[str, Any], arithmetic: dict[str, Any]) -> Algorithm:
    """Make the algorithm of [algorithm], which computes in the numbers of [arithmetic] if given."""
    if "arithmetic" in table:
        raise ConfigError("algorithm.arithmetic is a separate section; write [arithmetic].")
    if arithmetic:
        name = table.get("name", ALGORITHMS.default)
        accepted = [n for n in ALGORITHMS if "arithmetic" in field_names(ALGORITHMS.get(n))]
        if name in ALGORITHMS.names() and name not in accepted:
            raise ConfigError(
                f'[arithmetic] cannot be combined with algorithm.name = "{name}"; accepted: '
                f"{', '.join(accepted)}."
            )
        return make_member(ALGORITHMS, table, arithmetic=arithmetic)  # type: ignore[no-any-return]
    return make_member(ALGORITHMS, table)  # type: ignore[no-any-return]


def make_compressor(table: dict[str, Any], algorithm: Algorithm | None) -> Compressor | None:
    """Make the compressor of [compressor]; without a name, the algorithm's own (None without both)."""
    if "name" not in table:
        if algorithm is None:
            return None
        own = COMPRESSORS.name_of(type(algorithm.own_compressor()))
        table = {"name": own} | algorithm.coding | table
    return make_member(COMPRESSORS, table)  # type: ignore[no-any-return]


def make_member(registry: Registry, table: dict[str, Any], **others: Any) -> Any:
    """Make the object that a section describes: its ``name`` picks the class, the rest are arguments.

    So are `others`, which come from other sections.
    """
    cls, arguments = registry.select(table)
    name = table.get(registry.key, registry.default)
    keys = {"file", "class"} if registry.takes_file(name) else set()
    known = sorted({registry.key, *keys, *field_names(cls)} - set(SECTIONS))
    where = f' with {registry.section}.{registry.key} = "{name}"'
    return make(cls, registry.section, arguments | others, known, where)
