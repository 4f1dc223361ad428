"""Run the shipped suites and write their tables: docs/results.md is this script's output.

    python benchmarks/results.py                 run all suites in one process, then write the page
    python benchmarks/results.py --reuse         keep the finished runs of an earlier call
    python benchmarks/results.py --quick         only prove that it runs: one suite, one seed, to 1e-4

Every figure in a table is the length of what was handed to the transport; nothing is computed from a
formula. Seeds are the suites' own; the parameters were tuned on others (benchmarks/tune.py).
"""

import json
import subprocess
import sys

from shared import EXPERIMENTS, ROOT, machine_line, markdown, options, write_section

from distopt.studies.results import Column, write_count

SUITES = ("pl", "logistic", "logistic_bc", "demo")

# Limits that were set for the PL suite before anything was measured: share of gt's bytes to 1e-10.
LIMITS = {
    "cgt1 2 bits dithered": 0.105,
    "cgt1 norm_sign": 0.125,
    "cgt2 uniform": 0.095,
    "cgt3 2 bits": 0.075,
    "cgt1 bfloat16": 0.25,
    "lead norm_sign": 0.05,
}


def compare(suite, reuse, settings):
    """Run one suite by the command line, all agents in one process; return its comparison.json."""
    out = ROOT / "runs" / f"results-{suite}"
    command = [
        sys.executable,
        "-m",
        "distopt",
        "compare",
        "--simulate",
        "--quiet",
        "--out",
        str(out),
    ]
    command += ["--reuse"] if reuse else ["--overwrite"]
    command += [part for s in settings for part in ("--set", s)]
    subprocess.run([*command, str(EXPERIMENTS / f"{suite}.toml")], check=True)
    return json.loads((out / "comparison.json").read_text())


def variant_columns(comparison):
    """Make the columns of variants and of what they needed to each accuracy."""
    columns = [Column("variant", "variant"), Column("converged", "converged")]
    for a in comparison["accuracies"]:
        title, some = f"to {a:g}", {f"some_{a:g}": "{} ({})"}
        columns += [
            Column(f"iterations_{a:g}", "iterations", "", "", write_count, title),
            Column(f"bytes_{a:g}", "bytes", "B", "", lambda n: f"{n:.0f} B", title, join=", "),
            Column(f"of_gt_{a:g}", "of gt", "%", "", percent, title, ", "),
            Column(f"of_best_{a:g}", "of best uncompressed", "%", "", percent, title, ", ", some),
        ]
    return columns


def variant_row(variant):
    """Take the values of a variant by the keys of `variant_columns`."""
    row = variant | {"converged": variant["converged"] or variant["status"]}
    for at in variant["accuracies"]:
        a = f"{at['accuracy']:g}"
        row |= {
            f"iterations_{a}": at["iterations"],
            f"bytes_{a}": at["bytes_per_agent"],
            f"of_gt_{a}": at["to_baseline"],
            f"of_best_{a}": at["to_uncompressed"],
            f"some_{a}": f"{at['reached']} of {at['runs']}" * (at["reached"] < at["runs"]),
        }
    return row


def percent(share):
    """Write a share as a percentage."""
    return f"{100 * share:.3g} %"


def table(comparison):
    """Write one comparison."""
    columns = [
        *variant_columns(comparison),
        Column("bits_per_coordinate", "bits a coordinate"),
        Column("ball_violations", "ball violations"),
    ]
    return markdown(columns, map(variant_row, comparison["variants"]))


def limits_table(comparison):
    """Hold the PL suite against the limits."""
    columns = [
        Column("variant", "variant"),
        Column("limit", "limit, share of gt", write=percent),
        Column("share", "measured", write=percent),
        Column("every", "every seed converged"),
    ]
    found = {v["variant"]: v["accuracies"][-1] for v in comparison["variants"]}
    rows = [
        {
            "variant": label,
            "limit": limit,
            "share": found[label]["to_baseline"],
            "every": "yes"
            if found[label]["reached"] == found[label]["runs"]
            else f"{found[label]['reached']} of {found[label]['runs']}",
        }
        for label, limit in LIMITS.items()
    ]
    return markdown(columns, rows)


def main():
    given = options(__doc__, "reuse")
    settings = ["run.stop.stationarity=1e-4"] if given.quick else []
    sections = []
    for suite in SUITES[:1] if given.quick else SUITES:
        comparison = compare(suite, given.reuse, settings)
        sections += [f"### {comparison['title']}", "", f"`launch/experiments/{suite}.toml`", ""]
        sections += [table(comparison), ""]
        if suite == "pl":
            sections += ["Against the limits that were set beforehand, to 1e-10:", ""]
            sections += [limits_table(comparison), ""]
    print("\n".join(sections))
    print(machine_line())
    if not given.quick:
        write_section("results.md", "benchmarks/results.py", "\n".join(sections))


if __name__ == "__main__":
    main()
