"""The numbers of a record: means, exact gradients at the mean, errors, Lyapunov terms.

None of this belongs to the algorithm. It costs extra communication, which is counted and timed
separately: with n agents one mean, 16 d (n - 1) / n bytes an agent, and as many again for each two vectors
of whose mean only the norm is wanted. Of such a mean every agent gets a slice and the slices' squares are
added. Sums run in the order of the agents, so a record is the same to the bit under every engine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from crc32c import crc32c

from distopt.algorithms.state import View
from distopt.core.arrays import F64
from distopt.engine.measures import Measures, gradients, values
from distopt.engine.team import Team
from distopt.record.series import SERIES
from distopt.transport.base import mean_of

# Per-agent numbers, in the order in which they are collected.
LOCAL = (
    "energy", "consensus", "slope", "tracking", "residual", "memory_x", "memory_y", "gradient",
    "scale", "direction",
    "nbytes", "nbytes_on_wire", "messages", "diagnostics_nbytes", "gradients",
    "seconds_gradient", "seconds_compression", "seconds_communication", "seconds_diagnostics",
    "seconds",
)  # fmt: skip

# Series that an algorithm's view may add; totals over the agents.
OBSERVED = (
    "ball_violations", "saturations", "regime_large", "regime_middle", "regime_small", "regime_zero",
    "step_square", "step_gain", "step_bytes", "step", "step_decisions", "step_returns",
)  # fmt: skip
BLOCK = 2**16  # coordinates, about, that are subtracted at a time
EQUAL = {"step", "step_decisions", "step_returns"}  # the same number of every agent


class Diagnostics:
    """Computes one row of all series that exist for a team's algorithm.

    Attributes
    ----------
    recorded : list of str
        Those series, in the order of `SERIES`.
    undefined : dict[int, int]
        The agents whose value at a finite mean model was nan, and the iteration where it was so first.
    saved : float
        Bytes an agent that the newest row did not send, because all models were equal at the start.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.repeats = team.parts.algorithm.repeats
        # Bytes of a model's coordinate over those of a mean's.
        self._part = np.dtype(team.parts.run.precision).itemsize / 8
        d = team.hosted[0].agent.dimension
        shape = (self.repeats, d) if self.repeats > 1 else (d,)
        self._mean = np.empty(shape)
        self._work = np.empty((len(team.hosted), *shape))
        view = self._views()[0]
        self.shared = view.common is view.model  # all agents hold the mean already
        self.observed = list(view.series)
        self.has_tracker = view.tracker is not None
        self.has_invariant = self.has_tracker and view.gradient is not None
        self.has_memory = {name: name in view.memories for name in ("x", "y")}
        self.measures = Measures(team)
        self.energies = [getattr(h.agent.cost, "energy", None) for h in team.hosted]
        self.recorded = self._names()
        self.undefined: dict[int, int] = {}
        self.saved = 0.0

    @property
    def columns(self) -> list[str]:
        """The numbers of an agent that are collected, but for its objectives."""
        return [*LOCAL, *self.observed, *self.measures.series]

    def nbytes(self, trackers: bool) -> float:
        """Return the bytes that an agent sends for a row, on average."""
        others = self.team.transport.agents - 1
        half_means = 2 + self._part * (1 + trackers * (self.has_tracker + self.has_invariant))
        half_means -= self.shared * (1 + self._part)
        numbers = len(self.columns) + self.repeats + self.shared
        return others * (8.0 * numbers + half_means * self._mean.nbytes / (others + 1))

    def meetings(self, trackers: bool) -> int:
        """Return the messages that an agent sends to each other one for a row."""
        return 4 - self.shared + trackers * (self.has_tracker + self.has_invariant)

    def _views(self) -> list[View]:
        return [self.team.parts.algorithm.view(h.state) for h in self.team.hosted]

    def _names(self) -> list[str]:
        """List the series that exist for this algorithm, in the order of `SERIES`."""
        absent = set(OBSERVED) - set(self.observed)
        if self.repeats == 1:
            absent |= {"objective_runs"}
        if None in self.energies:
            absent |= {"nmse"}
        if not self.has_tracker:
            absent |= {"tracking_error"}
        if not self.has_invariant:
            absent |= {"invariant"}
        absent |= {f"compression_error_{v}" for v, there in self.has_memory.items() if not there}
        function = self.team.known.lyapunov
        terms = ["lyapunov", *(f"lyapunov_{t}" for t in function.terms())] if function else []
        absent |= {n for n in SERIES if n.startswith("lyapunov") and n not in terms}
        return [*(name for name in SERIES if name not in absent), *self.measures.series]

    def row(self, trackers: bool = True) -> dict[str, Any]:
        """Compute one record; all processes call this together and get the same numbers.

        Without `trackers` the series that need their mean, or that of the gradients, are nan.
        """
        columns = self.columns
        local = np.zeros((len(self.team.hosted), len(columns) + self.repeats))
        at = {name: local[:, i] for i, name in enumerate(columns)}
        views = self._views()
        self._at_the_mean(views, at, local[:, len(columns) :])
        self._trackers(views, at, trackers)
        self._agents(views, at)
        self._process(at)
        table = self.team.transport.collect(local)
        totals = {
            name: float(table[0, i] if name in EQUAL else sum(table[:, i]))
            for i, name in enumerate(columns)
        }
        largest = {name: float(table[:, i].max()) for i, name in enumerate(columns)}
        if np.isfinite(totals["slope"]):
            for i in np.flatnonzero(np.isnan(table[:, len(columns) :]).any(axis=1)):
                self.undefined.setdefault(int(i), self.team.clock.iteration)
        objective = [float(sum(column)) / len(table) for column in table[:, len(columns) :].T]
        row = self._whole(totals, objective) | {
            "seconds": largest["seconds"],
            "invariant": float(np.sqrt(totals["residual"])) / (largest["gradient"] or 1.0),
            **self.measures.means(dict(zip(columns, table.T, strict=False))),
        }
        return {name: row[name] for name in self.recorded}

    def _at_the_mean(self, views: Sequence[View], at: Mapping[str, F64], objectives: F64) -> None:
        """Fill in what is known at xbar: f, the distances to it, squares of the mean gradient."""
        xbar = self._mean
        self._mean_model([view.model for view in views], xbar)
        self.measures.fill(at, xbar)
        for i, h in enumerate(self.team.hosted):
            values(h.agent, xbar, objectives[i])
            at["energy"][i] = self.energies[i] or 0.0
            distance = square_distance(views[i].model, xbar, self._work[i])
            at["consensus"][i] = distance / self.repeats
            gradients(h.agent, xbar, self._work[i])
        for i, parts in enumerate(self.team.transport.scatter(self._work)):
            at["slope"][i] = square(mean_of(parts)) / self.repeats

    def _mean_model(self, models: Sequence[F64], xbar: F64) -> None:
        """Set xbar to the mean model, which nobody needs to send where all models are the same."""
        transport, self.saved = self.team.transport, 0.0
        if self.shared or self.team.clock.iteration == 0:
            marks = transport.collect(np.array([[crc32c(x.tobytes())] for x in models], np.float64))
            if (marks == marks[0]).all():
                n = transport.agents
                if not self.shared:
                    self.saved = (1 + self._part) * xbar.nbytes * (n - 1) / n
                xbar[:] = mean_of([models[0]] * n)
                return
        transport.mean(models, xbar)

    def _trackers(self, views: Sequence[View], at: Mapping[str, F64], wanted: bool) -> None:
        """Fill in the errors of the trackers, and squares of mean tracker - mean gradient."""
        trackers = [view.tracker for view in views if view.tracker is not None]
        gradients = [view.gradient for view in views if view.gradient is not None]
        if not wanted:
            at["tracking"][:] = at["residual"][:] = np.nan
        elif trackers:
            means = []
            for i, parts in enumerate(self.team.transport.scatter(trackers)):
                means.append(mean_of(parts))
                at["tracking"][i] = sum(square_deviations(parts, means[i]))
            if gradients:
                at["gradient"][:] = [np.sqrt(square(g)) for g in gradients]
                for i, parts in enumerate(self.team.transport.scatter(gradients)):
                    at["residual"][i] = square(means[i] - mean_of(parts))

    def _agents(self, views: Sequence[View], at: Mapping[str, F64]) -> None:
        """Fill in the numbers that each agent knows alone."""
        for i, (h, view) in enumerate(zip(self.team.hosted, views, strict=True)):
            for name, there in self.has_memory.items():
                if there:
                    vector, memory = view.memories[name]
                    at[f"memory_{name}"][i] = square_distance(vector, memory.own, self._work[i])
            at["scale"][i] = view.squared_scales
            at["direction"][i] = view.squared_direction
            for name, number in view.series.items():
                at[name][i] = number
            at["gradients"][i] = h.agent.seconds.gradients
            at["seconds_gradient"][i] = h.agent.seconds.gradient
            at["seconds_compression"][i] = h.agent.seconds.compression

    def _process(self, at: Mapping[str, F64]) -> None:
        """Fill in each process's numbers, in the row of its first agent, so totals stay exact."""
        traffic, clock = self.team.transport.traffic, self.team.clock
        for name in ("nbytes", "nbytes_on_wire", "messages", "diagnostics_nbytes"):
            at[name][0] = getattr(traffic, name)
        at["seconds_communication"][0] = traffic.seconds
        at["seconds_diagnostics"][0] = clock.diagnostics_seconds
        at["seconds"][:] = clock.seconds

    def _whole(self, totals: Mapping[str, float], objective: Sequence[float]) -> dict[str, Any]:
        """Compute the series that follow from the sums over all agents."""
        n, repeats = self.team.transport.agents, self.repeats
        consensus = totals["consensus"] / n
        gradient_norm = float(np.sqrt(totals["slope"]))
        row: dict[str, Any] = {
            "iteration": self.team.clock.iteration,
            "objective": sum(objective) / repeats,
            "objective_runs": objective,
            "nmse": sum(objective) * n / repeats / totals["energy"] if totals["energy"] else np.nan,
            "gradient_norm": gradient_norm,
            "consensus_error": consensus,
            "stationarity": gradient_norm**2 + consensus,
            "tracking_error": totals["tracking"] / n,
            "compression_error_x": totals["memory_x"] / n,
            "compression_error_y": totals["memory_y"] / n,
            "bytes_per_agent": totals["nbytes"] / n,
            "bytes_on_wire": round(totals["nbytes_on_wire"]),
            "messages_per_agent": totals["messages"] / n,
            "gradients": totals["gradients"] / n,
            "diagnostics_bytes": round(totals["diagnostics_nbytes"]),
        }
        processes = n // len(self.team.hosted)
        for name in ("gradient", "compression", "communication", "diagnostics"):
            row[f"seconds_{name}"] = totals[f"seconds_{name}"] / processes
        for name in self.observed:
            whole = SERIES[name].dtype == "i8"
            row[name] = round(totals[name]) if whole else totals[name]
        if self.team.known.lyapunov:
            terms = self.team.known.lyapunov.evaluate(
                gap=row["objective"] - self.team.known.minimum.value,
                memory_x=totals["memory_x"],
                memory_y=totals["memory_y"],
                consensus=totals["consensus"],
                tracking=totals["tracking"],
                scale=totals["scale"] / n,
                direction=totals["direction"],
            )
            row |= {f"lyapunov_{name}": value for name, value in terms.items()}
            row["lyapunov"] = sum(terms.values())
        return row


def square_distance(a: F64, b: F64, work: F64) -> float:
    """Return ||a - b||_2^2; `work` is overwritten and may be a."""
    np.subtract(a, b, out=work, dtype=np.float64)
    return square(work)


def square_deviations(rows: F64, mean: F64) -> list[float]:
    """Return ||row - mean||_2^2 of rows : float64[agents, m], none for m = 0, to the bit of `square`."""
    found = list[float]()
    if not mean.size:  # of agents beyond the coordinates
        return found
    some = max(BLOCK // mean.size, 1)
    for start in range(0, len(rows), some):
        apart = rows[start : start + some] - mean
        found += np.vecdot(apart, apart).tolist()
    return found


def square(a: F64) -> float:
    """Return the sum of the squares, in float64."""
    flat = a.reshape(-1).astype(np.float64, copy=False)
    return float(np.dot(flat, flat))
