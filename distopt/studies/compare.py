"""Compare runs: iterations, bytes and seconds to each accuracy, and their ratios.

A variant may have several runs, one per seed. Its numbers are then medians over the runs that got
there, beside them their spread, and a ratio is the median of the ratios to the other variant's run
with the same seed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distopt.core.errors import CheckpointError
from distopt.core.files import slug
from distopt.core.units import power
from distopt.record.reader import RECORD, Reach, Recorded, RunData, load
from distopt.studies.rounding import Gaps, gaps_of
from distopt.studies.suite import ACCURACIES, NOT_RUN, Measure, Suite

SEED = re.compile(r"seed-(\d{1,20})")  # the folder of one seed of a variant

QUANTILES = {"smallest": 0.0, "lower_quartile": 0.25, "upper_quartile": 0.75, "largest": 1.0}
POWERS = [10.0**-k for k in range(2, 31, 2)]
MOST = 3  # accuracies that are chosen of them
SYMBOLS = {"stationarity": "P", "nmse": "NMSE"}


@dataclass(frozen=True)
class VariantRun:
    """One run of a variant: its records, and why some or all are missing."""

    label: str
    seed: int | None
    history: RunData | None
    failure: str | None = None
    measure: Measure = "stationarity"  # the series that accuracies are values of

    def reach(self, accuracy: float) -> Reach | None:
        """Return when this run was so accurate, if it was."""
        return self.history.reach(accuracy, self.measure) if self.history else None


@dataclass(frozen=True)
class Effort:
    """What a variant needed for one accuracy."""

    accuracy: float
    runs: int
    reached: int  # runs that were so accurate at some record
    held: int  # of those, runs that stayed so accurate to their end
    iterations: float | None = None
    bytes_per_agent: float | None = None
    bytes_on_wire: float | None = None
    seconds: float | None = None
    bytes_recorded: float | None = None  # per agent, with those of records
    seconds_recorded: float | None = None
    to_baseline: float | None = None  # bytes per agent, as a share of the baseline's
    to_uncompressed: float | None = None  # and of the best uncompressed variant's
    # Over the runs, by quantity.
    spread: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """What was measured of a variant."""

    label: str
    runs: Sequence[VariantRun]
    efforts: list[Effort]

    @property
    def failures(self) -> list[str]:
        """Why runs failed."""
        return [run.failure for run in self.runs if run.failure]

    @property
    def histories(self) -> list[RunData]:
        """The records that exist."""
        return [run.history for run in self.runs if run.history]

    def middle(self, number: Callable[[RunData], float]) -> float | None:
        """Return the median of a number over the runs."""
        values = [v for v in map(number, self.histories) if np.isfinite(v)]
        return median(values) if values else None

    def last(self, series: str) -> float | None:
        """Return the median of the last values of a series."""
        return self.middle(lambda history: history.last(series))

    def spread(self, series: str) -> dict[str, float]:
        """Return the `QUANTILES` of the last values of a series."""
        values = [h.last(series) for h in self.histories]
        return spread([v for v in values if np.isfinite(v)])

    @property
    def converged(self) -> str:
        """Of all runs, those that reached the finest accuracy."""
        return f"{self.efforts[-1].reached}/{len(self.runs)}"

    @property
    def certified(self) -> bool:
        """Whether the steps of all runs are proven."""
        return bool(self.histories) and all(h.meta["certified"] for h in self.histories)

    @property
    def ball_violations(self) -> float:
        """Arguments outside the unit ball, in all runs."""
        return sum(h.last("ball_violations", 0) for h in self.histories)

    @property
    def status(self) -> str:
        """Say in a word how the variant ended."""
        failed = [f for f in self.failures if not f.startswith(NOT_RUN)]
        if any("diverged" in f or "finite" in f for f in failed):
            return "diverged"
        if self.failures:
            return "failed" if failed else NOT_RUN
        return "converged" if self.efforts[-1].reached == len(self.runs) else "not reached"

    def to_json(self) -> dict[str, Any]:
        """Return all numbers of the variant."""
        first = self.histories[0] if self.histories else None
        config = first.config if first else {}
        meta: Mapping[str, Any] = first.meta if first else {}
        known = ("nmse", "consensus_error", "objective", "bytes_per_agent", "bytes_on_wire")
        return {
            "variant": self.label,
            "parameters": {key: config.get(key, {}) for key in ("algorithm", "compressor")},
            **{key: meta.get(key) for key in ("algorithm", "compressor", "agents", "dimension")},
            "status": self.status,
            "converged": self.converged,
            "failures": self.failures,
            "accuracies": [vars(effort) for effort in self.efforts],
            "bits_per_coordinate": self.middle(lambda h: h.bits),
            "iterations": self.last("iteration"),
            "stationarity": self.last("stationarity"),
            **{name: self.last(name) for name in known},
            "spread": {name: self.spread(name) for name in ("stationarity", *known)},
            "seconds": {
                "algorithm": self.last("seconds"),
                "communication": self.last("seconds_communication"),
                "diagnostics": self.last("seconds_diagnostics"),
            },
            "ball_violations": self.ball_violations,
            "certified": self.certified,
            "runs": [
                {
                    "seed": run.seed,
                    "run_dir": str(run.history.place) if run.history else None,
                    "failure": run.failure,
                    **{name: run.history.last(name) if run.history else None
                       for name in ("stationarity", "objective")},
                    "reached": [r._asdict() if (r := run.reach(e.accuracy)) else None
                                for e in self.efforts],
                }
                for run in self.runs
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Variants of one problem, measured alike."""

    title: str
    accuracies: dict[float, str]  # from coarse to fine, and as people type them
    baseline: str | None
    variants: list[Variant]
    references: dict[float, str]  # best uncompressed variant, by accuracy
    measure: Measure = "stationarity"  # what the accuracies are values of

    @property
    def symbol(self) -> str:
        """What tables and figures call the measure."""
        return SYMBOLS[self.measure]

    @property
    def baseline_is_best(self) -> bool:
        """Whether the baseline is the best uncompressed variant at every accuracy."""
        return set(self.references.values()) <= {self.baseline}

    @property
    def failures(self) -> list[str]:
        """What went wrong, a sentence for each run."""
        return [f"{v.label}: {failure}" for v in self.variants for failure in v.failures]

    @cached_property
    def gaps(self) -> list[Gaps]:
        """The variants in fixed point, beside their theory."""
        return [found for v in self.variants if (found := gaps_of(v.label, v.histories))]

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        return {
            "title": self.title,
            "measure": self.measure,
            "accuracies": list(self.accuracies),
            "baseline": self.baseline,
            "best_uncompressed": [self.references.get(a) for a in self.accuracies],
            "variants": [variant.to_json() for variant in self.variants],
        }


