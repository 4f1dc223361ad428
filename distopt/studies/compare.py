"""Compare runs: iterations, bytes and seconds to each accuracy, and their ratios.

A variant may have several runs, one per seed. Its numbers are then medians over the runs that got
there, and a ratio is the median of the ratios to the other variant's run with the same seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from distopt.core.errors import CheckpointError
from distopt.core.units import power
from distopt.record.reader import History, Reach, read_history
from distopt.studies.rounding import Gaps, gaps_of
from distopt.studies.suite import ACCURACIES, Measure, Suite

SYMBOLS = {"stationarity": "P", "nmse": "NMSE"}


@dataclass(frozen=True)
class VariantRun:
    """One run of a variant: its records, and why some or all are missing."""

    label: str
    seed: int | None
    history: History | None
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
    to_baseline: float | None = None  # bytes per agent, as a share of the baseline's
    to_uncompressed: float | None = None  # and of the best uncompressed variant's


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
    def histories(self) -> list[History]:
        """The records that exist."""
        return [run.history for run in self.runs if run.history]

    def middle(self, number: Callable[[History], float]) -> float | None:
        """Return the median of a number over the runs."""
        values = [v for v in map(number, self.histories) if np.isfinite(v)]
        return median(values) if values else None

    def last(self, series: str) -> float | None:
        """Return the median of the last values of a series."""
        return self.middle(lambda history: history.last(series))

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
        if self.failures:
            diverged = any("diverged" in f or "finite" in f for f in self.failures)
            return "diverged" if diverged else "failed"
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
                    "stationarity": run.history.last("stationarity") if run.history else None,
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
        try:
            history = read_history(case.folder)
        except CheckpointError as error:
            history, reason = None, reason or str(error)
        runs.append(VariantRun(case.label, case.seed, history, reason, suite.measure))
    return compare(runs, suite.accuracies, suite.baseline, suite.title)


def compare_folders(folders: Sequence[Path], accuracies: Sequence[float] | None) -> Comparison:
    """Measure existing runs, named by their folders (by their paths where those clash)."""
    histories = [read_history(folder) for folder in folders]
    names = [h.name for h in histories]
    runs = [
        VariantRun(h.name if names.count(h.name) == 1 else str(h.place), None, h) for h in histories
    ]
    return compare(runs, accuracies or ACCURACIES)


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
        to_baseline=ratio(group, baseline, accuracy),
        to_uncompressed=ratio(group, uncompressed, accuracy),
    )


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
