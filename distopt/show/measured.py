"""What timed runs come to: medians over rounds, one object per variant, tables, a page."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

from distopt.core import units as q
from distopt.core.errors import CheckpointError
from distopt.record.history import read_history
from distopt.studies.measure import verdict
from distopt.studies.measure.model import Network
from distopt.studies.measure.overhead import Accounting
from distopt.studies.measure.timing import account
from distopt.studies.suite import Suite

if TYPE_CHECKING:
    from distopt.studies.measure.items import Item

Variant = dict[str, Any]


def collect(suite: Suite, wanted: Sequence["Item"], failures: Mapping[str, str]) -> list[Variant]:
    """Put together what was timed, one object per variant."""
    groups: dict[str, dict[str, list[Item]]] = {}
    for item in wanted:
        groups.setdefault(item.case.label, {}).setdefault(item.link_name, []).append(item)
    variants = []
    for label, by_link in groups.items():
        case = next(iter(by_link.values()))[0].case
        names = [case.name, *(i.name for items in by_link.values() for i in items)]
        told = [failures[name] for name in names if name in failures]
        variant: Variant = {"variant": label, "failures": list(dict.fromkeys(told))}
        try:
            history = read_history(case.folder)
            meta = history.meta
            variant |= {
                name: meta[name] for name in ("algorithm", "compressor", "agents", "dimension")
            }
            variant["parameters"] = {
                k: history.config.get(k, {}) for k in ("algorithm", "compressor")
            }
            variant["bits_per_coordinate"] = history.bits
            every = int(history.config["run"]["record_every"])
        except CheckpointError as error:
            variant["failures"] = variant["failures"] or [str(error)]
            every = 1
        variant["links"] = [
            merged(items[0], found, every)
            for items in by_link.values()
            if (found := [r for i in items if (r := i.kept(None))])
        ]
        variants.append(variant)
    return variants


def merged(item: "Item", rounds: Sequence[Mapping[str, Any]], every: int) -> dict[str, Any]:
    """Merge the rounds of one variant on one link: medians of times, sums of what was counted."""
    middle = sorted(rounds, key=lambda r: r["seconds_per_iteration"])[(len(rounds) - 1) // 2]
    totals = [r["seconds_per_iteration"] for r in rounds]
    split = {
        p["phase"]: median(r["phases"][i]["seconds"] / r["window"] for r in rounds)
        for i, p in enumerate(middle["phases"])
    }
    accounts = [r["accounting"] for r in rounds]
    counts = ("counted", "messages", "seen", "packets")
    whole = accounts[0]
    if all("counted" in a for a in accounts):
        whole = account(Accounting(*(sum(a[k] for a in accounts) for k in counts)))
    iterations = sum(r["window"] for r in rounds)
    return {
        "link": item.link_name,
        "rate": item.link.rate if item.link else None,
        "rounds": len(rounds),
        "iterations": middle["iterations"],
        "seconds_per_iteration": {
            "total": median(totals),
            "least": min(totals),
            "most": max(totals),
            "gradient": split["gradient"],
            "compression": split["encoding"] + split["decoding and mixing"],
            "waiting": split["exchange, waiting"],
            "rest": split["updates, the rest"],
            "diagnostics": median(r["record_seconds"] for r in rounds) / every,
        },
        "phases": middle["phases"],
        "bytes_per_agent": sum(r["bytes_per_agent"] for r in rounds) / iterations,
        "bytes_on_wire": sum(r["bytes_on_wire"] for r in rounds) / iterations,
        "hosts": middle["hosts"],
        "accounting": whole,
        "accuracies": [same_accuracy([r["reached"][i] for r in rounds])
                       for i in range(len(middle["reached"]))],
        "bare": bare([r["bare"] for r in rounds if r["bare"]]),
    }  # fmt: skip


def same_accuracy(found: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Merge what the rounds say of one accuracy; the iterations are the same in all."""
    known = [f for f in found if f]
    if not known:
        return None
    return known[0] | {
        "seconds": median(f["seconds"] for f in known),
        "projected": any(f["projected"] for f in known),
    }


