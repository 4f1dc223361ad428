"""`distopt diagnose`: the PL* quantities of a network at its start and along a run.

Everything is measured at the mean of the agents' models, for the loss of all samples, in one process: the
samples of a network are a function of the seed, so a run need not be disturbed for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distopt.config.build import Config, make_config
from distopt.core import units as q
from distopt.core.arrays import F64
from distopt.core.blas import BLAS
from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.run import resume, run
from distopt.engine.trust import trusted
from distopt.problems.costs.networks.family import Network
from distopt.problems.costs.networks.network import NetworkCost
from distopt.record import checkpoint
from distopt.record.hdf5 import write_arrays
from distopt.record.reader import load
from distopt.record.series import Series
from distopt.studies.results import Column, Results
from distopt.theory.pl_star import DENSE, curvature_bound, diagnose

FORMAT = 1

QUANTITIES = {  # what people read above a column, nothing where they do not see it; what it is
    "iteration": ("iteration", "iterations done"),
    "nmse": ("NMSE,\ntraining", "sum ||F - X||^2 / sum ||X||^2 over the training samples"),
    "nmse_held_out": ("NMSE,\nother samples", "the same over samples that no agent trains on"),
    "gradient_norm": ("gradient\nnorm", "||grad f||_2 of the mean loss f of all samples"),
    "pl_ratio": (
        "PL ratio\nr'Kr / r'r",
        "T ||grad f||^2 / (2 f); lies between the kernel's extreme eigenvalues",
    ),
    "kernel_smallest": (
        "smallest\neigenvalue of K", "smallest eigenvalue of the tangent kernel K = J J'",
    ),
    "kernel_largest": ("largest\neigenvalue of K", "largest eigenvalue of the tangent kernel"),
    "kernel_resolution": ("", "rounding errors in an eigenvalue"),
    "kernel_residual": ("", "residual of the smallest eigenvalue (Lanczos; 0: dense)"),
    "kernel_reliable": ("", "1 if the smallest eigenvalue is settled to ten percent"),
    "pl_constant": ("mu of\nthe loss", "mu = smallest eigenvalue / T: (1/2) ||grad f||^2 >= mu f here"),
    "loss_curvature": (
        "Hessian norm\nof the loss", "norm of the Hessian of f, by power iteration (a lower bound)",
    ),
    "output_curvature": (
        "of a single\noutput", "largest norm of the Hessian of a single output looked at",
    ),
    "sample_curvature": (
        "of a sample's\noutputs", "norm of the Hessian of one sample's outputs together",
    ),
    "curvature_bound": ("explicit\nbound of it", "explicit bound of the line above, in the given ball"),
    "moved": ("distance\nmoved", "||w - w0||_2"),
    "allowed_radius": (
        "radius\nallowed", "radius that the sufficient condition allows around this point",
    ),
    "needed_radius": ("radius\nneeded", "radius that gradient descent is known to need"),
    "condition_holds": ("", "1 if the needed radius is within the allowed one"),
}  # fmt: skip

NAMES = {"lista": "LISTA", "admm_csnet": "ADMM-CSNet", "ffnn": "fully connected"}


@dataclass(frozen=True)
class Request:
    """What to measure at each point."""

    held_out: int = 1000  # samples that no agent trains on
    outputs: int = 6  # single outputs whose Hessians are measured
    dense: int = DENSE  # size of a kernel up to which all its eigenvalues are computed
    radius: float = 0.0  # of the ball that the explicit bound is for


@dataclass
class Diagnosis:
    """What was found.

    The curve is that of all records of the run, that of the points alone where there is no run. The
    pictures are targets and the network's outputs for them at the last point: of each kind of samples a
    few with the most energy.
    """

    config: Config
    start: F64  # [d], the mean of the agents' start points
    rows: list[dict[str, float]] = field(default_factory=list)  # at each point, the start first
    told: list[str] = field(default_factory=list)  # how far to believe the smallest eigenvalues
    curve: tuple[F64, F64] = (np.empty(0), np.empty(0))  # [records], iterations and NMSE
    eta: float = float("nan")  # step size of the run; nan without one
    spectrum: F64 = field(default_factory=lambda: np.empty(0))  # at the start, ascending, or empty
    pictures: dict[str, F64] = field(default_factory=dict)  # [samples, m], by name

    @property
    def title(self) -> str:
        """Which network it is."""
        f, name = network(self.config), self.config.problem.name
        samples = "patches" if f.data == "patches" else f"{f.data} samples"
        return (
            f"{NAMES.get(name, name)}, m = {f.m}, n = {f.n}, {f.layers} layers, T = {f.samples} {samples}, "
            f"{self.config.problem.agents} agents"
        )

    def series(self, name: str) -> F64:
        """Return one quantity at all points."""
        return np.array([row[name] for row in self.rows])

    @property
    def rate(self) -> float:
        """mu = the smallest of the measured lambda_min / T, of the bound f(0) exp(-eta mu t)."""
        return float(max(self.series("pl_constant").min(), 0.0))

    def bound(self, iterations: F64) -> F64:
        """Return NMSE(0) exp(-eta mu t), the rate of gradient descent under PL*."""
        bound: F64 = self.rows[0]["nmse"] * np.exp(-self.eta * self.rate * iterations)
        return bound

    def to_json(self) -> dict[str, Any]:
        """Return everything but pictures and spectrum."""
        return {
            "problem": self.config.problem.table(),
            "eta": self.eta,
            "rate": self.rate,
            "points": self.rows,
            "reliability": self.told,
        }


def network(config: Config) -> Network:
    """Return the family of a configuration, which must be a network."""
    family = config.problem.family
    if not isinstance(family, Network):
        raise ConfigError(
            f'problem.name = "{config.problem.name}" is not a network; diagnose measures lista, '
            "admm_csnet and ffnn."
        )
    return family


def whole(config: Config) -> NetworkCost:
    """Return the loss of all samples together."""
    return network(config).cost(0, 1, config.problem.seed)


def start_point(config: Config, cost: NetworkCost) -> F64:
    """Return the mean of the agents' start points."""
    points = [config.problem.start_point(i, cost) for i in range(config.problem.agents)]
    mean: F64 = np.mean(points, axis=0)
    return mean


