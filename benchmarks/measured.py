"""Measure three problems on a test bed of four hosts and write docs/measured.md's tables and figures.

    python benchmarks/measured.py              everything, then the page (needs root or user namespaces)
    python benchmarks/measured.py --reuse      keep what an earlier call has finished
    python benchmarks/measured.py --quick      only prove that it runs: one problem, two rates, no page

Runs `distopt measure` on each suite, `distopt plan` for the same links, and writes what they print. The
machine should be quiet: four ranks share its cores, and times are wall times.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from distopt.core import units as q
from distopt.studies.measure.break_even import network_sentence
from distopt.studies.measure.overhead import SMALL

ROOT = Path(__file__).parent.parent
MARK = "<!-- written by benchmarks/measured.py -->\n"

# Suite, rates, rounds, seconds of iterations that a timed run may take.
JOBS = {
    "hosts_pl": ("25mbit,100mbit,1gbit,unlimited", 2, 2.0),
    "hosts_logistic": ("1mbit,100mbit,unlimited", 2, 1.0),
    "hosts_lista": ("25mbit,100mbit,unlimited", 2, 1.0),
}
ONE_HOST = ("hosts_pl", "", 3, 1.0)  # no bed: ranks share memory
HEADLINE = ("hosts_pl", "100mbit", 1, 120.0)  # to the end, nothing projected
FASTER = {"gt": 10.0, "cgt1 bfloat16": 3.0}  # times, set beforehand
PREDICTED = 0.15  # error of a plan, set beforehand
RAW = 1.15  # exchange by MPI over raw sockets, above 64 KiB, set beforehand
LOSS = 1.10  # of a recommended compressor on one host, set beforehand


def distopt(*arguments: str) -> str:
    """Run a command; return its standard output."""
    command = [sys.executable, "-m", "distopt", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if done.returncode:
        print(f"ended with {done.returncode}: {' '.join(command)}", file=sys.stderr)
    return done.stdout


def measure(
    suite: str, links: str, rounds: int, seconds: float, reuse: bool, name: str = ""
) -> dict:
    """Measure one suite; return measured.json."""
    out = ROOT / "runs" / f"measured-{name or suite}"
    began = perf_counter()
    distopt(
        "measure", f"launch/experiments/{suite}.toml", *(["--link", links] if links else []),
        "--rounds", str(rounds), "--seconds", str(seconds), "--out", str(out), "--quiet",
        "--reuse" if reuse else "--overwrite",
    )  # fmt: skip
    print(f"{name or suite}: {perf_counter() - began:.0f} s", file=sys.stderr)
    return json.loads((out / "measured.json").read_text()) | {"out": out}


def plan(suite: str, links: str, found: dict) -> dict:
    """Predict the same runs; return the seconds per iteration by variant and link."""
    text = distopt(
        "plan", f"launch/experiments/{suite}.toml", "--link", links, "--per-core", "2", "--json",
        "--network", str(found["out"] / "measured.json"), "--seconds", "3",
        "--accuracy", str(found["accuracy"]),
    )  # fmt: skip
    variants = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {
        (v["variant"], at["link"]): at["seconds_per_iteration"]
        for v in variants
        for at in v["links"]
    }


def times_table(found: dict) -> list[str]:
    """Write seconds to the accuracy, one column per link, and the break-even rates."""
    links = list(dict.fromkeys(e["link"] for v in found["variants"] for e in v["links"]))
    lines = [
        f"Seconds to P ≤ {q.power(found['accuracy'])}; in brackets: times faster than gt. "
        "≈: projected from the first iterations. The last columns: faster than gt where links are "
        "slower than this.",
        "",
        "| variant | sent per agent | "
        + " | ".join(links)
        + " | break-even, measured | by the model |",
        "|---" * (len(links) + 4) + "|",
    ]
    base = {e["link"]: at(e, found["accuracy"]) for e in found["variants"][0]["links"]}
    for v in found["variants"]:
        cells = []
        for link in links:
            e = next((e for e in v["links"] if e["link"] == link), None)
            t = at(e, found["accuracy"]) if e else None
            if t is None:
                cells.append("not reached")
                continue
            other = base.get(link)
            ratio = (
                f" ({other['seconds'] / t['seconds']:.1f})"
                if other and v["variant"] != "gt"
                else ""
            )
            cells.append(f"{'≈' if t['projected'] else ''}{q.seconds(t['seconds'])}{ratio}")
        sent = next(
            (x["bytes_per_agent"] for e in v["links"] if (x := at(e, found["accuracy"]))), None
        )
        even = v.get("break_even") or {}
        lines.append(
            f"| {v['variant']} | {q.nbytes(sent)} | {' | '.join(cells)} | "
            f"{q.rate(even.get('measured'))} | {q.rate(even.get('model'))} |"
        )
    return lines


def at(entry: dict, accuracy: float) -> dict | None:
    """Return what a link's entry says of one accuracy."""
    return next((t for t in entry["accuracies"] if t and t["accuracy"] == accuracy), None)


