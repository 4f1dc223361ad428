"""Measure three problems on a test bed of four hosts and write docs/measured.md's tables and figures.

    python benchmarks/measured.py              everything, then the page (needs root or user namespaces)
    python benchmarks/measured.py --reuse      keep what an earlier call has finished
    python benchmarks/measured.py --quick      only prove that it runs: one problem, two rates, no page
    python benchmarks/measured.py --headline   only the first table: to the end on 100 Mbit/s

Runs `distopt measure` on each suite, `distopt plan` for the same links, and writes what they print. The
machine should be quiet: four ranks share its cores, and times are wall times.
"""

import json
import shutil
import subprocess
import sys
from time import perf_counter

from shared import ROOT, markdown, options, write_section

from distopt.core import units as q
from distopt.studies.measure.break_even import network_sentence
from distopt.studies.measure.model import ExchangeModel
from distopt.studies.measure.overhead import SMALL
from distopt.studies.results import Column

# Suite, rates, rounds, seconds of iterations that a timed run may take.
JOBS = {
    "hosts_pl": ("10mbit,25mbit,100mbit,1gbit,unlimited", 2, 2.0),
    "hosts_logistic": ("1mbit,100mbit,unlimited", 2, 1.0),
    "hosts_lista": ("25mbit,100mbit,unlimited", 2, 1.0),
}
ONE_HOST = ("hosts_pl", "", 3, 1.0)  # no bed: ranks share memory
HEADLINE = ("hosts_pl", "100mbit", 1, 120.0)  # to the end, nothing projected
FASTER = {"gt": 10.0, "cgt1 bfloat16": 3.0}  # times, set beforehand
RECORDED = {"gt": 30.0, "lead bfloat16": 3.0}  # the same with records
UNPACKED = ("gt", "exact diffusion", "cgt1 bfloat16", "lead bfloat16")
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


def times_table(found):
    """Write seconds to the accuracy, one column per link, and the break-even rates."""
    links = list(dict.fromkeys(e["link"] for v in found["variants"] for e in v["links"]))
    columns = [Column("variant", "variant"), Column("sent", "sent per agent", "B")]
    for link in links:
        marks = {f"≈{link}": "≈{}", f"faster {link}": "{} ({:.1f})"}
        columns.append(Column(link, link, "s", marks=marks))
        marks = {f"≈{link}": "≈{}", f"recorded faster {link}": "{} ({:.1f})"}
        columns.append(Column(f"recorded {link}", "with records", "s", marks=marks))
    columns.append(Column("bytes_recorded", "sent, with records", "B"))
    columns += [
        Column("measured", "break-even, measured", "bit/s"), Column("model", "by the model", "bit/s"),
    ]  # fmt: skip
    base = {e["link"]: at(e, found["accuracy"]) for e in found["variants"][0]["links"]}
    rows = []
    for v in found["variants"]:
        row = {"variant": v["variant"]} | v.get("break_even", {})
        for e in v["links"]:
            if t := at(e, found["accuracy"]):
                link, other = e["link"], base.get(e["link"])
                row |= {
                    link: t["seconds"],
                    f"≈{link}": t["projected"],
                    "sent": t["bytes_per_agent"],
                    f"recorded {link}": t.get("seconds_recorded"),
                    "bytes_recorded": t.get("bytes_recorded", 0.0) / v["agents"] or None,
                }
                if other and v["variant"] != "gt":
                    row |= {
                        f"{key}faster {link}": other[f"seconds{of}"] / t[f"seconds{of}"]
                        for key, of in (("", ""), ("recorded ", "_recorded"))
                        if f"seconds{of}" in t and f"seconds{of}" in other
                    }
        rows.append(row)
    return [
        f"Seconds to P ≤ {q.power(found['accuracy'])}, and beside them with records as they are by "
        "default; in brackets: times faster than gt. ≈: projected from the first iterations. Bytes with "
        "records are every copy. The last columns: faster than gt where links are slower than this.",
        "",
        markdown(columns, rows),
    ]


def at(entry: dict, accuracy: float) -> dict | None:
    """Return what a link's entry says of one accuracy."""
    return next((t for t in entry["accuracies"] if t and t["accuracy"] == accuracy), None)


