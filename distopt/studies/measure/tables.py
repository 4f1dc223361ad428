"""The tables of `distopt measure`: an iteration on each link, break-even rates, phases of a run."""

from collections.abc import Sequence
from typing import Any

from distopt.core import units as q
from distopt.studies.measure.break_even import network_sentence
from distopt.studies.measure.model import ExchangeModel
from distopt.studies.measure.summary import Variant
from distopt.studies.results import Column, Results

VARIANT = [Column("variant", "variant", words=True), Column("link", "link", join="\n")]
PARTS = {
    "total": "time",
    "gradient": "gradient",
    "compression": "compression",
    "waiting": "waiting",
    "rest": "rest",
    "diagnostics": "records",  # and glances, as they are by default
}


def tabulate(
    variants: Sequence[Variant], accuracies: Sequence[float], network: ExchangeModel | None
) -> list[Results]:
    """Make all tables that there are numbers for."""
    even = [v for v in variants if "break_even" in v]
    return [
        iterations_table(variants, sorted(accuracies, reverse=True), network),
        *([break_even_table(even)] if even else []),
        phases_table(variants),
    ]


def iterations_table(
    variants: Sequence[Variant], accuracies: Sequence[float], network: ExchangeModel | None
) -> Results:
    """Tabulate the parts of an iteration, bytes, and seconds to each accuracy."""
    columns = [
        *VARIANT,
        *(Column(f"seconds_{key}", header, "s", "of an iteration, median over the rounds")
          for key, header in PARTS.items()),
        Column("bytes_per_host", "sent", "B", "handed to MPI by a host in an iteration"),
        Column("overhead", "at interface", "%", "bytes at the interfaces beyond those",
               lambda share: f"+{q.share(share)}"),
        Column("mpi_to_raw", "MPI/raw", "", "seconds of a bare exchange by MPI over raw sockets",
               "{:.2f}".format),
    ]  # fmt: skip
    for a in map(q.power, accuracies):
        columns += [
            Column(f"seconds_to_{a}", f"P ≤ {a}", "s", marks={f"projected_to_{a}": "≈{}"}),
            Column(f"projected_to_{a}", "projected", meaning="from the pace so far", shown=False),
        ]
    columns += [
        Column("seconds_recorded", "with records", "s", "to the finest accuracy reached, with records "
               "as they are by default", marks={"projected_recorded": "≈{}"}),
        Column("projected_recorded", "projected", meaning="with 5 % for the rest", shown=False),
        Column("bytes_recorded", "sent with records", "B", "to there, of all hosts, every copy"),
    ]  # fmt: skip
    links = dict.fromkeys(e["link"] for v in variants for e in v["links"])
    rows = [
        iteration_row(v["variant"], e)
        for link in links
        for v in variants
        for e in v["links"]
        if e["link"] == link
    ]
    notes = [network_sentence(network)] if network else []
    return Results("One iteration on each link", columns, rows, notes)


def iteration_row(label: str, e: dict[str, Any]) -> dict[str, Any]:
    """Take the values of one variant on one link."""
    bare = e["bare"]
    row = {
        "variant": label,
        "link": e["link"],
        "bytes_per_host": e["bytes_on_wire"] / max(len(e["hosts"]), 1),
        "overhead": e["accounting"].get("overhead"),
        "mpi_to_raw": bare["seconds"] / bare["raw_seconds"] if bare else None,
    }
    row |= {f"seconds_{key}": e["seconds_per_iteration"][key] for key in PARTS}
    for reached in filter(None, e["accuracies"]):
        a = q.power(reached["accuracy"])
        row |= {f"seconds_to_{a}": reached["seconds"], f"projected_to_{a}": reached["projected"]}
        if "seconds_recorded" in reached:
            row |= {key: reached[key] for key in ("seconds_recorded", "bytes_recorded")}
            row["projected_recorded"] = reached["projected"]
    return row


def break_even_table(variants: Sequence[Variant]) -> Results:
    """Tabulate below which rate each variant is faster than the baseline."""
    first = variants[0]["break_even"]
    target = f"{first['against']} to P ≤ {q.power(first['accuracy'])}"
    columns = [
        VARIANT[0], Column("measured", "measured", "bit/s"), Column("model", "by the model", "bit/s"),
    ]  # fmt: skip
    rows = [{"variant": v["variant"]} | v["break_even"] for v in variants]
    return Results(f"Faster than {target}, where links are slower than", columns, rows)


def phases_table(variants: Sequence[Variant]) -> Results:
    """Tabulate the phases of every run in the manner of PETSc's log: calls, time, extremes, bytes."""
    columns = [
        *VARIANT,
        Column("phase", "phase", words=True),
        Column("calls", "calls"),
        Column("seconds", "seconds", "s", "mean over the ranks", "{:.4f}".format),
        Column("spread", "max/min", "", "of the seconds, over the ranks", "{:.2f}".format),
        Column("share", "share", "%"),
        Column("bytes", "bytes sent", "B", "by a rank, every copy"),
    ]
    rows = []
    for v in variants:
        for e in v["links"]:
            total = sum(p["seconds"] for p in e["phases"])
            rows += [
                {
                    "variant": v["variant"],
                    "link": e["link"],
                    **p,
                    "spread": p["largest"] / p["smallest"] if p["smallest"] > 0 else float("inf"),
                    "share": p["seconds"] / total if total else None,
                    "bytes": p["bytes"] or None,
                }
                for p in e["phases"]
            ]
    return Results("Phases of the runs", columns, rows)