def iteration_table(found: dict, link: str) -> list[str]:
    """Write the parts of an iteration on one link."""
    lines = [
        f"One iteration on {link}, ms (median of the rounds, least and most):",
        "",
        "| variant | in all | gradient | compression | waiting | rest | records | sent | at interface |",
        "|---" * 9 + "|",
    ]
    for v in found["variants"]:
        for e in v["links"]:
            if e["link"] == link:
                s, a = e["seconds_per_iteration"], e["accounting"]
                parts = [
                    f"{1e3 * s[k]:.3g}"
                    for k in ("gradient", "compression", "waiting", "rest", "diagnostics")
                ]
                whole = f"{1e3 * s['total']:.3g} ({1e3 * s['least']:.3g}, {1e3 * s['most']:.3g})"
                sent = q.nbytes(e["bytes_on_wire"] / len(e["hosts"]))
                lines.append(
                    f"| {v['variant']} | {whole} | {' | '.join(parts)} | {sent} | "
                    f"+{q.share(a['overhead'])} |"
                )
    return lines


def accounting_table(all_found: list[dict]) -> list[str]:
    """Write the books of every message size and link."""
    lines = [
        "| message | link | counted | at the interfaces | on top | explained to within | limit | packet | "
        "on Ethernet, on top |",
        "|---" * 9 + "|",
    ]
    rows = []
    for found in all_found:
        for v in found["variants"]:
            for e in v["links"]:
                a = e["accounting"]
                if "error" in a:
                    rows.append((a["message"], e["link"], a))
    for message, link, a in sorted(rows, key=lambda r: (r[0], r[1])):
        if link not in ("100mbit", "unlimited"):
            continue
        limit = 3 if message > SMALL else 10
        good = "" if a["balanced"] else " **missed**"
        lines.append(
            f"| {q.nbytes(message)} | {link} | {q.nbytes(a['counted'])} | {q.nbytes(a['seen'])} | "
            f"{q.share(a['overhead'])} | {100 * a['error']:+.2f} %{good} | {limit} % | "
            f"{a['seen'] / a['packets']:.0f} B | {q.share(a['ethernet'])} |"
        )
    worst = max((abs(a["error"]) for _, _, a in rows), default=0.0)
    count = f"{sum(a['balanced'] for _, _, a in rows)} of {len(rows)}"
    said = f"On all links {count} are within their limit; the largest error is {100 * worst:.2f} %."
    return [*lines, "", said]


def exchange_table(all_found: list[dict]) -> list[str]:
    """Write bare exchanges by MPI against raw sockets, and whole iterations against them."""
    lines = [
        "| message | link | raw sockets | by MPI | MPI / raw | waiting / raw | iteration / raw |",
        "|---" * 7 + "|",
    ]
    rows = [
        (e["bare"]["nbytes"], e["rate"] or 1e15, e)
        for found in all_found
        for v in found["variants"]
        for e in v["links"]
        if e["bare"]
    ]
    for nbytes, _, e in sorted(rows, key=lambda r: r[:2]):
        b, s = e["bare"], e["seconds_per_iteration"]
        raw = b["raw_seconds"] * b["exchanges"]
        ratio = b["seconds"] / b["raw_seconds"]
        missed = " **missed**" if nbytes > 65536 and e["rate"] and ratio > RAW else ""
        lines.append(
            f"| {q.nbytes(nbytes)} | {e['link']} | {q.seconds(b['raw_seconds'])} | "
            f"{q.seconds(b['seconds'])} | {ratio:.2f}{missed} | {s['waiting'] / raw:.2f} | "
            f"{s['total'] / raw:.2f} |"
        )
    return lines


def plan_table(found: dict, predicted: dict) -> list[str]:
    """Write predicted against measured seconds of an iteration."""
    lines = ["| variant | link | measured | predicted | error |", "|---" * 5 + "|"]
    errors: dict[str, list[float]] = {}
    for v in found["variants"]:
        for e in v["links"]:
            p = predicted.get((v["variant"], e["link"]))
            if p is None:
                continue
            m = e["seconds_per_iteration"]["total"]
            errors.setdefault(e["link"], []).append(abs(p / m - 1))
            lines.append(
                f"| {v['variant']} | {e['link']} | {1e3 * m:.3g} ms | {1e3 * p:.3g} ms | "
                f"{100 * (p / m - 1):+.0f} % |"
            )
    lines += ["", f"Within {100 * PREDICTED:.0f} %, and the largest error:", ""]
    return lines + [
        f"* {link}: {sum(e <= PREDICTED for e in there)} of {len(there)}, {100 * max(there):.0f} %"
        for link, there in errors.items()
    ]


