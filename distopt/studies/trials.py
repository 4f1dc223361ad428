"""All trials of a sweep, kept in one file, and the table of its thresholds."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from distopt.core import units as q
from distopt.core.errors import CheckpointError
from distopt.core.parameters import show
from distopt.mpirun.jobfile import SweepJob
from distopt.record.hdf5 import read_arrays, write_arrays
from distopt.studies.results import Column, Results
from distopt.studies.sweep import Sweep, make_sweep
from distopt.studies.threshold import Descent, Trial, threshold
from distopt.theory.pl_star import Report

FORMAT = 1
FILE = "threshold.h5"
MEASURED = (
    "kernel_smallest", "kernel_largest", "kernel_reliable", "loss_curvature", "output_curvature",
    "sample_curvature", "curvature_bound", "allowed_radius", "needed_radius",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What was measured at the start point of one network, on the smallest T of the grid."""

    network: str
    m: int
    seed: int
    samples: int
    report: Report


class Trials:
    """All trials and start points so far, kept in one HDF5 file that is always whole."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        self.path, self.sweep = path, sweep
        self.trials: dict[tuple[str, int, int, int], Trial] = {}  # label, m, seed, T
        self.starts: dict[tuple[str, int, int], dict[str, float]] = {}  # label, m, seed

    @classmethod
    def opened(cls, path: Path, sweep: Sweep, overwrite: bool) -> Self:
        """Continue a file, or begin one.

        Raises
        ------
        CheckpointError
            If it is damaged, or its numbers were made by another sweep.
        """
        found = cls(path, sweep)
        if not path.exists() or overwrite:
            return found
        try:
            found.take(*read_arrays(path, "results of a sweep", FORMAT))
        except CheckpointError as error:
            raise CheckpointError(f"{error} --overwrite starts over.") from None
        return found

    @classmethod
    def of_job(cls, job: SweepJob) -> Self:
        """Go on with the file of a job, or begin one."""
        return cls.opened(job.out / FILE, make_sweep(job.sweep), job.overwrite)

    def take(self, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Load a file, which must belong to this sweep."""
        theirs, ours = flatten(attributes["settings"]), flatten(self.sweep.text)
        for key in sorted(theirs.keys() | ours.keys()):
            known = key.split(".")[0] != "networks" or key.split(".")[1] in self.sweep.networks
            if known and key in theirs and key in ours and theirs[key] != ours[key]:
                raise CheckpointError(
                    f"{self.path} was made with {key} = {show(theirs[key])}, not {show(ours[key])}; "
                    "--out takes another folder."
                )
        for row in rows("trials", arrays):
            if row["network"] in self.sweep.networks:
                done = Descent(row["eta"], row["epochs"], row["nmse"], bool(row["stable"]))
                self.add(
                    Trial(
                        row["network"], row["m"], row["samples"], row["seed"], row["beta"],
                        row["halvings"], done, self.sweep.section.target,
                    )
                )  # fmt: skip
        smallest = self.sweep.section.samples[0]
        for row in rows("starts", arrays):
            if row["network"] in self.sweep.networks and row["samples"] == smallest:
                start = (row.pop("network"), row.pop("m"), row.pop("seed"))
                self.starts[start] = row

    def save(self) -> None:
        """Write everything, under a temporary name that is then replaced."""
        write_arrays(
            self.path,
            columns("trials", [trial_row(t) for t in self.trials.values()])
            | columns("starts", self.start_rows()),
            {
                "format": FORMAT,
                "settings": self.sweep.text,
                "target": self.sweep.section.target,
            },
        )

    def add(self, done: "Trial | Start") -> None:
        """Take in one finished job."""
        if isinstance(done, Trial):
            self.trials[done.network, done.m, done.seed, done.samples] = done
        else:
            self.starts[done.network, done.m, done.seed] = start_row(done)

    def next_samples(self, label: str, m: int, seed: int) -> int | None:
        """Return the T to be tried next, None where the climb is over."""
        for samples in self.sweep.section.samples:
            done = self.trials.get((label, m, seed, samples))
            if done is None:
                return samples
            if not done.passed:
                return None
        return None

    def of(self, label: str, m: int) -> list[Trial]:
        """Return the trials of one network and width, by seed and T."""
        s = self.sweep.section
        keys = [(label, m, seed, T) for seed in s.seeds for T in s.samples]
        return [self.trials[key] for key in keys if key in self.trials]

    def threshold(self, label: str, m: int) -> int | None:
        """Return the largest T up to which all seeds passed; None where none did."""
        return threshold(self.of(label, m))

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        s = self.sweep.section
        found = []
        for label in self.sweep.networks:
            for m in s.widths:
                by_seed = {
                    seed: threshold(t for t in self.of(label, m) if t.seed == seed)
                    for seed in s.seeds
                }
                found.append(
                    {
                        "network": label,
                        "m": m,
                        "unknowns": self.sweep.family(label, m).layout.dimension,
                        "threshold": self.threshold(label, m),
                        "by_seed": by_seed,
                        "trials": [trial_row(t) for t in self.of(label, m)],
                    }
                )
        return {
            "target": s.target, "epochs": s.epochs, "thresholds": found, "starts": self.start_rows(),
            "file": str(self.path),
        }  # fmt: skip

    def start_rows(self) -> list[dict[str, Any]]:
        """Describe all start points by plain numbers."""
        return [
            {"network": label, "m": m, "seed": seed} | row
            for (label, m, seed), row in self.starts.items()
        ]


