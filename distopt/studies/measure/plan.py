"""``distopt plan``: bytes and seconds to an accuracy on a network that you do not have.

All agents are simulated in this process. That gives what no network changes: iterations to the accuracy
and bytes, to the bit, and how long a core of this machine computes for one agent. Only the exchange
comes from a model (`distopt.studies.measure.model`).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.config.build import Config, load_config, make_config
from distopt.config.tables import read_toml
from distopt.core import units as q
from distopt.core.errors import ConfigError, DistoptError
from distopt.engine.overlap import pays
from distopt.studies.measure.computing import Core
from distopt.studies.measure.link import Link
from distopt.studies.measure.model import (
    TEST_BED,
    CorrectedModel,
    ExchangeModel,
    Iteration,
    fit,
    measured_exchanges,
)
from distopt.studies.measure.trial import iterations_to, simulate
from distopt.studies.results import Column, Results, write_count
from distopt.studies.suite import load_suite

UNCOMPRESSED = "exact_diffusion"
RECOMMENDED = (
    f"Where nothing speaks for another, take the default, {ALGORITHMS.default}, whose messages are the "
    "smallest (docs/choose.md)."
)
UNSURE = 3  # times the simulated iterations


@dataclass(frozen=True)
class Goal:
    """The accuracy to plan for, and how to simulate."""

    accuracy: float
    seconds: float  # of the processor, to simulate all variants
    share: float | None  # agents that share a core there; None: each has its own host


def known_model(path: Path | None, latency: float | None) -> ExchangeModel:
    """Return the model of an exchange, fitted to a measured.json, or that of the test bed.

    A latency in ms replaces its alpha.
    """
    model = TEST_BED
    if path is not None:
        try:
            variants = json.loads(path.read_text(encoding="utf-8"))["variants"]
            points = measured_exchanges(variants)
            model = CorrectedModel(**vars(fit(points)), measured=tuple(points))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--network {path} is not a measured.json of `distopt measure`: {error}."
            ) from None
    return model if latency is None else ExchangeModel(latency / 1e3, model.beta, model.sigma)


def candidates(path: Path, settings: Sequence[str]) -> list[tuple[str, Config]]:
    """List what to compare: a suite's variants, or a configuration with one compressor after the other."""
    tables = read_toml(path)
    if "variant" in tables:
        suite = load_suite(path, settings, Path("unused"))
        first = {case.label: case.config for case in reversed(suite.cases)}
        return list(reversed(first.items()))
    config = load_config(path, settings)
    method, own = (config.resolved()[section] for section in ("algorithm", "compressor"))
    found = [(f"{method.get('class', method['name'])}, {describe(own)}", config)]
    found += recommended(config, method["name"])
    for compressor in [{"name": n} | c for n in COMPRESSORS for c in COMPRESSORS.get(n).candidates]:
        label = describe(compressor)
        if compressor["name"] == own["name"]:
            continue
        try:
            other = config.with_settings(
                [f"compressor.{k}={json.dumps(v)}" for k, v in compressor.items()]
            )
            other.algorithm.accept(other.compressor, other.problem.dimension)
        except DistoptError:
            continue  # the algorithm does not take it
        found.append((f"{method.get('class', method['name'])}, {label}", other))
    return found


def recommended(config: Config, own: str) -> list[tuple[str, Config]]:
    """List what is recommended where one knows nothing, and the best without compression, if others."""
    found = []
    for name in (str(ALGORITHMS.default), UNCOMPRESSED):
        tables = config.tables | {"algorithm": {"name": name}, "compressor": {}}
        if name != own and not config.tables["arithmetic"]:
            with suppress(DistoptError):  # it does not suit this problem
                other = make_config(tables, config.folder)
                found.append((f"{name}, {describe(other.resolved()['compressor'])}", other))
    return found


def in_turn(
    variants: Sequence[tuple[str, Config]], goal: Goal
) -> Iterator[tuple[str, Config, Goal]]:
    """Give the variants one after the other, each with its share of the processor time that is left."""
    end = process_time() + goal.seconds
    for number, (label, config) in enumerate(variants):
        share = (end - process_time()) / (len(variants) - number)
        yield label, config, replace(goal, seconds=max(share, 0.0))


def describe(compressor: dict[str, Any]) -> str:
    """Name a compressor with the parameters that distinguish it from others of its kind.

    >>> describe({"name": "quantize", "bits": 2, "dithered": True})
    'quantize, bits 2, dithered'
    """
    shown = {k: compressor[k] for k in ("dtype", "bits", "fraction", "dithered") if k in compressor}
    parts = [
        k if v is True else str(v) if k == "dtype" else f"{k} {v}" for k, v in shown.items() if v
    ]
    return ", ".join([compressor.get("class", compressor["name"]), *parts])


