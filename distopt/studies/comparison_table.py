"""The table of a comparison: for each variant a row with its cost to each accuracy and its end."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

from distopt.core import units as q
from distopt.record.series import MEASURES, SERIES
from distopt.studies import rounding
from distopt.studies.compare import QUANTILES, Comparison, Effort, Variant, VariantRun, smallest
from distopt.studies.results import Column, Results, write_count

LOST = "*"  # marks an accuracy that was not kept
OTHER_END = 0.01  # of the way down: objectives that differ by more belong to different points
MEANINGS = {
    "stationarity": "P = ‖∇f(x̄)‖² + consensus error, at the mean x̄ of the models.",
    "nmse": "NMSE of the mean model on the training samples.",
}
SAME = ("iteration", "objective", "stationarity", "bytes_per_agent")  # what identical runs share


def tabulate(c: Comparison) -> list[Results]:
    """Make the table, and that of f - f* where variants are in fixed point."""
    several = any(len(v.histories) > 1 for v in c.variants)
    columns = [
        Column("variant", "variant", words=True),
        Column("converged", "converged", meaning="runs that reached the finest accuracy",
               join="\n"),
        *(column for name in c.accuracies.values() for column in columns_to(c, name, several)),
        Column("bits_per_coordinate", "bits per\ncoordinate", "",
               "bits per coordinate and message, over the whole run"),
        Column("end", f"final {c.symbol}", "", "at the last record", q.small),
        *columns_spread("end", c.symbol, "", shown=False),
        Column("objective", "objective", "", "at the last record, at the mean of the models",
               "{:.6g}".format, join="\n", paper=False),
        *(replace(column, paper=False)
          for column in columns_spread("objective", "objective", "\n", shown=several)),
        *(Column(name, name.removeprefix(MEASURES), "", "of the costs, at the last record",
                 "{:.6g}".format) for name in measures_of(c)),
        Column("seconds", "seconds", "s", "of the algorithm, diagnostics excluded", paper=False),
        Column("seconds_diagnostics", "diagnostics", "s", "of records and checkpoints", join="\n",
               paper=False),
        Column("notes", "notes", words=True, shown=any(map(remarks_on, c.variants)), paper=False),
    ]  # fmt: skip
    rows = [
        {
            "variant": v.label,
            "converged": v.converged,
            "bits_per_coordinate": v.middle(lambda h: h.bits),
            "end": v.last(c.measure),
            **spread_of(v, c.measure, "end"),
            "objective": v.last("objective"),
            **spread_of(v, "objective", "objective"),
            **{name: v.last(name) for name in measures_of(c)},
            "seconds": v.last("seconds"),
            "seconds_diagnostics": v.last("seconds_diagnostics"),
            "notes": remarks_on(v),
        }
        | dict(pair for e in v.efforts for pair in values_to(e, c.accuracies[e.accuracy]))
        for v in c.variants
    ]
    unproven = not_certified(c)
    main = Results(c.title, columns, rows, notes_on(c) + unproven, unproven, [MEANINGS[c.measure]])
    return [main, rounding.tabulate(c.gaps)] if c.gaps else [main]


def measures_of(c: Comparison) -> list[str]:
    """List the series of costs' measures that any run has."""
    return SERIES.sort(
        name for v in c.variants for h in v.histories for name in h.series if name not in SERIES
    )


def columns_spread(
    key: str,
    what: str,
    join: str,
    unit: str = "",
    shown: bool = True,
    to: str = "",
    under: str = "",
) -> list[Column]:
    """Make the columns of a spread over the runs; people see the smallest and the largest value."""
    write = None if unit else "{:.6g}".format
    titles = {"smallest": f"smallest {what}", "largest": "largest"}
    return [
        Column(f"{key}_{name}{to}", titles.get(name, name), unit, f"of {what}, over the runs", write,
               under, join if name == "smallest" else " to ", shown=shown and name in titles)
        for name in QUANTILES
    ]  # fmt: skip


def spread_of(v: Variant, series: str, key: str) -> dict[str, float | None]:
    """Give the values of a spread, by the keys of `columns_spread`."""
    return {f"{key}_{name}": v.spread(series).get(name) for name in QUANTILES}