def diagnose_start(config: Config, request: Request) -> Diagnosis:
    """Measure the start point alone."""
    cost = whole(config)
    return measure(config, cost, [(0, start_point(config, cost))], request)


def diagnose_along(
    config: Config, iterations: Sequence[int], out: Path, request: Request
) -> Diagnosis:
    """Run a configuration in this process and measure at the given iterations, and at the start.

    The run directory is `out`/run: a run like any other, whose record has the whole curve.
    """
    network(config)
    last = config.run.iterations
    wanted = sorted(set(iterations) - {0})
    beyond = [k for k in wanted if k < 0 or k > last]
    if beyond:
        raise ConfigError(f"--at {beyond[0]} is not within the run; accepted: 0 to {last}.")
    cost, place = whole(config), out / "run"
    points = [(0, start_point(config, cost))]
    for number, k in enumerate(wanted):
        if number == 0:
            first = config.with_settings([f"run.iterations={k}"])
            result = run(first, engine="simulate", out=place, overwrite=True)
        else:
            result = resume(place, engine="simulate", iterations=k)
        reached = int(result.summary["iterations"])
        if reached > points[-1][0]:
            points.append((reached, np.mean(result.x, axis=0)))
        if reached < k:  # a stopping test has ended the run
            break
    found = measure(config, cost, points, request)
    return with_curve(found, place, cost) if wanted else found


def diagnose_run(place: Path, request: Request, code: Sequence[Path] = ()) -> Diagnosis:
    """Measure the start and all checkpoints that a run directory holds; `code` as for `resume`."""
    config = make_config(trusted(place, code)[0], place)
    cost = whole(config)
    points = [(0, start_point(config, cost))]
    points += [
        (int(folder.name), mean_model(folder, config))
        for folder in reversed(checkpoint.newest(place / "checkpoints"))
        if checkpoint.invalid(folder, config.problem.total) is None and int(folder.name) > 0
    ]
    if len(points) == 1:
        raise CheckpointError(
            f"{place} holds no checkpoint to measure; run.checkpoint_every and run.keep say which are "
            "kept. `distopt diagnose CONFIG` measures the start alone."
        )
    return with_curve(measure(config, cost, points, request), place, cost)


def mean_model(folder: Path, config: Config) -> F64:
    """Return the mean of the agents' models in a checkpoint."""
    total = np.zeros(config.problem.dimension)
    for i in range(config.problem.agents):
        total += checkpoint.read_array(folder, i, "x")
    return total / config.problem.agents