def bare(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Merge the bare exchanges of the rounds."""
    if not found:
        return None
    return found[0] | {key: median(f[key] for f in found) for key in ("seconds", "raw_seconds")}


# Showing


def common_accuracy(variants: Sequence[Variant], suite: Suite) -> float:
    """Return the finest accuracy that most variants reach: that of the figure and the break-even."""
    counts = {
        a: sum(
            any(t and t["accuracy"] == a for t in v["links"][0]["accuracies"])
            for v in variants
            if v["links"]
        )
        for a in suite.accuracies
    }
    most = max(counts.values(), default=0)
    return min(a for a, count in counts.items() if count == most)


def baseline(variants: Sequence[Variant], suite: Suite) -> str:
    """Return the suite's baseline, else its first uncompressed variant."""
    plain = [v["variant"] for v in variants if v.get("compressor") == "identity"]
    return suite.baseline or next(iter(plain), "")


def write(
    variants: Sequence[Variant], suite: Suite, accuracy: float, network: Network | None, out: Path
) -> list[Path]:
    """Write the numbers, and the figure where there are several rates."""
    from distopt.show.figures import png
    from distopt.show.render import finite

    out.mkdir(parents=True, exist_ok=True)
    whole = {
        "title": suite.title,
        "accuracies": sorted(suite.accuracies, reverse=True),
        "accuracy": accuracy,
        "machine": machine(),
        "network": asdict(network) if network else None,
        "variants": list(variants),
    }
    text = json.dumps(finite(whole), indent=1, allow_nan=False, default=str)
    written = [out / "measured.json"]
    written[0].write_text(text + "\n", encoding="utf-8")
    if len({r for v in variants for r in verdict.times(v, accuracy)}) > 1:
        figure = verdict.seconds_against_rate(variants, accuracy, suite.title)
        written.append(out / "measured.png")
        written[1].write_bytes(png(figure))
    return written


def pay_table(variants: Sequence[Variant]) -> Table:
    """Draw below which rate each variant is faster than the baseline."""
    known = [v for v in variants if "break_even" in v]
    first = known[0]["break_even"]
    target = f"{first['against']} to P ≤ {q.power(first['accuracy'])}"
    title = f"faster than {target}, where links are slower than"
    table = Table(title=title, title_justify="left")
    for column in ("variant", "measured", "by the model"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for v in known:
        found = v["break_even"]
        table.add_row(v["variant"], *(verdict.rate_text(found[k]) for k in ("measured", "model")))
    return table


def problems(variants: Sequence[Variant]) -> list[str]:
    """List, once each, why the interfaces of a run tell nothing."""
    found = [
        f"the bytes at the interfaces could not be taken: {entry['accounting']['problem']}."
        for v in variants
        for entry in v["links"]
        if "problem" in entry["accounting"]
    ]
    return found[:1]


def machine() -> dict[str, Any]:
    """Describe where this was measured."""
    model = platform.machine()
    with_model = Path("/proc/cpuinfo")
    if with_model.exists():
        lines = with_model.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((x.split(": ")[1] for x in lines if x.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "load": os.getloadavg()[0],
    }


def link_tables(variants: Sequence[Variant], suite: Suite) -> list[Table]:
    """Draw one table per link: time of an iteration and its parts, bytes, accuracies."""
    names = list(dict.fromkeys(e["link"] for v in variants for e in v["links"]))
    accuracies = sorted(suite.accuracies, reverse=True)
    return [link_table(name, variants, accuracies) for name in names]


def link_table(name: str, variants: Sequence[Variant], accuracies: Sequence[float]) -> Table:
    """Draw the table of one link."""
    table = Table(title=f"link {name}, per iteration", title_justify="left")
    for title in (
        "variant", "time", "gradient", "compression", "waiting", "rest", "records",
        "sent", "at interface", "MPI/raw", *(f"P ≤ {q.power(a)}" for a in accuracies),
    ):  # fmt: skip
        table.add_column(title, justify="left" if title == "variant" else "right")
    for v in variants:
        for e in v["links"]:
            if e["link"] == name:
                table.add_row(v["variant"], *link_cells(e, accuracies))
    return table


def link_cells(e: Mapping[str, Any], accuracies: Sequence[float]) -> list[str]:
    """Return the cells of one variant."""
    s, a = e["seconds_per_iteration"], e["accounting"]
    at = {t["accuracy"]: t for t in e["accuracies"] if t}
    times = [
        f"{'≈' if at[p]['projected'] else ''}{q.seconds(at[p]['seconds'])}" if p in at else "-"
        for p in accuracies
    ]
    seen = f"+{q.share(a['overhead'])}" if "overhead" in a else "-"
    ratio = f"{e['bare']['seconds'] / e['bare']['raw_seconds']:.2f}" if e["bare"] else "-"
    parts = [
        q.seconds(s[k])
        for k in ("total", "gradient", "compression", "waiting", "rest", "diagnostics")
    ]
    return [*parts, q.nbytes(e["bytes_on_wire"] / max(len(e["hosts"]), 1)), seen, ratio, *times]


def phase_tables(variants: Sequence[Variant]) -> list[Table]:
    """Draw one table per run, in the manner of PETSc's log: calls, time, extremes, bytes."""
    return [phase_table(v["variant"], e) for v in variants for e in v["links"]]


def phase_table(label: str, e: Mapping[str, Any]) -> Table:
    """Draw the phases of one variant on one link."""
    table = Table(title=f"{label}, {e['link']}", title_justify="left")
    for title in ("phase", "calls", "seconds", "max/min", "share", "bytes sent"):
        table.add_column(title, justify="left" if title == "phase" else "right")
    total = sum(p["seconds"] for p in e["phases"])
    for p in e["phases"]:
        spread = p["largest"] / p["smallest"] if p["smallest"] > 0 else float("inf")
        table.add_row(
            p["phase"], str(p["calls"]), f"{p['seconds']:.4f}", f"{spread:.2f}",
            q.share(p["seconds"] / total if total else None), q.nbytes(p["bytes"]) if p["bytes"] else "",
        )  # fmt: skip
    return table
