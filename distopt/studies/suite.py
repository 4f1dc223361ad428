"""Suites: variants of one problem in one TOML file.

The file is a configuration plus ``[suite]`` and one ``[[variant]]`` table for each variant. A
variant's ``algorithm`` or ``compressor`` replaces the section when it has a ``name``; otherwise, and
for the other sections, its keys are merged into the section.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from distopt.config.build import SECTIONS, make_config
from distopt.config.tables import read_toml, require_sections
from distopt.core.errors import ConfigError, DistoptError, Mistakes, together
from distopt.core.files import slug
from distopt.core.parameters import nearest, validated
from distopt.mpirun.jobfile import Case

ACCURACIES = (1e-4, 1e-6, 1e-10)
NOT_RUN = "not run"  # how the reason begins why a run is missing that never began
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


class VariantConfig(BaseModel):
    """A table [[variant]]: a label, and what differs from the suite's sections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Annotated[str, Field(pattern=r"\S")]
    problem: dict[str, Any] = {}
    topology: dict[str, Any] = {}
    algorithm: dict[str, Any] = {}
    arithmetic: dict[str, Any] = {}
    compressor: dict[str, Any] = {}
    run: dict[str, Any] = {}

    def over(self, base: dict[str, Any]) -> dict[str, Any]:
        """Return the sections of this variant, those of the suite below."""
        result = deepcopy(base)
        for section, table in self.model_dump(exclude_unset=True, exclude={"label"}).items():
            replaces = KEYS.get(section) in table or (section == "topology" and "file" in table)
            below = {} if replaces else result.get(section, {})
            result[section] = merged(below, table) if isinstance(below, dict) else table
        return result


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
    """Read a suite and validate every variant; its run directories are in `out`.

    The settings ``section.key=value`` are applied to every variant last.

    Raises
    ------
    ConfigError
        With everything that is wrong in any variant.
    """
    tables = read_toml(path)
    if isinstance(run := tables.setdefault("run", {}), dict):
        run.setdefault("on_failure", "restart")  # nobody watches a long suite
    given, listed = tables.pop("suite", {}), tables.pop("variant", [])
    suite, mistakes = SuiteConfig(), Mistakes("The suite")
    with mistakes.noted():
        require_sections(tables, (*SECTIONS, "suite", "variant"))
    tables = {section: table for section, table in tables.items() if section in SECTIONS}
    with mistakes.noted():
        suite = validated(SuiteConfig, "suite", given)
    variants: list[VariantConfig] = []
    with mistakes.noted():
        variants = read_variants(path, listed)
        require_baseline(suite.baseline, [variant.label for variant in variants])
    cases: list[Case] = []
    complaints: dict[str, DistoptError] = {}
    for variant in variants:
        sections, folder = variant.over(tables), out / slug(variant.label)
        for seed in suite.seeds or (None,):
            seeds = [] if seed is None else [f"problem.seed={seed}", f"run.seed={seed}"]
            try:
                config = make_config(sections, path.parent, [*seeds, *settings])
            except DistoptError as error:
                complaints[variant.label] = error
                break
            own = folder if seed is None else folder / f"seed-{seed}"
            cases.append(Case(label=variant.label, seed=seed, folder=own, config=config))
    with mistakes.noted():
        if complaints:
            raise whole(complaints, len(variants))
    mistakes.tell()
    title = suite.title or path.stem
    return Suite(title, suite.accuracies, suite.baseline, cases, suite.measure)


def read_variants(path: Path, tables: Any) -> list[VariantConfig]:
    """Validate the variants; labels must differ, also as names of folders."""
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError("variant must be written as [[variant]] tables.")
    if not tables:
        raise ConfigError(f"{path} has no [[variant]]; `distopt run` runs a single configuration.")
    variants: dict[str, VariantConfig] = {}
    mistakes = Mistakes("The suite")
    for number, table in enumerate(tables, 1):
        with mistakes.noted():
            variant = read_variant(table, number)
            other = variants.setdefault(slug(variant.label), variant)
            if other is not variant:
                raise ConfigError(
                    f'Two variants have labels too much alike: "{other.label}" and "{variant.label}".'
                )
    mistakes.tell()
    return list(variants.values())


def read_variant(table: dict[str, Any], number: int) -> VariantConfig:
    """Validate a variant; its mistakes name it by its label, else by its number."""
    try:
        return validated(VariantConfig, "", table)
    except ConfigError as error:
        raise of_variant(table.get("label", number), error) from None


def require_baseline(baseline: str | None, labels: Sequence[str]) -> None:
    """Raise `ConfigError` for a baseline that is not among the variants."""
    if baseline is not None and baseline not in labels:
        hint = nearest(baseline, labels) or "."
        raise ConfigError(
            f'suite.baseline = "{baseline}" is not a variant{hint} Variants: {", ".join(labels)}.'
        )


def whole(complaints: dict[str, DistoptError], variants: int) -> DistoptError:
    """Make one error of those of the variants, with their labels where not all have the same."""
    if len(complaints) == variants and len(set(map(str, complaints.values()))) == 1:
        return next(iter(complaints.values()))
    return together("The suite", [of_variant(*item) for item in complaints.items()])


def of_variant(label: object, error: DistoptError) -> DistoptError:
    """Begin each sentence of an error with the label of its variant."""
    told = [ConfigError(f"Variant {label}: {one}") for one in error.several or [error]]
    return together(f"Variant {label}", told)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge two tables, inner tables too."""
    inner = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | inner
