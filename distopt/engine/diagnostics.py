"""What is recorded: means, exact gradients at the mean, errors, Lyapunov terms.

None of this belongs to the algorithm. It costs communication of its own, which the transport counts
and the driver times apart; sums run in the order of the agents, so a record is the same to the bit
under every engine.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distopt.algorithms.base import Algorithm
from distopt.core.arrays import F64
from distopt.engine.driver import Hosted
from distopt.record.series import SERIES
from distopt.theory.lyapunov import Lyapunov
from distopt.transport.base import Transport

# Per-agent numbers, in the order in which they are collected.
LOCAL = (
    "energy", "consensus", "tracking", "memory_x", "memory_y", "gradient", "scale",
    "nbytes", "nbytes_on_wire", "messages", "diagnostics_nbytes",
    "seconds_gradient", "seconds_compression", "seconds_communication", "seconds_diagnostics",
    "seconds",
)  # fmt: skip

# Series that an algorithm's view may add; totals over the agents.
OBSERVED = (
    "ball_violations", "saturations", "regime_large", "regime_middle", "regime_small", "regime_zero",
    "step_square", "step_gain", "restarts",
)  # fmt: skip
WHOLE = {"i8": round}


class Diagnostics:
    """Computes one row of all series that exist for an algorithm.

    Parameters
    ----------
    algorithm : Algorithm
    hosted : Sequence[Hosted]
    transport : Transport
    lyapunov : Lyapunov or None
        Weights of its terms.
    lower : float
        f*, or the lower bound of f that stands in for it.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        hosted: Sequence[Hosted],
        transport: Transport,
        lyapunov: Lyapunov | None,
        lower: float,
    ) -> None:
        self.algorithm = algorithm
        self.hosted = hosted
        self.transport = transport
        self.lyapunov = lyapunov
        self.lower = lower
        d, self.repeats = hosted[0].agent.dimension, algorithm.repeats
        shape = (self.repeats, d) if self.repeats > 1 else (d,)
        self._mean, self._other, self._third = (np.empty(shape) for _ in range(3))
        self._work = [np.empty(shape) for _ in hosted]
        view = algorithm.view(hosted[0].state)
        self.observed = list(view.series)
        self.has_tracker = view.tracker is not None
        self.has_invariant = self.has_tracker and view.gradient is not None
        self.has_memory = {name: name in view.memories for name in ("x", "y")}
        self.energies = [getattr(h.agent.cost, "energy", None) for h in hosted]
        self.recorded = self.names()

    def names(self) -> list[str]:
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
        terms = self.lyapunov.terms() if self.lyapunov else {}
        absent |= {
            name
            for name in SERIES
            if name.startswith("lyapunov") and name.removeprefix("lyapunov_") not in terms
        }
        if self.lyapunov:
            absent -= {"lyapunov"}
        return [name for name in SERIES if name not in absent]

    def row(self, iteration: int, seconds: float, diagnostics_seconds: float) -> dict[str, Any]:
        """Compute one record; all processes call this together and get the same numbers."""
        algorithm, transport, n = self.algorithm, self.transport, self.transport.agents
        R = self.repeats
        columns = [*LOCAL, *self.observed]
        local = np.zeros((len(self.hosted), len(columns) + R))
        at = {name: local[:, i] for i, name in enumerate(columns)}
        values = local[:, len(columns) :]

        views = [algorithm.view(h.state) for h in self.hosted]
        models = [view.model for view in views]
        xbar = self._mean
        transport.mean(models, xbar)
        for i, h in enumerate(self.hosted):
            h.agent.values(xbar, values[i])
            at["energy"][i] = self.energies[i] or 0.0
            at["consensus"][i] = square_distance(models[i], xbar, self._work[i]) / R
            h.agent.gradients(xbar, self._work[i])
        gradient = self._other
        transport.mean(self._work, gradient)

        residual = 0.0
        if self.has_tracker:
            for i, view in enumerate(views):
                self._work[i][:] = view.tracker
            ybar = self._mean  # xbar is not needed any more
            transport.mean(self._work, ybar)
            for i in range(len(self.hosted)):
                at["tracking"][i] = square_distance(self._work[i], ybar, self._work[i])
        if self.has_invariant:
            gradients = [view.gradient for view in views]
            for i, g in enumerate(gradients):
                at["gradient"][i] = np.sqrt(square(g))  # type: ignore[arg-type]
            gbar = self._third
            transport.mean(gradients, gbar)  # type: ignore[arg-type]
            residual = float(np.sqrt(square_distance(self._mean, gbar, self._mean)))
        for i, (h, view) in enumerate(zip(self.hosted, views, strict=True)):
            for name, there in self.has_memory.items():
                if there:
                    vector, memory = view.memories[name]
                    at[f"memory_{name}"][i] = square_distance(vector, memory.own, self._work[i])
            at["scale"][i] = view.squared_scales
            for name, number in view.series.items():
                at[name][i] = number
            at["seconds_gradient"][i] = h.agent.seconds.gradient
            at["seconds_compression"][i] = h.agent.seconds.compression
        # What is known per process is counted with the first of its agents: totals stay exact.
        traffic = transport.traffic
        at["nbytes"][0] = traffic.nbytes
        at["nbytes_on_wire"][0] = traffic.nbytes_on_wire
        at["messages"][0] = traffic.messages
        at["diagnostics_nbytes"][0] = traffic.diagnostics_nbytes
        at["seconds_communication"][0] = traffic.seconds
        at["seconds_diagnostics"][0] = diagnostics_seconds
        at["seconds"][:] = seconds

        table = transport.collect(local)
        totals = {name: float(sum(table[:, i])) for i, name in enumerate(columns)}
        largest = {name: float(table[:, i].max()) for i, name in enumerate(columns)}
        objective = [float(sum(table[:, i])) / n for i in range(len(columns), len(columns) + R)]
        gradient_norm = float(np.sqrt(square(gradient) / R))
        consensus = totals["consensus"] / n
        row: dict[str, Any] = {
            "iteration": iteration,
            "seconds": largest["seconds"],
            "objective": sum(objective) / R,
            "objective_runs": objective,
            "nmse": sum(objective) * n / R / totals["energy"] if totals["energy"] else np.nan,
            "gradient_norm": gradient_norm,
            "consensus_error": consensus,
            "stationarity": gradient_norm**2 + consensus,
            "tracking_error": totals["tracking"] / n,
            "invariant": residual / (largest["gradient"] or 1.0),
            "compression_error_x": totals["memory_x"] / n,
            "compression_error_y": totals["memory_y"] / n,
            "bytes_per_agent": totals["nbytes"] / n,
            "bytes_on_wire": round(totals["nbytes_on_wire"]),
            "messages_per_agent": totals["messages"] / n,
            "diagnostics_bytes": round(totals["diagnostics_nbytes"]),
            "seconds_gradient": totals["seconds_gradient"] / n,
            "seconds_compression": totals["seconds_compression"] / n,
            "seconds_communication": totals["seconds_communication"] / n,
            "seconds_diagnostics": totals["seconds_diagnostics"] / n,
        }
        row |= {name: WHOLE.get(SERIES[name].dtype, float)(totals[name]) for name in self.observed}
        if self.lyapunov:
            terms = self.lyapunov.evaluate(
                gap=row["objective"] - self.lower,
                memory_x=totals["memory_x"],
                memory_y=totals["memory_y"],
                consensus=totals["consensus"],
                tracking=totals["tracking"],
                scale=totals["scale"] / n,
            )
            row |= {f"lyapunov_{name}": value for name, value in terms.items()}
            row["lyapunov"] = sum(terms.values())
        return {name: row[name] for name in self.recorded}


def square_distance(a: F64, b: F64, work: F64) -> float:
    """Return ||a - b||_2^2; `work` is overwritten and may be a."""
    np.subtract(a, b, out=work)
    return square(work)


def square(a: F64) -> float:
    """Return the sum of the squares."""
    flat = a.reshape(-1)
    return float(np.dot(flat, flat))