def iteration_table(found, link):
    """Write the parts of an iteration on one link."""
    columns = [
        Column("variant", "variant"),
        Column("total", "in all", write=write_ms),
        Column("least", "", write=lambda s: f"({write_ms(s)}", join=" "),
        Column("most", "", write=lambda s: f"{write_ms(s)})", join=", "),
        *(
            Column(key, key, write=write_ms)
            for key in ("gradient", "compression", "waiting", "rest")
        ),
        Column("diagnostics", "records", write=write_ms),
        Column("sent", "sent", "B"),
        Column("overhead", "at interface", "%", "", lambda share: f"+{q.share(share)}"),
    ]
    rows = [
        e["seconds_per_iteration"] | {
            "variant": v["variant"],
            "sent": e["bytes_on_wire"] / len(e["hosts"]),
            "overhead": e["accounting"]["overhead"],
        }
        for v in found["variants"]
        for e in v["links"]
        if e["link"] == link
    ]  # fmt: skip
    title = f"One iteration on {link}, ms (median of the rounds, least and most):"
    return [title, "", markdown(columns, rows)]


def write_ms(span):
    """Write seconds as milliseconds without their unit."""
    return f"{1e3 * span:.3g}"


def accounting_table(all_found):
    """Write the books of every message size and link."""
    known = [
        e["accounting"] | {"link": e["link"]}
        for found in all_found
        for v in found["variants"]
        for e in v["links"]
        if "error" in e["accounting"]
    ]
    columns = [
        Column("message", "message", "B"),
        Column("link", "link"),
        Column("counted", "counted", "B"),
        Column("seen", "at the interfaces", "B"),
        Column("overhead", "on top", "%"),
        Column("error", "explained to within", "%", "", lambda e: f"{100 * e:+.2f} %",
               marks={"missed": "{} **missed**"}),
        Column("limit", "limit", write="{} %".format),
        Column("packet", "packet", write="{:.0f} B".format),
        Column("ethernet", "on Ethernet, on top", "%"),
    ]  # fmt: skip
    rows = [
        a | {
            "missed": not a["balanced"], "limit": 3 if a["message"] > SMALL else 10,
            "packet": a["seen"] / a["packets"],
        }
        for a in sorted(known, key=lambda a: (a["message"], a["link"]))
        if a["link"] in ("100mbit", "unlimited")
    ]  # fmt: skip
    worst = max((abs(a["error"]) for a in known), default=0.0)
    count = f"{sum(a['balanced'] for a in known)} of {len(known)}"
    note = f"On all links {count} are within their limit; the largest error is {100 * worst:.2f} %."
    return markdown(columns, rows, [note])


def exchange_table(all_found):
    """Write bare exchanges by MPI against raw sockets, and whole iterations against them."""
    entries = [e for found in all_found for v in found["variants"] for e in v["links"] if e["bare"]]
    rows = []
    for e in sorted(entries, key=lambda e: (e["bare"]["nbytes"], e["rate"] or 1e15)):
        b, s = e["bare"], e["seconds_per_iteration"]
        raw, ratio = b["raw_seconds"] * b["exchanges"], b["seconds"] / b["raw_seconds"]
        rows.append(
            b | {"link": e["link"], "ratio": ratio, "waiting": s["waiting"] / raw,
                 "iteration": s["total"] / raw,
                 "missed": bool(b["nbytes"] > 65536 and e["rate"] and ratio > RAW)}
        )  # fmt: skip
    two = "{:.2f}".format
    columns = [
        Column("nbytes", "message", "B"),
        Column("link", "link"),
        Column("raw_seconds", "raw sockets", "s"),
        Column("seconds", "by MPI", "s"),
        Column("ratio", "MPI / raw", write=two, marks={"missed": "{} **missed**"}),
        Column("waiting", "waiting / raw", write=two),
        Column("iteration", "iteration / raw", write=two),
    ]
    return markdown(columns, rows)


def plan_table(found, predicted):
    """Write predicted against measured seconds of an iteration."""
    rows, errors = [], {}
    for v in found["variants"]:
        for e in v["links"]:
            p = predicted.get((v["variant"], e["link"]))
            if p is None:
                continue
            m = e["seconds_per_iteration"]["total"]
            errors.setdefault(e["link"], []).append(abs(p / m - 1))
            values = {"measured": m, "predicted": p, "error": p / m - 1}
            rows.append({"variant": v["variant"], "link": e["link"]} | values)
    columns = [
        Column("variant", "variant"),
        Column("link", "link"),
        Column("measured", "measured", write=lambda s: f"{write_ms(s)} ms"),
        Column("predicted", "predicted", write=lambda s: f"{write_ms(s)} ms"),
        Column("error", "error", write=lambda e: f"{100 * e:+.0f} %"),
    ]
    notes = [
        f"* {link}: {sum(e <= PREDICTED for e in there)} of {len(there)}, {100 * max(there):.0f} %"
        for link, there in errors.items()
    ]
    within = f"Within {100 * PREDICTED:.0f} %, and the largest error:"
    return [markdown(columns, rows, [within]), "", *notes]