def columns_to(c: Comparison, accuracy: str, several: bool) -> list[Column]:
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
        *columns_spread("bytes_per_agent", "bytes", "\n", "B", several, to, title),
        Column(f"bytes_recorded{to}", "with records", "B", "sent per agent, for records as well",
               q.nbytes, title, "\n", paper=False),
        *columns_spread("iterations", "iterations", "", shown=False, to=to),
        *columns_spread("seconds", "time", "", "s", shown=False, to=to),
        Column(f"bytes_on_wire{to}", "on wire", "B", "of all agents, every copy", shown=False),
        Column(f"seconds{to}", "time", "s", "of the algorithm", shown=False),
        Column(f"seconds_recorded{to}", "time with records", "s", shown=False),
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
        "bytes_recorded": e.bytes_recorded,
        "seconds_recorded": e.seconds_recorded,
        "some": f"{e.reached}/{e.runs}" if e.reached < e.runs else "",
        "lost": e.held < e.reached,
    } | {
        f"{quantity}_{name}": e.spread.get(quantity, {}).get(name)
        for quantity in ("bytes_per_agent", "iterations", "seconds")
        for name in QUANTILES
    }
    return ((f"{name}_to_{accuracy}", value) for name, value in values.items())


def remarks_on(variant: Variant) -> str:
    """Write what else a reader must know about a variant."""
    found = [variant.status] if variant.failures else []
    if variant.ball_violations:
        found.append(f"{variant.ball_violations:.0f} outside ball")
    if variant.certified:
        found.append("certified")
    if step := variant.last("step"):
        found.append(f"eta searched, {step:.3g} at the end")
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
        found.append(
            "Several seeds: medians over the runs that got there, and the smallest and largest value."
        )
    return [*found, *not_reached(c), *different_problems(c), *different_ends(c), *identical(c)]


def not_certified(c: Comparison) -> list[str]:
    """Name the variants that have a Lyapunov function, if the steps of none are proven."""
    able = [v.label for v in c.variants if any(h.meta["lyapunov"] for h in v.histories)]
    if not able or any(v.certified for v in c.variants):
        return []
    return [
        f"Not certified (steps larger than those with a proven Lyapunov function): {'; '.join(able)}."
    ]


def not_reached(c: Comparison) -> list[str]:
    """Say which accuracy, and so all finer ones, no run reached, and how near the best came."""
    lost = [
        name
        for at, name in enumerate(c.accuracies.values())
        if not any(v.efforts[at].reached for v in c.variants)
    ]
    if not lost or not c.variants:
        return []
    values = {
        v.label: min((smallest(h[c.measure]) for h in v.histories), default=inf) for v in c.variants
    }
    best = min(values, key=values.__getitem__)
    if values[best] == inf:
        return []
    return [
        f"No run reached {c.symbol} ≤ {lost[0]}; the smallest is {q.small(values[best])} ({best})."
    ]


def different_problems(c: Comparison) -> list[str]:
    """Say so if variants solve different problems, as folders of runs may."""
    known = {v.label: v.histories[0].config.get("problem", {}) for v in c.variants if v.histories}
    if not known:
        return []
    first, one = next(iter(known.items()))
    for label, other in known.items():
        keys = [k for k in {**one, **other} if k != "seed" and one.get(k) != other.get(k)]
        if keys and one and other:
            return [
                f"Runs {first} and {label} solve different problems ([problem] differs: "
                f"{q.list_words(keys)})."
            ]
    return []


def different_ends(c: Comparison) -> list[str]:
    """Say so if variants that converged ended at different objectives, as they may where f is nonconvex."""
    for seed in dict.fromkeys(run.seed for v in c.variants for run in v.runs):
        ends = {
            v.label: run.history
            for v in c.variants
            for run in v.runs
            if run.seed == seed and run.history and run.reach(min(c.accuracies))
        }
        values = {label: h.last("objective") for label, h in ends.items()}
        down = max((h["objective"][0] - h.last("objective") for h in ends.values()), default=0.0)
        if not values or max(values.values()) - min(values.values()) <= OTHER_END * down:
            continue
        best, worst = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        where = "" if seed is None else f" (seed {seed})"
        return [
            f"Variants that converged ended at different points{where}: the objective of {best} is "
            f"{values[best]:.6g}, that of {worst} {values[worst]:.6g}."
        ]
    return []


def identical(c: Comparison) -> list[str]:
    """Say which runs are equal to the last digit, such as those of seeds that change nothing."""
    groups: dict[str, list[VariantRun]] = {}
    for run in (run for v in c.variants for run in v.runs):
        if run.history:
            columns = [run.history[name].tobytes() for name in SAME]
            groups.setdefault(hashlib.sha256(b"".join(columns)).hexdigest(), []).append(run)
    told = []
    for runs in groups.values():
        labels: dict[str, list[str]] = {}
        for run in runs:
            labels.setdefault(run.label, []).append(str(run.seed))
        if len(runs) > 1:
            told.append(q.list_words([
                label if seeds == ["None"] else f"{label} (seeds {', '.join(seeds)})"
                for label, seeds in labels.items()
            ]))  # fmt: skip
    return [f"Identical to the last digit: {'; '.join(told)}."] if told else []