def compare_suite(suite: Suite, failures: Mapping[str, str]) -> Comparison:
    """Measure all runs of a suite, those that failed as far as they were recorded."""
    runs = []
    for case in suite.cases:
        reason = failures.get(case.name)
        if reason is None and not case.folder.exists():
            reason = f"{NOT_RUN}: there is no {case.folder}"
        try:
            history = load(case.folder)
        except CheckpointError as error:
            history, reason = None, reason or str(error)
        runs.append(VariantRun(case.label, case.seed, history, reason, suite.measure))
    return compare(runs, suite.accuracies, suite.baseline, suite.title)


def compare_folders(folders: Sequence[Path], accuracies: Sequence[float] | None) -> Comparison:
    """Measure existing runs; one folder of a suite is measured as the suite was."""
    told = told_by_suite(folders[0]) if len(folders) == 1 else {}
    measure: Measure = told.get("measure", "stationarity")
    runs = [replace(run, measure=measure) for run in find_runs(folders)]
    baseline = told.get("baseline") if told.get("baseline") in {r.label for r in runs} else None
    accuracies = accuracies or told.get("accuracies") or own_accuracies(runs, measure)
    return compare(runs, accuracies, baseline, told.get("title", "Comparison"))


def own_accuracies(runs: Sequence[VariantRun], measure: Measure) -> Sequence[float]:
    """Choose accuracies of runs that no suite has: those at which they stop, and coarser usual ones.

    If none stops at an accuracy: the `MOST` finest powers of 100 that any of them reached.
    """
    found = [run.history for run in runs if run.history]
    stops = {float(h.config.get("run", {}).get("stop", {}).get(measure, 0.0)) for h in found} - {
        0.0
    }
    if stops:
        return sorted(stops | {a for a in ACCURACIES if a >= 3 * min(stops)})
    least = min((smallest(h.series.get(measure, ())) for h in found), default=inf)
    reached = [a for a in POWERS if a >= least]
    return reached[-MOST:] or ACCURACIES


def smallest(values: ArrayLike) -> float:
    """Return the smallest finite value, infinity if there is none."""
    found = np.asarray(values, float)
    return float(found[np.isfinite(found)].min(initial=inf))


def told_by_suite(folder: Path) -> dict[str, Any]:
    """Return what comparison.json of a suite's folder says of the suite; no labels if there is none."""
    try:
        found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        told = {key: found[key] for key in ("title", "measure", "accuracies", "baseline")}
        told["labels"] = [variant["variant"] for variant in found["variants"]]
        valid = all(isinstance(a, float) for a in told["accuracies"])
    except (OSError, ValueError, LookupError, TypeError):
        return {"labels": []}
    return told if valid and told["measure"] in SYMBOLS else {"labels": []}


