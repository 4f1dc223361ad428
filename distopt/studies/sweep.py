"""`distopt threshold`: networks against width and number of samples, as a farm of independent jobs.

The file has ``[threshold]``, one ``[[network]]`` table for each network, and ``[problem]`` with the keys
that all of them share. For each network, width and seed the number of samples climbs the grid until a
trial fails; every job that is done is in the HDF5 file, so the same command goes on where it stopped.
"""

import multiprocessing
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np
import pydantic
import tomli_w
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from distopt.config.tables import apply_settings, read_toml
from distopt.core import units as q
from distopt.core.errors import CheckpointError, ConfigError, TransportError
from distopt.core.parameters import explain, field_names, nearest, show
from distopt.mpirun.job import end_with_parent
from distopt.problems.costs import REGISTRY
from distopt.problems.costs.networks.family import Network
from distopt.record.hdf5 import read_arrays, write_arrays
from distopt.studies.threshold import Descent, Trial, threshold, trial
from distopt.theory.pl_star import Report, diagnose

if TYPE_CHECKING:
    from distopt.show.console import ProgressView

FORMAT = 1
SECTIONS = ("threshold", "problem", "network")
Grid = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class ThresholdConfig(BaseModel):
    """The section [threshold]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(description="of the figure")] = ""
    widths: Annotated[Grid, Field(description="m of the networks that are trained")] = (20, 50)
    measured: Annotated[
        Grid | None, Field(description="m of those measured at the start; `widths` by default")
    ] = None
    samples: Annotated[Grid, Field(description="T, the grid that is climbed")] = (5, 10, 20, 40, 80)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**64)], ...], Field(min_length=1)] = (
        0,
        1,
    )
    measurements: Annotated[float, Field(gt=0, le=1, description="n / m, rounded")] = 0.2
    target: Annotated[float, Field(gt=0, lt=1, description="NMSE that a pass is below")] = 1e-3
    epochs: Annotated[int, Field(ge=1, description="steps of gradient descent at most")] = 20_000
    first: Annotated[float, Field(gt=0, description="first step size, in units of 1 / beta0")] = 0.5
    halvings: Annotated[int, Field(ge=0, description="how often it is halved at most")] = 14


@dataclass(frozen=True)
class Sweep:
    """A validated file.

    Attributes
    ----------
    settings : ThresholdConfig
    networks : dict[str, Network]
        By label; m, n and samples are set by the sweep.
    text : str
        What decides the numbers, as TOML: a file of results belongs to it.
    """

    settings: ThresholdConfig
    networks: dict[str, Network]
    text: str

    def family(self, label: str, m: int) -> Network:
        """Return the network of this width."""
        n = max(1, round(self.settings.measurements * m))
        return replace(self.networks[label], m=m, n=n)

    @property
    def measured(self) -> tuple[int, ...]:
        """Widths at which the start is measured."""
        return self.settings.measured or self.settings.widths


def load_sweep(path: Path, settings: Sequence[str] = ()) -> Sweep:
    """Read the file of a sweep.

    Raises
    ------
    ConfigError
        With the key's full name, what was given and what is accepted.
    """
    tables = read_toml(path)
    networks = tables.pop("network", [])
    tables = apply_settings(tables, settings)
    for section in tables:
        if section not in SECTIONS:
            hint = nearest(section, SECTIONS) or "."
            raise ConfigError(
                f"[{section}] is not a section{hint} Accepted: {', '.join(SECTIONS)}."
            )
    shared = tables.get("problem", {})
    if not isinstance(networks, list) or not all(isinstance(t, dict) for t in networks):
        raise ConfigError("network must be written as [[network]] tables.")
    if not networks:
        raise ConfigError(f"{path} has no [[network]]; one table is needed for each network.")
    try:
        chosen = ThresholdConfig.model_validate(tables.get("threshold", {}))
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, "threshold", ThresholdConfig.model_fields)) from None
    known: dict[str, Network] = {}
    for number, given in enumerate(networks, 1):
        table = dict(given)
        label = table.pop("label", table.get("name"))
        if not isinstance(label, str) or not label.strip():
            raise ConfigError(f"Network {number} of {path} has no label or name, which is a text.")
        if label in known:
            raise ConfigError(f'Two networks have the label "{label}"; give each its own.')
        known[label] = make_network(label, {**shared, **table})
    ordered = chosen.model_copy(update={"samples": tuple(sorted(set(chosen.samples)))})
    sweep = Sweep(ordered, known, "")
    for label in known:  # widths that its data does not have are refused before the first trial
        for m in (*sweep.settings.widths, *sweep.measured):
            sweep.family(label, m).dimension_for(1, 0)
    decisive = ordered.model_dump(exclude={"title", "widths", "measured", "samples", "seeds"})
    described = {label: vars(family) for label, family in known.items()}
    text = tomli_w.dumps({"threshold": decisive, "networks": described})
    return replace(sweep, text=text)


def make_network(label: str, table: dict[str, Any]) -> Network:
    """Make the family of one [[network]] table."""
    name = table.pop("name", None)
    names = [key for key in REGISTRY if issubclass(REGISTRY.get(key), Network)]
    if name not in names:
        hint = nearest(name, names) if isinstance(name, str) else ""
        raise ConfigError(
            f"Network {label}: name = {show(name)} is no network{hint or '.'} Known: {', '.join(names)}."
        )
    cls = REGISTRY.get(name)
    for key in table:
        if key in {"m", "n", "samples", "seed", "agents"}:
            instead = {"n": "measurements", "m": "widths", "seed": "seeds"}.get(key, key)
            raise ConfigError(
                f"Network {label}: {key} is set by the sweep; see threshold.{instead}."
                if key != "agents"
                else f"Network {label}: agents has no meaning here, one process trains one network."
            )
        if key not in field_names(cls):
            hint = nearest(key, field_names(cls)) or "."
            accepted = ", ".join(k for k in field_names(cls) if k not in {"m", "n", "samples"})
            raise ConfigError(f"Network {label}: {key} is not known{hint} Accepted: {accepted}.")
    made: Network = cls(**table)
    return made


# What is done, and what is to do


@dataclass(frozen=True)
class Start:
    """What was measured at the start point of one network, on the smallest T of the grid."""

    network: str
    m: int
    seed: int
    samples: int
    report: Report


class Results:
    """All trials and start points so far, kept in one HDF5 file that is always whole."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        self.path, self.sweep = path, sweep
        self.trials: dict[tuple[str, int, int, int], Trial] = {}  # label, m, seed, T
        self.starts: dict[tuple[str, int, int], dict[str, float]] = {}  # label, m, seed

    @classmethod
    def opened(cls, path: Path, sweep: Sweep, overwrite: bool) -> Self:
        """Go on with a file, or begin one.

        Raises
        ------
        CheckpointError
            If it is damaged, or its numbers were made with other settings.
        """
        results = cls(path, sweep)
        if not path.exists() or overwrite:
            return results
        try:
            results.take(*read_arrays(path, "results of a sweep", FORMAT))
        except CheckpointError as error:
            raise CheckpointError(f"{error} --overwrite begins anew.") from None
        return results

    def take(self, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Take what a file holds; its settings must be ours."""
        theirs, ours = flat(attributes["settings"]), flat(self.sweep.text)
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
                place = (row["network"], row["m"], row["seed"], row["samples"])
                self.trials[place] = Trial(
                    row["network"], row["m"], row["samples"], row["seed"], row["beta"],
                    row["halvings"], done, self.sweep.settings.target,
                )  # fmt: skip
        for row in rows("starts", arrays):
            if row["network"] in self.sweep.networks and row["samples"] == self.smallest:
                start = (row.pop("network"), row.pop("m"), row.pop("seed"))
                self.starts[start] = row

    @property
    def smallest(self) -> int:
        """T of the start points."""
        return self.sweep.settings.samples[0]

    def save(self) -> None:
        """Write everything, under a temporary name that is then replaced."""
        write_arrays(
            self.path,
            columns("trials", [trial_row(t) for t in self.trials.values()])
            | columns("starts", self.start_rows()),
            {
                "format": FORMAT,
                "settings": self.sweep.text,
                "target": self.sweep.settings.target,
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
        for samples in self.sweep.settings.samples:
            done = self.trials.get((label, m, seed, samples))
            if done is None:
                return samples
            if not done.passed:
                return None
        return None

    def of(self, label: str, m: int) -> list[Trial]:
        """Return the trials of one network and width, by seed and T."""
        s = self.sweep.settings
        places = [(label, m, seed, T) for seed in s.seeds for T in s.samples]
        return [self.trials[place] for place in places if place in self.trials]

    def threshold(self, label: str, m: int) -> int | None:
        """Return the largest T up to which all seeds passed; None where none did."""
        return threshold(self.of(label, m))

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        s = self.sweep.settings
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
    return {
        "network": t.network, "m": t.m, "seed": t.seed, "samples": t.samples,
        "nmse": t.descent.nmse, "passed": t.passed, "epochs": t.descent.epochs,
        "eta": t.descent.eta, "halvings": t.halvings, "stable": t.descent.stable, "beta": t.beta,
    }  # fmt: skip


def start_row(start: Start) -> dict[str, float]:
    """Describe a start point by plain numbers."""
    r = start.report
    return {
        "samples": start.samples,
        "kernel_smallest": r.kernel.smallest,
        "kernel_largest": r.kernel.largest,
        "kernel_reliable": r.kernel.reliable,
        "loss_curvature": r.loss_curvature.value,
        "output_curvature": r.output_curvature,
        "sample_curvature": r.sample_curvature,
        "curvature_bound": np.nan if r.curvature_bound is None else r.curvature_bound,
        "allowed_radius": r.condition.allowed_radius,
        "needed_radius": r.condition.needed_radius,
    }


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


def flat(text: str) -> dict[str, Any]:
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


# The farm


def work(sweep: Sweep, label: str, m: int, seed: int, samples: int | None) -> Trial | Start:
    """Do one job: a trial, or without `samples` the start point."""
    family, s = sweep.family(label, m), sweep.settings
    with threadpool_limits(1):
        if samples is None:
            smallest = replace(family, samples=s.samples[0])
            cost = smallest.cost(0, 1, seed)
            return Start(label, m, seed, s.samples[0], diagnose(cost, cost.start))
        return trial(family, samples, seed, s.target, s.epochs, s.first, s.halvings, label)


def farm(
    results: Results, pool: Executor, tell: Callable[["Trial | Start"], None] = lambda done: None
) -> None:
    """Do all jobs of a sweep that are not done, side by side; save after each.

    A network's next T is submitted when the one before has passed, so only what is needed is done.
    """
    sweep = results.sweep
    s = sweep.settings
    waiting: dict[Future[Trial | Start], tuple[str, int, int]] = {}

    def submit(place: tuple[str, int, int], samples: int | None) -> None:
        waiting[pool.submit(work, sweep, *place, samples)] = place

    for seed in s.seeds:
        for label in sweep.networks:
            for m in sorted(s.widths, reverse=True):  # the long ones first
                samples = results.next_samples(label, m, seed)
                if samples is not None:
                    submit((label, m, seed), samples)
            for m in sweep.measured:
                if (label, m, seed) not in results.starts:
                    submit((label, m, seed), None)
    try:
        while waiting:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                place = waiting.pop(future)
                done = future.result()
                results.add(done)
                results.save()
                tell(done)
                if isinstance(done, Trial):
                    samples = results.next_samples(*place)
                    if samples is not None:
                        submit(place, samples)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def describe(done: "Trial | Start") -> tuple[str, str]:
    """Name a finished job and say what it found, for progress."""
    name = f"{done.network}, m = {done.m}, seed {done.seed}"
    if isinstance(done, Start):
        return f"{name}, at the start", str(done.report.kernel)
    d = done.descent
    what = "passed" if done.passed else "failed"
    return f"{name}, T = {done.samples}", f"{what}: NMSE {q.small(d.nmse)} in {d.epochs} epochs"


def farm_over_processes(results: Results | None, jobs: int, view: "ProgressView") -> None:
    """Work in so many processes of this machine."""
    assert results is not None
    context = multiprocessing.get_context("spawn")  # no fork: numba and BLAS have threads
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=follow_parent) as pool:
        try:
            farm(results, pool, lambda done: view.done(*describe(done)))
        except BrokenProcessPool:
            raise TransportError(
                "A process of --jobs was ended from outside (out of memory?). What is done is saved; the "
                "same command goes on, perhaps with fewer --jobs."
            ) from None


def follow_parent() -> None:
    """End this process when its parent ends."""
    if obey := end_with_parent():
        obey()


def farm_over_ranks(results: Results | None, view: "ProgressView") -> None:
    """Work in the ranks of this MPI job: rank 0 deals, the others work; alone it does both."""
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        if pool is not None:
            assert results is not None
            farm(results, cast("Executor", pool), lambda done: view.done(*describe(done)))