def headline(found: dict) -> list[str]:
    """Hold the fastest compressed variant against the limits, without records and with them."""
    accuracy = found["accuracy"]
    there = {v["variant"]: t for v in found["variants"] if (t := at(v["links"][0], accuracy))}
    packed = {k: t for k, t in there.items() if k not in UNPACKED}
    best = min(packed, key=lambda k: packed[k]["seconds"])
    rows = []
    for name, t in there.items():
        if name in packed:
            continue
        row = {"against": name, "projected": t["projected"]}
        for key, limits in (("seconds", FASTER), ("seconds_recorded", RECORDED)):
            ratio, limit = t[key] / packed[best][key], limits.get(name)
            verdict = "reached" if limit and ratio >= limit else "**missed**"
            row |= {key: t[key], f"{key} ratio": ratio}
            row[f"{key} limit"] = f"{limit:g}: {verdict}" if limit else "none"
        rows.append(row)
    columns = [Column("against", "against")]
    for key, header in (("seconds", "seconds"), ("seconds_recorded", "with records")):
        columns += [
            Column(key, header, "s", marks={"projected": "≈{}"}),
            Column(f"{key} ratio", "times faster", write="{:.1f}".format),
            Column(f"{key} limit", "limit set beforehand"),
        ]
    t = packed[best]
    fastest = (
        f"The fastest: {best}, {q.seconds(t['seconds'])}; with records as they are by default "
        f"{q.seconds(t['seconds_recorded'])}, and {q.nbytes(t['bytes_recorded'])} on the wire instead of "
        f"{q.nbytes(t['bytes_on_wire'])}."
    )
    return [fastest, "", markdown(columns, rows)]


def loss_table(found):
    """Write what an iteration costs on one host, against the uncompressed one of the same method."""
    times = {
        v["variant"]: v["links"][0]["seconds_per_iteration"]["total"] for v in found["variants"]
    }
    rows = []
    for name, t in times.items():
        base = "gt" if name.startswith(("gt", "cgt1")) else "exact diffusion"
        ratio = t / times[base]
        verdict = "" if name == base else "reached" if ratio <= LOSS else "**missed**"
        rows.append({"variant": name, "seconds": t, "ratio": ratio, "base": base, "limit": verdict})
    columns = [
        Column("variant", "variant"),
        Column("seconds", "an iteration", write=lambda s: f"{write_ms(s)} ms"),
        Column("ratio", "of uncompressed", write="{:.2f}".format),
        Column("base", "", write="of {}".format, join=" "),
        Column("limit", "limit 1.1"),
    ]
    return markdown(columns, rows)


def machine_of(found):
    """Describe the machine of a measurement."""
    m = found["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, {m['system']}; Python {m['python']}, numpy {m['numpy']}, "
        f"numba {m['numba']}; load {m['load']:.1f} when the last table was made (a quiet machine has "
        "about 4, the ranks' own)."
    )


def main() -> None:
    given = options(__doc__, "reuse", "headline")
    if given.headline:
        print("\n".join(headline(measure(*HEADLINE, given.reuse, "headline"))))
        return
    if given.quick:
        found = measure("hosts_logistic", "10mbit,unlimited", 1, 0.5, given.reuse, "quick")
        print("\n".join([*times_table(found), "", accounting_table([found])]))
        return
    whole = measure(*HEADLINE, given.reuse, "headline")
    alone = measure(*ONE_HOST, given.reuse, "one-host")
    all_found = {suite: measure(suite, *job, given.reuse) for suite, job in JOBS.items()}
    predicted = {suite: plan(suite, JOBS[suite][0], found) for suite, found in all_found.items()}
    sections = [machine_of(all_found["hosts_pl"]), ""]
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
    sections += ["### One host, memory shared, d = 100,000", "", loss_table(alone), ""]
    sections += ["### Byte accounting", "", accounting_table(list(all_found.values())), ""]
    sections += [
        "### Exchange against raw sockets",
        "",
        exchange_table(list(all_found.values())),
        "",
    ]
    sections += ["### Plans against measurement", ""]
    for suite, found in all_found.items():
        sections += [f"{found['title']}. {network_sentence(ExchangeModel(**found['network']))}", ""]
        sections += [*plan_table(found, predicted[suite]), ""]
    text = "\n".join(sections)
    write_section("measured.md", "benchmarks/measured.py", text.rstrip() + "\n")
    print(text)


if __name__ == "__main__":
    main()