def predict(
    label: str,
    config: Config,
    goal: Goal,
    links: Sequence[Link],
    model: ExchangeModel,
    computing: Core | None = None,
) -> dict[str, Any]:
    """Simulate one variant and predict its seconds on every link.

    `computing` measures an agent's computing time; without it the simulation does.
    """
    variant: dict[str, Any] = {"variant": label, "problem": None, "links": []}
    try:
        trial = simulate(config, goal.accuracy, goal.seconds)
    except DistoptError as error:
        return variant | {"problem": str(error)}
    k, n = trial.iterations, config.problem.topology.agents
    iterations, projected = iterations_to(goal.accuracy, trial.rows)
    smallest = min(row["stationarity"] for row in trial.rows)
    nbytes = trial.of_iteration("bytes_per_agent")  # of one agent, a broadcast once
    seconds = computing(config, k) if computing else trial.computing
    share = goal.share or 1
    gradient = share * trial.gradient * seconds / (trial.computing or 1.0)
    hides = pays(config.run.overlap, n, trial.second, gradient)
    one = Iteration(
        computing=share * seconds,
        exchanges=trial.exchanges,
        message=trial.message,
        copies=trial.copies,
        iterations=iterations if iterations is not None else 1.0,
        gradient=gradient if hides else 0.0,
    )
    known = iterations is not None
    return variant | {
        "algorithm": ALGORITHMS.name_of(type(config.algorithm)),
        "compressor": COMPRESSORS.name_of(type(config.compressor)),
        "agents": n,
        "dimension": config.problem.dimension,
        "accuracy": goal.accuracy,
        "simulated": k,
        "iterations": iterations,
        "projected": projected,
        "problem": None if known else f"not reached: P = {q.small(smallest)} after {k} iterations",
        "bytes_per_agent": nbytes * iterations if iterations is not None else None,
        "bytes_per_iteration": nbytes,
        "message_bytes": one.message,
        "computing_seconds": one.computing,
        "overlaps": hides,
        "links": [
            {
                "link": link.name,
                "rate": link.rate,
                "seconds_per_iteration": total / one.iterations,
                "seconds": total if known else None,
            }
            for link in links
            for total in [one.seconds(model.later(link.latency), link.rate)]
        ],
    }


def tabulate(
    variants: Sequence[dict[str, Any]], links: Sequence[Link], goal: Goal, model: ExchangeModel
) -> Results:
    """Make the table of the predictions; the notes name the fastest variant on every link."""
    marks = {"projected": "≈{}"}
    columns = [
        Column("variant", "variant", words=True),
        Column("iterations", "iterations", "", "to the accuracy", write_count, marks=marks),
        Column("message_bytes", "message", "B", "in one exchange"),
        Column("bytes_per_agent", "sent per agent", "B", "a broadcast counted once"),
        Column("computing_seconds", "computing", "s", "for one agent in an iteration"),
        *(Column(f"seconds_{link.name}", link.name, "s", "to the accuracy", marks=marks)
          for link in links),
        Column("projected", "projected", "", "beyond the simulated iterations", shown=False),
        Column("problem", "notes", words=True, shown=any(v["problem"] for v in variants)),
    ]  # fmt: skip
    rows = [
        {column.key: v.get(column.key) for column in columns}
        | {"problem": v["problem"] or ""}
        | {f"seconds_{at['link']}": at["seconds"] for at in v["links"]}
        for v in variants
    ]
    goes = f"an exchange takes {model} its packets on the link"
    title = f"Predicted to P ≤ {q.power(goal.accuracy)}; {goes}"
    notes = [fastest(variants, link, goal) for link in links]
    if any(
        v["projected"] and v["iterations"] > UNSURE * v["simulated"]
        for v in variants
        if v.get("iterations")
    ):
        notes.append("≈ goes far beyond what was simulated; a larger --seconds makes it surer.")
    hiding = [v["variant"] for v in variants if v.get("overlaps")]
    if hiding:
        notes.append(f"y travels while the gradient is computed: {', '.join(hiding)}.")
    return Results(title, columns, rows, [*notes, RECOMMENDED])


def fastest(variants: Sequence[dict[str, Any]], link: Link, goal: Goal) -> str:
    """Name the fastest variant on one link."""
    times = {
        v["variant"]: at["seconds"]
        for v in variants
        for at in v["links"]
        if at["link"] == link.name and at["seconds"] is not None
    }
    if not times:
        return f"{link.name}: no variant reaches P = {goal.accuracy:g}."
    best = min(times, key=lambda name: times[name])
    return f"{link.name}: {best} is the fastest, {q.seconds(times[best])}."