def trial_row(t: Trial) -> dict[str, Any]:
    """Describe a trial by plain numbers."""
    row = asdict(t)
    row |= row.pop("descent") | {"passed": t.passed}
    del row["target"]
    return row


def start_row(start: Start) -> dict[str, float]:
    """Describe a start point by plain numbers."""
    found = start.report.numbers()
    return {"samples": start.samples} | {name: found[name] for name in MEASURED}


def columns(group: str, table: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into one named array for each column."""
    return {f"{group}/{name}": [row[name] for row in table] for name in (table[0] if table else ())}


def rows(group: str, arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Turn the columns of a group back into rows."""
    data = {
        name.removeprefix(f"{group}/"): array.tolist()
        for name, array in arrays.items()
        if name.startswith(f"{group}/")
    }
    for values in zip(*data.values(), strict=True):
        yield dict(zip(data, values, strict=True))


def flatten(text: str) -> dict[str, Any]:
    """Return a TOML text as one table with dotted keys."""
    found: dict[str, Any] = {}

    def visit(table: Mapping[str, Any], path: str) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                visit(value, f"{path}{key}.")
            else:
                found[f"{path}{key}"] = value

    visit(tomllib.loads(text), "")
    return found


def tabulate(trials: Trials) -> Results:
    """Make the table of a sweep: a row for each network, width and seed."""
    s = trials.sweep.section
    goal = f"NMSE {q.power(s.target)} within {s.epochs:,} epochs"

    def write(nmse: float) -> str:
        return "pass" if nmse < s.target else q.small(nmse)

    columns = [
        Column("network", "network", words=True),
        Column("m", "m", "", "width"),
        Column("unknowns", "unknowns"),
        Column("seed", "seed"),
        *(Column(f"nmse_{T}", f"T = {T}", "", "best NMSE", write) for T in s.samples),
        Column("threshold", "largest T", write=lambda T: str(T or "none")),
    ]
    rows = [
        {
            "network": label,
            "m": m,
            "unknowns": trials.sweep.family(label, m).layout.dimension,
            "seed": seed,
            "threshold": trials.threshold(label, m) or 0,
        }
        | {f"nmse_{t.samples}": t.descent.nmse for t in trials.of(label, m) if t.seed == seed}
        for label in trials.sweep.networks
        for m in s.widths
        for seed in s.seeds
    ]
    note = (
        f"Gradient descent on all samples, step {s.first:g}/beta0 halved until it is stable. Pass: {goal}; "
        "else the best NMSE. The largest T is that up to which all seeds pass."
    )
    return Results(s.title or f"Samples trained to {goal}", columns, rows, [note])