def headline(found: dict) -> list[str]:
    """Hold the fastest compressed variant against the limits."""
    accuracy = found["accuracy"]
    seconds = {v["variant"]: t for v in found["variants"] if (t := at(v["links"][0], accuracy))}
    packed = {
        k: t for k, t in seconds.items() if k not in (*FASTER, "exact diffusion", "lead bfloat16")
    }
    best = min(packed, key=lambda k: packed[k]["seconds"])
    lines = [
        f"The fastest: {best}, {q.seconds(packed[best]['seconds'])}.",
        "",
        "| against | seconds | times faster | limit set beforehand |",
        "|---|---|---|---|",
    ]
    for name, t in seconds.items():
        if name in packed:
            continue
        ratio = t["seconds"] / packed[best]["seconds"]
        limit = FASTER.get(name)
        verdict = f"{limit:g}: {'reached' if ratio >= limit else '**missed**'}" if limit else "none"
        mark = "≈" if t["projected"] else ""
        lines.append(f"| {name} | {mark}{q.seconds(t['seconds'])} | {ratio:.1f} | {verdict} |")
    return lines


def loss_table(found: dict) -> list[str]:
    """Write what an iteration costs on one host, against the uncompressed one of the same method."""
    times = {
        v["variant"]: v["links"][0]["seconds_per_iteration"]["total"] for v in found["variants"]
    }
    lines = ["| variant | an iteration | of uncompressed | limit 1.1 |", "|---|---|---|---|"]
    for name, t in times.items():
        base = "gt" if name.startswith(("gt", "cgt1")) else "exact diffusion"
        ratio = t / times[base]
        verdict = "" if name == base else "reached" if ratio <= LOSS else "**missed**"
        lines.append(f"| {name} | {1e3 * t:.3g} ms | {ratio:.2f} of {base} | {verdict} |")
    return lines


def machine_line(found: dict) -> str:
    """Describe the machine."""
    m = found["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, {m['system']}; Python {m['python']}, numpy {m['numpy']}, "
        f"numba {m['numba']}; load {m['load']:.1f} when the last table was made (a quiet machine has "
        "about 4, the ranks' own)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        found = measure("hosts_logistic", "10mbit,unlimited", 1, 0.5, options.reuse, "quick")
        print("\n".join([*times_table(found), "", *accounting_table([found])]))
        return
    whole = measure(*HEADLINE, options.reuse, "headline")
    alone = measure(*ONE_HOST, options.reuse, "one-host")
    all_found = {suite: measure(suite, *job, options.reuse) for suite, job in JOBS.items()}
    predicted = {suite: plan(suite, JOBS[suite][0], found) for suite, found in all_found.items()}
    sections = [machine_line(all_found["hosts_pl"]), ""]
    sections += ["### Seconds to P ≤ 1e-6 on 100 Mbit/s, d = 100,000", "", *headline(whole), ""]
    for suite, found in all_found.items():
        picture = ROOT / "docs" / "images" / f"measured-{suite.removeprefix('hosts_')}.png"
        shutil.copyfile(found["out"] / "measured.png", picture)
        sections += [f"### {found['title']}", "", f"`launch/experiments/{suite}.toml`", ""]
        sections += [
            f"![Seconds against link rate](images/{picture.name})",
            "",
            *times_table(found),
            "",
        ]
        sections += [*iteration_table(found, "100mbit"), ""]
    sections += ["### One host, memory shared, d = 100,000", "", *loss_table(alone), ""]
    sections += ["### Byte accounting", "", *accounting_table(list(all_found.values())), ""]
    sections += [
        "### Exchange against raw sockets",
        "",
        *exchange_table(list(all_found.values())),
        "",
    ]
    sections += ["### Plans against measurement", ""]
    for suite, found in all_found.items():
        sections += [f"{found['title']}. {network_sentence(found['network'])}", ""]
        sections += [*plan_table(found, predicted[suite]), ""]
    page = ROOT / "docs" / "measured.md"
    head, mark, _ = page.read_text().partition(MARK)
    page.write_text(head + mark + "\n" + "\n".join(sections).rstrip() + "\n")
    print("\n".join(sections))


if __name__ == "__main__":
    main()
