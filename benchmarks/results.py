"""Run the shipped suites and write their tables: docs/results.md is this script's output.

    python benchmarks/results.py                 run all suites in one process, then write the page
    python benchmarks/results.py --reuse         keep the finished runs of an earlier call
    python benchmarks/results.py --quick         only prove that it runs: one suite, one seed, to 1e-4

Every figure in a table is the length of what was handed to the transport; nothing is computed from a
formula. Seeds are the suites' own; the parameters were tuned on others (benchmarks/tune.py).
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
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


def compare(suite: str, reuse: bool, settings: list[str]) -> dict:
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
    command.append(str(ROOT / "launch" / "experiments" / f"{suite}.toml"))
    subprocess.run(command, check=True)
    return json.loads((out / "comparison.json").read_text())


def table(comparison: dict) -> list[str]:
    """Write one comparison as a Markdown table."""
    accuracies = comparison["accuracies"]
    lines = [
        "| variant | converged | "
        + " | ".join(
            f"to {a:g}: iterations, bytes, of gt, of best uncompressed" for a in accuracies
        )
        + " | bits a coordinate | ball violations |",
        "|---" * (len(accuracies) + 4) + "|",
    ]
    for variant in comparison["variants"]:
        cells = [variant["variant"], variant["converged"] or variant["status"]]
        cells += [cell(at) for at in variant["accuracies"]]
        bits = variant["bits_per_coordinate"]
        cells += [f"{bits:.3g}" if bits else "-", str(variant["ball_violations"])]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def cell(at: dict) -> str:
    """Write what one accuracy took: iterations, bytes, share of gt, of the best uncompressed."""
    if not at["reached"]:
        return "not reached"
    some = "" if at["reached"] == at["runs"] else f" ({at['reached']} of {at['runs']})"
    return (
        f"{at['iterations']:.0f}, {at['bytes_per_agent']:.0f} B, {percent(at['to_baseline'])}, "
        f"{percent(at['to_uncompressed'])}{some}"
    )


def percent(share: float | None) -> str:
    """Write a share as a percentage."""
    return "-" if share is None else f"{100 * share:.3g} %"


def check_limits(comparison: dict) -> list[str]:
    """Hold the PL suite against the limits."""
    lines = [
        "| variant | limit, share of gt | measured | every seed converged |",
        "|---|---|---|---|",
    ]
    found = {v["variant"]: v for v in comparison["variants"]}
    for label, limit in LIMITS.items():
        if label not in found:
            lines.append(f"| {label} | {percent(limit)} | not in the suite | |")
            continue
        at = found[label]["accuracies"][-1]
        every = "yes" if at["reached"] == at["runs"] else f"{at['reached']} of {at['runs']}"
        lines.append(f"| {label} | {percent(limit)} | {percent(at['to_baseline'])} | {every} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    settings = ["run.stop.stationarity=1e-4"] if options.quick else []
    sections = []
    for suite in SUITES[:1] if options.quick else SUITES:
        comparison = compare(suite, options.reuse, settings)
        sections += [f"### {comparison['title']}", "", f"`launch/experiments/{suite}.toml`", ""]
        sections += [*table(comparison), ""]
        if suite == "pl":
            sections += ["Against the limits that were set beforehand, to 1e-10:", ""]
            sections += [*check_limits(comparison), ""]
    print("\n".join(sections))
    print(f"Python {platform.python_version()}, {platform.machine()}.")
    if options.quick:
        return
    page = ROOT / "docs" / "results.md"
    head, mark, _ = page.read_text().partition("<!-- written by benchmarks/results.py -->\n")
    page.write_text(head + mark + "\n" + "\n".join(sections))


if __name__ == "__main__":
    main()
