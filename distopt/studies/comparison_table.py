"""The table of a comparison: for each variant a row with its cost to each accuracy and its end."""

from collections.abc import Iterator
from typing import Any

from distopt.core import units as q
from distopt.studies import rounding
from distopt.studies.compare import Comparison, Effort, Variant
from distopt.studies.results import Column, Results, write_count

LOST = "*"  # marks an accuracy that was not kept


def tabulate(c: Comparison) -> list[Results]:
    """Make the table, and that of f - f* where variants are in fixed point."""
    columns = [
        Column("variant", "variant", words=True),
        Column("converged", "converged", meaning="runs that reached the finest accuracy",
               join="\n"),
        *(column for name in c.accuracies.values() for column in columns_to(c, name)),
        Column("bits_per_coordinate", "bits per\ncoordinate", "",
               "bits per coordinate and message, over the whole run"),
        Column("end", f"final {c.symbol}", "", "at the last record", q.small),
        Column("seconds", "seconds", "s", "of the algorithm, diagnostics excluded"),
        Column("seconds_diagnostics", "diagnostics", "s", "of records and checkpoints", join="\n"),
        Column("notes", "notes", words=True, shown=any(map(remarks_on, c.variants))),
    ]  # fmt: skip
    rows = [
        {
            "variant": v.label,
            "converged": v.converged,
            "bits_per_coordinate": v.middle(lambda h: h.bits),
            "end": v.last(c.measure),
            "seconds": v.last("seconds"),
            "seconds_diagnostics": v.last("seconds_diagnostics"),
            "notes": remarks_on(v),
        }
        | dict(pair for e in v.efforts for pair in values_to(e, c.accuracies[e.accuracy]))
        for v in c.variants
    ]
    main = Results(c.title, columns, rows, notes_on(c))
    return [main, rounding.tabulate(c.gaps)] if c.gaps else [main]


def columns_to(c: Comparison, accuracy: str) -> list[Column]:
    """Make the columns of one accuracy."""
    to, title = f"_to_{accuracy}", f"{c.symbol} ≤ {accuracy}"
    return [
        Column(f"iterations{to}", "iterations", "", "median over the runs that got there",
               write_count, title, marks={f"lost{to}": f"{{}}{LOST}"}),
        Column(f"bytes_per_agent{to}", "bytes", "B", "sent per agent, a broadcast counted once",
               None, title, ", ", {f"some{to}": "{} ({})"}),
        Column(f"share_of_baseline{to}", f"of {c.baseline}", "%", "of its bytes",
               None, title, "\n", shown=bool(c.baseline)),
        Column(f"share_of_best{to}", "of best", "%", "of the best uncompressed variant's bytes",
               None, title, ", ", shown=not c.baseline_is_best),
        Column(f"bytes_on_wire{to}", "on wire", "B", "of all agents, every copy", shown=False),
        Column(f"seconds{to}", "time", "s", "of the algorithm", shown=False),
        Column(f"some{to}", "reached", "", "by some runs, of all, where not by all", shown=False),
        Column(f"lost{to}", "lost", "", "not kept to the end by all runs", shown=False),
    ]  # fmt: skip


def values_to(e: Effort, accuracy: str) -> Iterator[tuple[str, Any]]:
    """Give the values of one accuracy, by the keys of `columns_to`."""
    values = {
        "iterations": e.iterations,
        "bytes_per_agent": e.bytes_per_agent,
        "share_of_baseline": e.to_baseline,
        "share_of_best": e.to_uncompressed,
        "bytes_on_wire": e.bytes_on_wire,
        "seconds": e.seconds,
        "some": f"{e.reached}/{e.runs}" if e.reached < e.runs else "",
        "lost": e.held < e.reached,
    }
    return ((f"{name}_to_{accuracy}", value) for name, value in values.items())


def remarks_on(variant: Variant) -> str:
    """Write what else a reader must know about a variant."""
    found = [variant.status] if variant.failures else []
    if variant.ball_violations:
        found.append(f"{variant.ball_violations:.0f} outside ball")
    if variant.certified:
        found.append("certified")
    return ", ".join(found)


def notes_on(c: Comparison) -> list[str]:
    """List the sentences that belong under the table."""
    found: list[str] = []
    if c.baseline:
        sentence = "Bytes are those sent per agent, a broadcast counted once; "
        if c.baseline_is_best:
            found.append(f"{sentence}their share is of {c.baseline}.")
        else:
            best: dict[str, list[str]] = {}
            for accuracy, name in c.references.items():
                best.setdefault(name, []).append(c.accuracies[accuracy])
            named = "; ".join(f"{name} to {', '.join(to)}" for name, to in best.items())
            found.append(
                f"{sentence}the first share is of {c.baseline}, the second of the best "
                f"uncompressed variant ({named})."
            )
    if any(e.held < e.reached for v in c.variants for e in v.efforts):
        found.append(f"{LOST} {c.symbol} rose above this accuracy again later in the run.")
    if any(len(v.runs) > 1 for v in c.variants):
        found.append("Several seeds: medians over the runs that got there.")
    if not any(v.certified for v in c.variants):
        found.append(
            "No variant is certified: the steps are larger than those with a proven Lyapunov function."
        )
    return found
