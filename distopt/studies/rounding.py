"""Runs in fixed point beside their theory: mean and quantiles of many repeats, bounds that apply.

Which bound applies to which run, and why, is derived in docs: fixed-point. A run that saturated has
left the assumptions of all of them, and gets none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distopt.config.build import make_config
from distopt.core.arrays import F64
from distopt.fixedpoint import bounds
from distopt.fixedpoint.descent import step_code
from distopt.fixedpoint.format import Format
from distopt.fixedpoint.problems import IntegerProblem
from distopt.problems.costs.fixed_terms import DiagonalCost
from distopt.problems.problem import Problem
from distopt.record.reader import RunData
from distopt.studies.results import Column, Results, write_count

FRACTIONS = (1e-1, 1e-2, 1e-3)  # of f - f* at the start


@dataclass(frozen=True)
class Gaps:
    """f - f* of all repeats of one variant."""

    label: str
    iterations: F64  # [rows]
    values: F64  # [rows, runs]
    history: RunData  # of the first of its runs, whose configuration is that of all

    @property
    def mean(self) -> F64:
        """Mean over the runs."""
        return np.asarray(self.values.mean(axis=1))

    @cached_property
    def bounds(self) -> dict[str, F64]:
        """The bounds of E f - f* that apply, by name, at the recorded iterations."""
        return bounds_of(self)

    def quantile(self, q: float) -> F64:
        """Quantile over the runs."""
        return np.asarray(np.quantile(self.values, q, axis=1))

    def first(self, fraction: float) -> int | None:
        """Return the first recorded iteration at which the mean is this fraction of its start."""
        good = np.flatnonzero(self.mean <= fraction * self.mean[0])
        return int(self.iterations[good[0]]) if good.size else None


def gaps_of(label: str, histories: Sequence[RunData]) -> Gaps | None:
    """Put the repeats of all runs (seeds) of a variant together; None for other algorithms."""
    if not histories or any(h.meta["algorithm"] != "fixed_point_gd" for h in histories):
        return None
    first, length = histories[0], min(len(h["iteration"]) for h in histories)
    repeats = [h.series.get("objective_runs", h["objective"][:, None])[:length] for h in histories]
    values = np.concatenate(repeats, axis=1) - first.meta["minimum"]
    return Gaps(label, first["iteration"][:length], values, first)


def bounds_of(gaps: Gaps) -> dict[str, F64]:
    """Return the bounds of E f - f* that apply to a variant, by name, at its recorded iterations.

    RN_STALL bounds f where descent stalls; C holds up to the noise of the measured means; D is
    drawn with the effective eps, which is a heuristic (docs: fixed-point, bounds).
    """
    history, config = gaps.history, make_config(gaps.history.config, Path())
    algorithm: Any = config.algorithm
    cost: Any = config.problem.cost(0)
    problem: IntegerProblem = cost.integer(Format.parse(algorithm.format))  # knows L and mu of f
    places = algorithm.round_gradient, algorithm.round_step
    formats = {place.format or algorithm.format for place in places}
    units = {Format.parse(name).unit for name in formats | {algorithm.format}}
    L, mu, t = problem.smoothness, problem.pl, algorithm.eta
    if L is None or mu is None or len(units) > 1 or history.last("saturations"):
        return {}
    a, b = (place.rounding for place in places)
    if a.mode not in {"RN", "SR"} or t > 1 / L:
        return {}
    c1 = bounds.NEAREST if a.mode == "RN" else bounds.STOCHASTIC
    n, u, phi = problem.dimension, problem.format.unit, float(gaps.mean[0])
    k = int(gaps.iterations[-1])
    arguments = (k, phi, n, u, t, L, mu)
    found: dict[str, F64] = {}
    if b.mode == "RN" and a.mode == "RN":
        found["RN_STALL"] = np.full(k + 1, bounds.rn_stall(n, u, t, mu, c1))
    elif b.mode == "SR":
        found["SR"], found["SR-ref"] = bounds.sr(*arguments), bounds.sr_refined(*arguments)
        if a.mode == "SR":
            found["SR-unb"] = bounds.sr_unbiased(*arguments)
            if isinstance(cost, DiagonalCost):
                found["Q"] = bounds.diagonal(k, *spectrum(config.problem, problem.format), u, t)
    elif b.mode in {"SR_eps", "signed_SR_eps"}:
        found["A"] = bounds.sr_eps_a(*arguments, b.eps, c1)
        if (np.diff(gaps.iterations) == 1).all():
            squares, gains = history["step_square"][1 : k + 1], history["step_gain"][1 : k + 1]
            found["C"] = bounds.sr_eps_c(phi, squares, gains, n, u, t, L, mu)
        mantissa, drop = step_code(t)
        eps = bounds.effective_eps(b.eps, drop if mantissa == 1 else None)
        found["D, heuristic"] = bounds.sr_eps_d(*arguments, eps, c1)
    return {name: bound[gaps.iterations.astype(int)] for name, bound in found.items()}


def spectrum(problem: Problem, format: Format) -> tuple[F64, F64]:
    """Return a and e0 = x_0 - x* of a diagonal quadratic, all coordinates."""
    whole: Any = problem.family.cost(0, 1, problem.seed)
    return whole.a, np.clip(whole.start, format.lowest, format.highest) - whole.center


def tabulate(found: Sequence[Gaps]) -> Results:
    """Tabulate when the mean over the runs got where, and where it ended."""
    columns = [
        Column("variant", "variant", words=True),
        Column("runs", "runs", join="\n"),
        Column("start", "f - f* at the start", write="{:.4g}".format),
        *(Column(f"first_{f:g}", f"first k with\n{f:g} of it") for f in FRACTIONS),
        Column("end", "at the end", meaning="mean of the runs"),
        Column("low", "10 %", meaning="of the runs are below at the end"),
        Column("high", "90 % of runs\nat the end", meaning="of the runs are below", join=", "),
        Column("saturations", "saturations", write=write_count),
    ]  # fmt: skip
    rows = [
        {
            "variant": gaps.label,
            "runs": gaps.values.shape[1],
            "start": float(gaps.mean[0]),
            **{f"first_{f:g}": gaps.first(f) or "never" for f in FRACTIONS},
            "end": float(gaps.mean[-1]),
            "low": float(gaps.quantile(0.1)[-1]),
            "high": float(gaps.quantile(0.9)[-1]),
            "saturations": gaps.history.last("saturations"),
        }
        for gaps in found
    ]
    return Results("f - f* in fixed point", columns, rows)
