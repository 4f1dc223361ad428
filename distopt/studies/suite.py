"""Suites: variants of one problem in one TOML file.

The file is a configuration plus ``[suite]`` and one ``[[variant]]`` table for each variant. A
variant's ``algorithm`` or ``compressor`` replaces the section when it has a ``name``; otherwise, and
for the other sections, its keys are merged into the section.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from distopt.config.build import SECTIONS, Config, make_config
from distopt.config.tables import apply_settings, read_toml
from distopt.core.errors import ConfigError, DistoptError
from distopt.core.parameters import explain, nearest

ACCURACIES = (1e-4, 1e-6, 1e-10)
Measure: TypeAlias = Literal["stationarity", "nmse"]
KEYS = {"algorithm": "name", "compressor": "name", "topology": "graph"}  # a new one replaces all


class SuiteConfig(BaseModel):
    """The section [suite]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(description="of table and figures")] = ""
    accuracies: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(min_length=1, description="values of the measure to be reached"),
    ] = ACCURACIES
    measure: Annotated[
        Measure, Field(description="P, or the NMSE on the training samples of networks")
    ] = "stationarity"
    baseline: Annotated[str | None, Field(description="label of the variant to compare with")] = (
        None
    )
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**64)], ...] | None,
        Field(min_length=1, description="each sets problem.seed and run.seed; one run per seed"),
    ] = None


@dataclass(frozen=True)
class Case:
    """One run of a suite."""

    label: str
    seed: int | None
    config: Config
    folder: Path  # of the run

    @property
    def name(self) -> str:
        """Label and seed."""
        return self.label if self.seed is None else f"{self.label} [seed {self.seed}]"


@dataclass(frozen=True)
class Suite:
    """All runs of a suite, validated."""

    title: str
    accuracies: tuple[float, ...]
    baseline: str | None
    cases: list[Case]
    measure: Measure = "stationarity"

    @property
    def agents(self) -> set[int]:
        """The numbers of agents that occur."""
        return {case.config.problem.agents for case in self.cases}


def load_suite(path: Path, settings: Sequence[str], out: Path) -> Suite:
    """Read a suite and validate every variant.

    Parameters
    ----------
    path : Path
    settings : Sequence[str]
        ``section.key=value``, applied to every variant last.
    out : Path
        Folder of the run directories.

    Raises
    ------
    ConfigError
        With everything that is wrong in any variant.
    """
    tables = read_toml(path)
    for key in tables:
        if key not in (*SECTIONS, "suite", "variant"):
            known = (*SECTIONS, "suite", "variant")
            hint = nearest(key, known) or "."
            raise ConfigError(f"[{key}] is not a section{hint} Accepted: {', '.join(known)}.")
    suite = read_suite_section(tables.pop("suite", {}))
    variants = read_variants(path, tables.pop("variant", []))
    if suite.baseline is not None and suite.baseline not in variants:
        hint = nearest(suite.baseline, variants) or "."
        raise ConfigError(
            f'suite.baseline = "{suite.baseline}" is no variant{hint} '
            f"Variants: {', '.join(variants)}."
        )
    cases: list[Case] = []
    complaints: dict[str, str] = {}
    for label, variant in variants.items():
        for seed in suite.seeds or (None,):
            try:
                merged = merge(tables, variant)
                if seed is not None:
                    merged = apply_settings(merged, [f"problem.seed={seed}", f"run.seed={seed}"])
                config = make_config(apply_settings(merged, settings), path.parent)
            except DistoptError as error:
                complaints[label] = str(error)
                break
            folder = out / slug(label) / ("" if seed is None else f"seed-{seed}")
            cases.append(Case(label, seed, config, folder))
    if complaints:
        raise ConfigError(one_sentence(complaints, len(variants)))
    title = suite.title or path.stem
    return Suite(title, suite.accuracies, suite.baseline, cases, suite.measure)


def one_sentence(complaints: dict[str, str], variants: int) -> str:
    """Say what is wrong with which variants; once, if it is the same with all."""
    if len(complaints) == variants and len(set(complaints.values())) == 1:
        return next(iter(complaints.values()))
    listed = [f"{label}: {sentence}" for label, sentence in complaints.items()]
    if len(listed) == 1:
        return f"Variant {listed[0]}"
    return "\n  ".join([f"{len(listed)} of {variants} variants are wrong:", *listed])


def read_suite_section(table: Any) -> SuiteConfig:
    """Validate the section [suite]."""
    if not isinstance(table, dict):
        raise ConfigError(f"suite must be a table of keys, not {table!r}.")
    try:
        return SuiteConfig(**table)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, "suite", SuiteConfig.model_fields)) from None


def read_variants(path: Path, tables: Any) -> dict[str, dict[str, Any]]:
    """Take the variants by label; labels must differ, also as names of folders."""
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError("variant must be written as [[variant]] tables.")
    if not tables:
        raise ConfigError(f"{path} has no [[variant]]; `distopt run` runs a single configuration.")
    variants: dict[str, dict[str, Any]] = {}
    folders: dict[str, str] = {}
    for number, given in enumerate(tables, 1):
        table = dict(given)
        label = table.pop("label", None)
        if not isinstance(label, str) or not label.strip():
            raise ConfigError(f"Variant {number} of {path} has no label, which must be a text.")
        for key, value in table.items():
            if key not in SECTIONS:
                hint = nearest(key, SECTIONS) or "."
                raise ConfigError(
                    f"Variant {label}: {key} is not known{hint} "
                    f"Accepted: label, {', '.join(SECTIONS)}."
                )
            if not isinstance(value, dict):
                raise ConfigError(f"Variant {label}: {key} must be a table, not {value!r}.")
        other = folders.setdefault(slug(label), label)
        if label in variants or other != label:
            raise ConfigError(f'Two variants have labels too much alike: "{other}" and "{label}".')
        variants[label] = table
    return variants


def merge(base: dict[str, Any], variant: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put a variant's tables into a copy of the suite's sections."""
    result = deepcopy(base)
    for section, table in variant.items():
        replaces = KEYS.get(section) in table or (section == "topology" and "file" in table)
        below = {} if replaces else result.get(section, {})
        result[section] = merged(below, table) if isinstance(below, dict) else dict(table)
    return result


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge two tables, inner tables too."""
    inner = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | inner


def slug(label: str) -> str:
    """Make a folder name of a label.

    >>> slug("cgt1, 2 bits (dithered)")
    'cgt1-2-bits-dithered'
    """
    return re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.") or "variant"
