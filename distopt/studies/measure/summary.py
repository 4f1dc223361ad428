"""The results of timed runs: medians over rounds, one object per variant."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from distopt.core.errors import CheckpointError
from distopt.record.reader import load
from distopt.studies.measure.overhead import Accounting
from distopt.studies.measure.timed import TimedRun
from distopt.studies.measure.timing import account
from distopt.studies.suite import Suite

Variant: TypeAlias = dict[str, Any]


def collect(wanted: Sequence[TimedRun], failures: Mapping[str, str]) -> list[Variant]:
    """Put together the timed runs, one object per variant."""
    groups: dict[str, dict[str, list[TimedRun]]] = {}
    for item in wanted:
        groups.setdefault(item.case.label, {}).setdefault(item.link_name, []).append(item)
    variants = []
    for label, by_link in groups.items():
        case = next(iter(by_link.values()))[0].case
        names = [case.name, *(i.name for items in by_link.values() for i in items)]
        told = [failures[name] for name in names if name in failures]
        variant: Variant = {"variant": label, "failures": list(dict.fromkeys(told))}
        try:
            history = load(case.folder)
            meta = history.meta
            variant |= {
                name: meta[name] for name in ("algorithm", "compressor", "agents", "dimension")
            }
            variant["parameters"] = {
                k: history.config.get(k, {}) for k in ("algorithm", "compressor")
            }
            variant["bits_per_coordinate"] = history.bits
        except CheckpointError as error:
            variant["failures"] = variant["failures"] or [str(error)]
        variant["links"] = [
            merged(items[0], found)
            for items in by_link.values()
            if (found := [r for i in items if (r := i.kept(None))])
        ]
        variants.append(variant)
    return variants


def merged(item: TimedRun, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
            "diagnostics": median(
                r["records"]["seconds"] / r["records"]["iterations"] for r in rounds
            ),
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
    """Merge the rounds' results for one accuracy; the iterations are the same in all."""
    known = [f for f in found if f]
    if not known:
        return None
    return (
        known[0]
        | {
            key: median(f[key] for f in known)
            for key in ("seconds", "seconds_recorded")
            if key in known[0]
        }
        | {"projected": any(f["projected"] for f in known)}
    )


def bare(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Merge the bare exchanges of the rounds."""
    if not found:
        return None
    return found[0] | {key: median(f[key] for f in found) for key in ("seconds", "raw_seconds")}


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


def problems(variants: Sequence[Variant]) -> list[str]:
    """Say why the interfaces showed nothing, once for all runs."""
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
