"""``distopt plan``: bytes and seconds to an accuracy on a network that one does not have yet.

All agents are simulated here, in one process. That gives what no network changes: iterations to the
accuracy and bytes, to the bit, and how long this machine's core computes for one agent. Only the
exchange is a model's (`distopt.studies.measure.model`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from pathlib import Path
from typing import Any

from rich.table import Table

from distopt.config.build import Config, load_config
from distopt.config.tables import read_toml
from distopt.core import units as q
from distopt.core.errors import ConfigError, DistoptError
from distopt.engine.run import run
from distopt.studies.measure.computing import Core
from distopt.studies.measure.link import Link
from distopt.studies.measure.model import MEASURED, Corrected, Iteration, Network, bare_points, fit
from distopt.studies.suite import load_suite

# What a plan for one configuration compares, where its algorithm takes it.
CANDIDATES: tuple[dict[str, Any], ...] = (
    {"name": "identity"},
    {"name": "cast", "dtype": "bfloat16"},
    {"name": "quantize", "bits": 4},
    {"name": "quantize", "bits": 2, "dithered": True},
    {"name": "norm_sign"},
    {"name": "ternary"},
    {"name": "top_k", "fraction": 0.1},
    {"name": "uniform"},
    {"name": "saturating", "bits": 2},
    {"name": "one_bit"},
)


@dataclass(frozen=True)
class Needs:
    """What the options of ``distopt plan`` say."""

    config: Path
    links: str
    agents: int | None
    accuracy: float
    seconds: float  # to simulate one variant
    network: Path | None  # measured.json of `distopt measure`
    latency: float | None  # ms, instead of the measured alpha
    share: float | None  # agents that share a core there; None: each has a host of its own


def known_network(needs: Needs) -> Network:
    """Return the constants of the exchange: fitted to a measurement, or those of the test bed."""
    network = MEASURED
    if needs.network is not None:
        try:
            found = json.loads(needs.network.read_text(encoding="utf-8"))["variants"]
            points = bare_points(found)
            network = Corrected(**vars(fit(points)), measured=tuple(points))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--network {needs.network} is no measured.json of `distopt measure`: {error}."
            ) from None
    if needs.latency is not None:
        network = Network(needs.latency / 1e3, network.beta, network.sigma)
    return network


def candidates(path: Path, settings: Sequence[str]) -> list[tuple[str, Config]]:
    """List what to compare: a suite's variants, or a configuration with one compressor after the other."""
    tables = read_toml(path)
    if "variant" in tables:
        suite = load_suite(path, settings, Path("unused"))
        first = {case.label: case.config for case in reversed(suite.cases)}
        return list(reversed(first.items()))
    config = load_config(path, settings)
    own = config.resolved()["compressor"]
    found = [(describe(own), config)]
    for compressor in CANDIDATES:
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
        found.append((label, other))
    return found


def describe(compressor: dict[str, Any]) -> str:
    """Name a compressor with what tells it from others of its kind.

    >>> describe({"name": "quantize", "bits": 2, "dithered": True})
    'quantize, bits 2, dithered'
    """
    shown = {k: compressor[k] for k in ("dtype", "bits", "fraction", "dithered") if k in compressor}
    parts = [
        k if v is True else str(v) if k == "dtype" else f"{k} {v}" for k, v in shown.items() if v
    ]
    return ", ".join([compressor["name"], *parts])


