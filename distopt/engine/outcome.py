"""The outcome of a run: its summary, the final models, and what the user must know."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from shlex import quote
from signal import Signals
from typing import Any

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.core.arrays import F64
from distopt.engine.failures import totals
from distopt.engine.journal import Journal
from distopt.engine.stopping import EARLY
from distopt.engine.team import Team
from distopt.record.series import MEASURES

NAMED = 5  # agents in a sentence
GROWN = 100.0  # a run that ends with P this many times its first value is called diverging


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes
    ----------
    summary : dict
        The object that ``--json`` prints.
    run_dir : Path or None
    root : bool
        Whether this process prints for the user.
    rows : Sequence of dict
        The records of this run, one dict per record (on the root only). Those of a run with a folder
        are read from its metrics.h5 when first asked for.
    x : list of float64[d]
        The final models of the agents that live in this process.
    warnings : list of str
        Sentences to be shown once.
    resume_hint : str or None
        How to continue, if a signal or a time limit stopped the run, or it missed its stopping test.
    signal : Signals or None
        The signal that this process got, if one stopped the run.
    """

    summary: dict[str, Any]
    run_dir: Path | None
    root: bool
    rows: Sequence[dict[str, Any]]
    x: list[F64]
    warnings: list[str]
    resume_hint: str | None = None
    signal: Signals | None = None


def conclude(team: Team, journal: Journal, reason: str, signal: Signals | None) -> Result:
    """Put together the result of a run that stopped for a reason."""
    out, hint = journal.out, None
    if reason in EARLY and out is not None:
        hint = (
            f"Stopped after iteration {team.clock.iteration}; continue with: "
            f"distopt resume {quote(str(out))}"
        )
    elif reason == "iterations":
        hint = missed(team, journal)
    view = team.parts.algorithm.view
    return Result(
        summary=summarize(team, journal, reason),
        run_dir=out,
        root=team.transport.root,
        rows=journal.rows,
        x=[view(h.state).model.copy() for h in team.hosted],
        warnings=[
            *team.parts.remarks,
            *team.known.warnings,
            *team.identity.forced,
            *warnings(team, journal),
        ],
        resume_hint=hint,
        signal=signal,
    )


def missed(team: Team, journal: Journal) -> str | None:
    """Say what to do about a test of P that all iterations did not meet, if there is one."""
    target, row, done = team.parts.run.stop.stationarity, journal.latest, team.clock.iteration
    if not target or row["stationarity"] <= target or not done:
        return None
    more = f"run.iterations={2 * done}"
    if journal.out is not None:
        more = f"`distopt resume {quote(str(journal.out))} --set {more}`"
    eta = row.get("step") or vars(team.parts.algorithm).get("eta")
    other = f"algorithm.eta such as {eta / 4:.2g}" if isinstance(eta, float) else "algorithm.eta"
    return (
        f"P is {row['stationarity']:.2g} after {done} iterations, so run.stop.stationarity = {target:g} "
        f"is not reached. If P still falls, go on: {more}. If not, try a "
        f"{'larger run.batch' if team.parts.run.batch else f'smaller {other}'}."
    )


def warnings(team: Team, journal: Journal) -> list[str]:
    """List warnings about problems that did not end the run."""
    first, latest, found = journal.first, journal.latest, []
    if latest.get("saturations"):
        found.append(
            f"{latest['saturations']:.0f} values did not fit their fixed-point format and became "
            "its nearest end; the theory assumes that all fit. More integer bits hold larger values."
        )
    if latest.get("ball_violations"):
        found.append(
            f"{latest['ball_violations']:.0f} compressed arguments were outside the unit ball, so "
            "this run has left the theory of cgt3; larger s0x, s0y or mu keep it inside."
        )
    if undefined := journal.diagnostics.undefined:
        agents = [str(team.parts.problem.member(i)) for i in sorted(undefined)]
        found.append(
            f"value(x) of {len(agents)} agents is nan, first at iteration {min(undefined.values())}, so "
            f"the objective is nan there: {', '.join(agents[:NAMED])}{', ...' * (len(agents) > NAMED)}."
        )
    # Of a network P may grow while the loss falls: its gradient is small at the start as well.
    if first and all(
        latest[name] > factor * first[name]
        for name, factor in (("stationarity", GROWN), ("objective", 1))
    ):
        found.append(
            f"P grew from {first['stationarity']:.3g} to {latest['stationarity']:.3g}: the run is "
            f"diverging; {team.parts.algorithm.remedy()}."
        )
    return found


def found_step(team: Team, journal: Journal) -> dict[str, Any]:
    """Say what the search for the step came to, and what it cost."""
    row = journal.latest
    return {
        "first": team.hosted[0].state.steps.first,
        "last": row["step"],
        "decisions": row["step_decisions"],
        "returns": row["step_returns"],
        "bytes_per_agent": row["step_bytes"] / team.known.facts.agents,
    }


def summarize(team: Team, journal: Journal, reason: str) -> dict[str, Any]:
    """Put together what ``--json`` prints."""
    algorithm, clock, row = team.parts.algorithm, team.clock, journal.latest
    n, d = team.known.facts.agents, team.known.facts.dimension
    coordinates = max(clock.iteration, 1) * algorithm.vectors * d * algorithm.repeats
    return {
        "algorithm": ALGORITHMS.name_of(type(algorithm)),
        "compressor": COMPRESSORS.name_of(type(team.parts.compressor)),
        "agents": n,
        "dimension": d,
        "iterations": clock.iteration,
        "stop_reason": reason,
        "stationarity": row["stationarity"],
        "consensus_error": row["consensus_error"],
        "gradient_norm": row["gradient_norm"],
        "objective": row["objective"],
        "nmse": row.get("nmse"),
        "measures": {
            name.removeprefix(MEASURES): row[name] for name in row if name.startswith(MEASURES)
        },
        "lyapunov": known(row.get("lyapunov")),
        "certified": team.known.lyapunov is not None and team.known.lyapunov.certified,
        "bytes_per_agent": row["bytes_per_agent"],
        "bytes_on_wire": row["bytes_on_wire"],
        "messages_per_agent": row["messages_per_agent"],
        "bits_per_coordinate": 8 * row["bytes_per_agent"] / coordinates,
        "diagnostics_bytes": row["diagnostics_bytes"],
        "ball_violations": row.get("ball_violations", 0),
        "seconds": {
            "algorithm": clock.seconds,
            "communication": row["seconds_communication"],
            "diagnostics": clock.diagnostics_seconds,
        },
        **totals(journal.failures),
        "lost": list(team.parts.problem.lost),
        "parameters": ALGORITHMS.describe(algorithm),
        "step": found_step(team, journal) if algorithm.searching else None,
        "run_dir": None if journal.out is None else str(journal.out),
    }


def known(value: float | None) -> float | None:
    """Return a number, None where the record left it out."""
    return None if value is None or isnan(value) else value
