"""Set runs side by side: iterations, bytes and seconds to each accuracy, and their ratios.

A variant may have several runs, one per seed. Its numbers are then medians over the runs that got
there, and a ratio is the median of the ratios to the other variant's run with the same seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

import numpy as np

from distopt.core.errors import ConfigError
from distopt.core.parameters import nearest
from distopt.record.history import History, Reach, read_history

ACCURACIES = (1e-4, 1e-6, 1e-10)
Measure: TypeAlias = Literal["stationarity", "nmse"]
SYMBOLS = {"stationarity": "P", "nmse": "NMSE"}


@dataclass(frozen=True)
class Entry:
    """One run of one variant: its records, or why there are none or not all."""

    label: str
    seed: int | None
    history: History | None
    failure: str | None = None
    measure: Measure = "stationarity"  # the series that accuracies are values of

    def reach(self, accuracy: float) -> Reach | None:
        """Return when this run was so accurate, if it was."""
        return self.history.reach(accuracy, self.measure) if self.history else None


@dataclass(frozen=True)
class Target:
    """What one variant needed for one accuracy."""

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
class Row:
    """One variant."""

    label: str
    entries: Sequence[Entry]
    targets: list[Target]
    failures: list[str]

    @property
    def histories(self) -> list[History]:
        """The records that exist."""
        return [e.history for e in self.entries if e.history]

    def middle(self, number: Callable[[History], float]) -> float | None:
        """Return the median of a number over the runs."""
        values = [v for v in map(number, self.histories) if np.isfinite(v)]
        return median(values) if values else None

    @property
    def converged(self) -> int:
        """Count the runs that reached the finest accuracy."""
        return self.targets[-1].reached

    @property
    def status(self) -> str:
        """Say in a word what became of the variant."""
        if self.failures:
            diverged = any("diverged" in f or "finite" in f for f in self.failures)
            return "diverged" if diverged else "failed"
        return "converged" if self.converged == len(self.entries) else "not reached"

    def to_json(self) -> dict[str, Any]:
        """Return all numbers of the variant."""
        first = self.histories[0] if self.histories else None
        config = first.config if first else {}
        return {
            "variant": self.label,
            "algorithm": first.meta["algorithm"] if first else None,
            "compressor": first.meta["compressor"] if first else None,
            "parameters": {key: config.get(key, {}) for key in ("algorithm", "compressor")},
            "agents": first.meta["agents"] if first else None,
            "dimension": first.meta["dimension"] if first else None,
            "status": self.status,
            "converged": f"{self.converged}/{len(self.entries)}",
            "failures": self.failures,
            "accuracies": [vars(target) for target in self.targets],
            "bits_per_coordinate": self.middle(lambda h: h.bits),
            "stationarity": self.middle(lambda h: h.last("stationarity")),
            "nmse": self.middle(lambda h: h.last("nmse")),
            "consensus_error": self.middle(lambda h: h.last("consensus_error")),
            "objective": self.middle(lambda h: h.last("objective")),
            "iterations": self.middle(lambda h: h.last("iteration")),
            "bytes_per_agent": self.middle(lambda h: h.last("bytes_per_agent")),
            "bytes_on_wire": self.middle(lambda h: h.last("bytes_on_wire")),
            "seconds": {
                "algorithm": self.middle(lambda h: h.last("seconds")),
                "communication": self.middle(lambda h: h.last("seconds_communication")),
                "diagnostics": self.middle(lambda h: h.last("seconds_diagnostics")),
            },
            "ball_violations": sum(h.last("ball_violations", 0) for h in self.histories),
            "certified": bool(self.histories) and all(h.meta["certified"] for h in self.histories),
            "runs": [
                {
                    "seed": e.seed,
                    "run_dir": str(e.history.place) if e.history else None,
                    "failure": e.failure,
                    "stationarity": e.history.last("stationarity") if e.history else None,
                    "reached": [r._asdict() if (r := e.reach(t.accuracy)) else None
                                for t in self.targets],
                }
                for e in self.entries
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Variants of one problem, measured alike."""

    title: str
    accuracies: list[float]
    baseline: str | None
    rows: list[Row]
    references: dict[float, str] = field(default_factory=dict)  # best uncompressed, by accuracy
    measure: Measure = "stationarity"  # what the accuracies are values of

    @property
    def symbol(self) -> str:
        """What tables and figures call the measure."""
        return SYMBOLS[self.measure]

    @property
    def baseline_is_best(self) -> bool:
        """Whether the baseline is the best uncompressed variant at every accuracy."""
        return set(self.references.values()) <= {self.baseline}

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        return {
            "title": self.title,
            "measure": self.measure,
            "accuracies": self.accuracies,
            "baseline": self.baseline,
            "best_uncompressed": [self.references.get(a) for a in self.accuracies],
            "variants": [row.to_json() for row in self.rows],
        }