def predict(
    label: str,
    config: Config,
    needs: Needs,
    links: Sequence[Link],
    network: Network,
    computing: Core,
) -> dict[str, Any]:
    """Simulate one variant and say what it will take on every link."""
    variant: dict[str, Any] = {"variant": label, "problem": None, "links": []}
    topology = config.problem.topology
    stop = [f"run.stop.stationarity={needs.accuracy}", f"run.stop.seconds={needs.seconds}"]
    try:
        result = run(config.with_settings(stop), engine="simulate")
    except DistoptError as error:
        return variant | {"problem": str(error)}
    summary, rows = result.summary, result.rows
    k, n = max(summary["iterations"], 1), topology.agents
    iterations, projected = iterations_to(needs.accuracy, rows)
    degrees = [len(topology.neighbours(i)) for i in range(n)]
    exchanges = summary["messages_per_agent"] / k / (sum(degrees) / n)
    nbytes = summary["bytes_per_agent"] / k  # of one agent in one iteration, a broadcast once
    one = Iteration(
        computing=(needs.share or 1) * computing(config, k),
        exchanges=exchanges,
        message=nbytes / exchanges,
        copies=max(degrees),  # the busiest host decides
        iterations=iterations if iterations is not None else 1.0,
    )
    known = iterations is not None
    return variant | {
        "algorithm": summary["algorithm"],
        "compressor": summary["compressor"],
        "agents": n,
        "dimension": summary["dimension"],
        "accuracy": needs.accuracy,
        "simulated": k,
        "iterations": iterations,
        "projected": projected,
        "problem": None if known else "does not come nearer to this accuracy",
        "bytes_per_agent": nbytes * iterations if iterations is not None else None,
        "bytes_per_iteration": nbytes,
        "message_bytes": one.message,
        "computing_seconds": one.computing,
        "links": [
            {
                "link": link.name,
                "rate": link.rate,
                "seconds_per_iteration": one.seconds(network, link.rate) / one.iterations,
                "seconds": one.seconds(network, link.rate) if known else None,
            }
            for link in links
        ],
    }


def iterations_to(accuracy: float, rows: Sequence[dict[str, float]]) -> tuple[float | None, bool]:
    """Return the iterations to an accuracy, and whether they are projected.

    A run that was ended before goes on at the mean rate of its second half, if P fell there at all.

    >>> iterations_to(1e-6, [{"iteration": k, "stationarity": 10.0 ** (-k / 10)} for k in (0, 20, 40)])
    (60.0, True)
    """
    for row in rows:
        if row["stationarity"] <= accuracy:
            return row["iteration"], False
    last, middle = rows[-1], rows[len(rows) // 2]
    steps = last["iteration"] - middle["iteration"]
    if steps <= 0 or not 0 < last["stationarity"] < middle["stationarity"]:
        return None, False
    fall = log(middle["stationarity"] / last["stationarity"]) / steps
    more = log(last["stationarity"] / accuracy) / fall
    return (float(round(last["iteration"] + more)), True) if isfinite(exp(-fall)) else (None, False)


def table(
    variants: Sequence[dict[str, Any]], links: Sequence[Link], needs: Needs, network: Network
) -> Table:
    """Draw the predictions."""
    title = (
        f"predicted to P ≤ {q.power(needs.accuracy)}; an exchange takes {q.seconds(network.alpha)} + "
        f"{network.beta * 1e9:.2g} ns a byte + {network.sigma:.2f} times its packets on the link"
    )
    drawn = Table(title=title, title_justify="left")
    for name in ("variant", "iterations", "message", "sent per agent", "computing",
                 *(link.name for link in links)):  # fmt: skip
        drawn.add_column(name, justify="left" if name == "variant" else "right")
    for v in variants:
        if v["problem"]:
            drawn.add_row(v["variant"], v["problem"])
            continue
        mark = "≈" if v["projected"] else ""
        drawn.add_row(
            v["variant"], f"{mark}{v['iterations']:.0f}", q.nbytes(v["message_bytes"]),
            q.nbytes(v["bytes_per_agent"]), f"{q.seconds(v['computing_seconds'])}",
            *(mark + q.seconds(at["seconds"]) for at in v["links"]),
        )  # fmt: skip
    return drawn


def sentence(variants: Sequence[dict[str, Any]], link: Link, needs: Needs) -> str:
    """Name the fastest variant on one link."""
    times = {
        v["variant"]: at["seconds"]
        for v in variants
        for at in v["links"]
        if at["link"] == link.name and at["seconds"] is not None
    }
    if not times:
        return f"{link.name}: no variant reaches P = {needs.accuracy:g}."
    best = min(times, key=lambda name: times[name])
    return f"{link.name}: {best} is the fastest, {q.seconds(times[best])}."