def find_runs(given: Iterable[Path | str | RunData | Recorded]) -> list[VariantRun]:
    """Read run directories, those that lie in other folders, such as a suite's, and results.

    A variant is named as its suite says, else by its folder (by its path where those clash); its
    folders ``seed-1``, ``seed-2`` and so on are its runs.

    Raises
    ------
    CheckpointError
        For a folder without runs, or a run that cannot be read.
    """
    found: list[RunData] = []
    labels: dict[str, str] = {}
    for item in given:
        if isinstance(item, str | Path):
            own = {slug(str(label)): str(label) for label in told_by_suite(Path(item))["labels"]}
            found += map(load, run_folders(Path(item), [*own]))
            labels |= own
        else:
            found.append(load(item))
    seeds = [SEED.fullmatch(run.name) if run.place else None for run in found]
    folders = [
        None if run.place is None else run.place.resolve().parent if seed else run.place.resolve()
        for run, seed in zip(found, seeds, strict=True)
    ]
    names = [folder.name for folder in set(folders) if folder]

    def label(run: RunData, folder: Path | None) -> str:
        if folder is None or run.place is None:
            return run.name
        plain = str(run.place.parent if folder != run.place.resolve() else run.place)
        return labels.get(folder.name, folder.name) if names.count(folder.name) == 1 else plain

    return [
        VariantRun(label(run, folder), int(seed[1]) if seed else None, run)
        for run, folder, seed in zip(found, folders, seeds, strict=True)
    ]


def run_folders(place: Path, order: Sequence[str]) -> list[Path]:
    """List the run directories in a folder, variants in a suite's order; itself if it is one."""
    inner = [*place.glob(f"*/{RECORD}"), *place.glob(f"*/seed-*/{RECORD}")]
    if (place / RECORD).is_file() or not inner:
        return [place]

    def rank(folder: Path) -> tuple[int, str, int, str]:
        seed = SEED.fullmatch(folder.name)
        variant = (folder.parent if seed else folder).name
        at = order.index(variant) if variant in order else len(order)
        return at, variant, int(seed[1]) if seed else 0, folder.name

    return sorted((path.parent for path in inner), key=rank)


def compare(
    runs: Sequence[VariantRun],
    accuracies: Sequence[float] = ACCURACIES,
    baseline: str | None = None,
    title: str = "Comparison",
) -> Comparison:
    """Measure runs against each other, at values of their measure.

    Variants appear in the order of their first run. They are compared with the baseline, by default the
    first uncompressed one.
    """
    groups: dict[str, list[VariantRun]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    plain = [name for name, group in groups.items() if is_uncompressed(group)]
    baseline = baseline or next(iter(plain), None)
    ordered = sorted(accuracies, reverse=True)
    references = {a: best for a in ordered if (best := cheapest(groups, plain, a))}
    variants = []
    for label, group in groups.items():
        efforts = [
            effort(group, a, groups.get(baseline or ""), groups.get(references.get(a, "")))
            for a in ordered
        ]
        variants.append(Variant(label, group, efforts))
    measure = runs[0].measure if runs else "stationarity"
    names = {a: power(a) for a in ordered}
    return Comparison(title, names, baseline, variants, references, measure)


def is_uncompressed(group: Sequence[VariantRun]) -> bool:
    """Whether a variant sends its vectors as they are."""
    known = [run.history for run in group if run.history]
    return bool(known) and all(h.uncompressed for h in known)


def cheapest(
    groups: Mapping[str, list[VariantRun]], names: Sequence[str], accuracy: float
) -> str | None:
    """Return which of the named variants all of whose runs got there needed the fewest bytes."""
    costs = {}
    for name in names:
        reached = [run.reach(accuracy) for run in groups[name]]
        if all(reached):
            costs[name] = median(r.bytes_per_agent for r in reached if r)
    return min(costs, key=lambda name: costs[name]) if costs else None


def effort(
    group: Sequence[VariantRun],
    accuracy: float,
    baseline: Sequence[VariantRun] | None,
    uncompressed: Sequence[VariantRun] | None,
) -> Effort:
    """Measure a variant at one accuracy."""
    reached = [r for run in group if (r := run.reach(accuracy))]
    if not reached:
        return Effort(accuracy, len(group), 0, 0)
    return Effort(
        accuracy,
        len(group),
        len(reached),
        sum(r.held for r in reached),
        iterations=median(r.iterations for r in reached),
        bytes_per_agent=median(r.bytes_per_agent for r in reached),
        bytes_on_wire=median(r.bytes_on_wire for r in reached),
        seconds=median(r.seconds for r in reached),
        bytes_recorded=median(r.bytes_recorded for r in reached),
        seconds_recorded=median(r.seconds_recorded for r in reached),
        to_baseline=ratio(group, baseline, accuracy),
        to_uncompressed=ratio(group, uncompressed, accuracy),
        spread={name: spread([getattr(r, name) for r in reached]) for name in Reach._fields[:-1]},
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the `QUANTILES` of some numbers, linear between them; nothing for none."""
    return {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()} if values else {}


def ratio(
    group: Sequence[VariantRun], others: Sequence[VariantRun] | None, accuracy: float
) -> float | None:
    """Return the median over seeds of the bytes per agent relative to another variant's run."""
    theirs = {run.seed: run.reach(accuracy) for run in others or []}
    pairs = [(run.reach(accuracy), theirs.get(run.seed)) for run in group]
    ratios = [
        mine.bytes_per_agent / other.bytes_per_agent
        for mine, other in pairs
        if mine and other and other.bytes_per_agent > 0
    ]
    return median(ratios) if ratios else None