def with_curve(found: Diagnosis, place: Path, cost: NetworkCost) -> Diagnosis:
    """Add the numbers from the run's record."""
    history = load(place)
    found.curve = (history["iteration"], history["objective"] / cost.energy)
    eta = history.config.get("algorithm", {}).get("eta")
    # No one number where it is searched.
    found.eta = np.nan if eta in {None, "auto"} else float(eta)
    return found


def measure(
    config: Config, cost: NetworkCost, points: Sequence[tuple[int, F64]], request: Request
) -> Diagnosis:
    """Measure all quantities at some points, the start first."""
    family, seed = network(config), config.problem.seed
    other = family.held_out(request.held_out, seed)
    start = points[0][1]
    found = Diagnosis(config, start)
    with BLAS.held(config.run.threads):
        for iteration, w in points:
            report = diagnose(cost, w, start, request.outputs, request.dense)
            if len(points) == 1:
                found.spectrum = report.kernel.spectrum
            numbers = report.numbers() | {"nmse_held_out": other.nmse(w)}
            if request.radius and report.curvature_bound is not None:
                numbers["curvature_bound"] = curvature_bound(cost, w, request.radius)
            for flag in ("kernel_reliable", "condition_holds"):
                numbers[flag] = int(numbers[flag])
            found.rows.append({"iteration": iteration} | numbers)
            found.told.append(str(report.kernel))
    found.curve = (found.series("iteration"), found.series("nmse"))
    found.pictures = pictures(cost, other, points[-1][1])
    return found


def pictures(cost: NetworkCost, other: NetworkCost, w: F64, most: int = 4) -> dict[str, F64]:
    """Return the targets of most energy, which decide the NMSE, and the network's outputs for them."""
    few = min(most, cost.samples, other.samples)
    found = {}
    for name, some in (("training", cost), ("other", other)):
        strong = np.sort(np.argsort(-np.linalg.norm(some.X, axis=1), kind="stable")[:few])
        found[f"{name}, target"] = some.X[strong]
        found[f"{name}, network"] = some.predict(w, some.Y[strong]).copy()
    return found


def tabulate(found: Diagnosis) -> Results:
    """Make the table of a diagnosis: a row for each point."""
    columns = [
        Column(name, header, "", meaning, write_quantity, shown=bool(header))
        for name, (header, meaning) in QUANTITIES.items()
    ]
    return Results(found.title, columns, found.rows, notes_on(found))


def write_quantity(value: float) -> str:
    """Write counts as they are and the rest to three digits."""
    return str(value) if isinstance(value, int) else q.small(value, 3)


def notes_on(found: Diagnosis) -> list[str]:
    """Say what the numbers mean: how far to believe them, whether the condition holds, the rate."""
    first = found.rows[0]
    doubtful = [
        f"Iteration {row['iteration']}: {told}."
        for row, told in zip(found.rows, found.told, strict=True)
        if not row["kernel_reliable"]
    ]
    notes = doubtful[:3]
    if len(doubtful) > 3:
        notes.append(f"So it is at {len(doubtful) - 3} more points.")
    ratio = first["needed_radius"] / max(first["allowed_radius"], 1e-300)
    notes.append(
        "The sufficient condition holds at the start."
        if first["condition_holds"]
        else f"The sufficient condition does not hold at the start: the needed radius is {q.small(ratio)} "
        "times the allowed one. That says nothing about whether training converges (docs: networks)."
    )
    if np.isfinite(found.eta):
        iterations, nmse = found.curve
        above = int((nmse > found.bound(iterations) * (1 + 1e-12)).sum())
        notes.append(
            f"The rate exp(-eta mu t) with the smallest measured mu = {q.small(found.rate)} is exceeded at "
            f"{above} of {nmse.size} records."
        )
    return notes


def write_diagnosis(found: Diagnosis, path: Path) -> None:
    """Write all numbers into an HDF5 file, readable without distopt."""
    arrays = {f"points/{name}": found.series(name) for name in QUANTITIES}
    arrays |= dict(zip(("curve/iteration", "curve/nmse"), found.curve, strict=True))
    if found.spectrum.size:
        arrays["spectrum"] = found.spectrum
    arrays |= {f"pictures/{name}": rows for name, rows in found.pictures.items()}
    attributes = {
        "format": FORMAT,
        "config": found.config.to_toml(),
        "eta": found.eta,
        "rate": found.rate,
    }
    described = {
        f"points/{name}": Series("1", meaning, found.series(name).dtype.str)
        for name, (_, meaning) in QUANTITIES.items()
    }
    write_arrays(path, arrays, attributes, described)