def compare(
    entries: Sequence[Entry],
    accuracies: Sequence[float] = ACCURACIES,
    baseline: str | None = None,
    title: str = "Comparison",
) -> Comparison:
    """Measure runs against each other.

    Parameters
    ----------
    entries : Sequence[Entry]
        Variants appear in the order of their first entry.
    accuracies : Sequence[float]
        Values of the entries' measure.
    baseline : str, optional
        The variant that the others are compared with, by default the first uncompressed one.
    title : str

    Raises
    ------
    ConfigError
        If the baseline is not among the variants.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    plain = [name for name, group in groups.items() if is_uncompressed(group)]
    if baseline is None:
        baseline = plain[0] if plain else None
    elif baseline not in groups:
        hint = nearest(baseline, groups) or "."
        raise ConfigError(
            f'suite.baseline = "{baseline}" is no variant{hint} Variants: {", ".join(groups)}.'
        )
    ordered = sorted(accuracies, reverse=True)
    references = {a: best for a in ordered if (best := cheapest(groups, plain, a))}
    rows = [
        Row(
            label,
            group,
            [
                target(group, a, groups.get(baseline or ""), groups.get(references.get(a, "")))
                for a in ordered
            ],
            [e.failure for e in group if e.failure],
        )
        for label, group in groups.items()
    ]
    measure = entries[0].measure if entries else "stationarity"
    return Comparison(title, ordered, baseline, rows, references, measure)


def is_uncompressed(group: Sequence[Entry]) -> bool:
    """Whether a variant sends its vectors as they are."""
    known = [e.history for e in group if e.history]
    return bool(known) and all(h.uncompressed for h in known)


def cheapest(groups: dict[str, list[Entry]], names: Sequence[str], accuracy: float) -> str | None:
    """Return which of the named variants all of whose runs got there needed the fewest bytes."""
    costs = {}
    for name in names:
        reached = [e.reach(accuracy) for e in groups[name]]
        if all(reached):
            costs[name] = median(r.bytes_per_agent for r in reached if r)
    return min(costs, key=lambda name: costs[name]) if costs else None


def target(
    group: Sequence[Entry],
    accuracy: float,
    baseline: Sequence[Entry] | None,
    uncompressed: Sequence[Entry] | None,
) -> Target:
    """Measure one variant at one accuracy."""
    reached = [r for e in group if (r := e.reach(accuracy))]
    if not reached:
        return Target(accuracy, len(group), 0, 0)
    return Target(
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


def ratio(group: Sequence[Entry], others: Sequence[Entry] | None, accuracy: float) -> float | None:
    """Return the median over seeds of the bytes per agent relative to another variant's run."""
    theirs = {e.seed: e.reach(accuracy) for e in others or []}
    pairs = [(e.reach(accuracy), theirs.get(e.seed)) for e in group]
    ratios = [
        mine.bytes_per_agent / other.bytes_per_agent
        for mine, other in pairs
        if mine and other and other.bytes_per_agent > 0
    ]
    return median(ratios) if ratios else None


def entries_of_runs(places: Sequence[Path]) -> list[Entry]:
    """Take run directories as variants, named by their folders (by their paths where those clash)."""
    histories = [read_history(place) for place in places]
    names = [h.name for h in histories]
    labels = [
        name if names.count(name) == 1 else str(h.place)
        for name, h in zip(names, histories, strict=True)
    ]
    return [Entry(label, None, h) for label, h in zip(labels, histories, strict=True)]
