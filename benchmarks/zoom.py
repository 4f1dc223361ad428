"""Run the suites of docs/zooming.md and write its tables.

    python benchmarks/zoom.py                run all suites in one process each, then write the page
    python benchmarks/zoom.py --reuse        keep the finished runs of an earlier call
    python benchmarks/zoom.py --only SUITE   run this one; the others' sections stay as the page has them
    python benchmarks/zoom.py --quick        only prove that it runs: one suite, to 1e-4

Bytes are the lengths of what was handed to the transport. Seeds are the suites' own; the parameters were
tuned on others (benchmarks/tune.py).
"""

import sys
from math import log2
from statistics import median

from results import compare, percent, variant_columns, variant_row
from shared import ROOT, machine_line, markdown, options, write_section

from distopt.studies.results import Column

LIMITED = ("zoom_pl", "zoom_logistic", "zoom_breast_cancer")  # suites that limits were set for
SUITES = (*LIMITED, "zoom_digits", "zoom_lista", "zoom_ffnn", "zoom_batch")
UNCOMPRESSED = ("exact diffusion", "exact diffusion momentum")
# To 1e-10: share of gt's bytes, share of exact diffusion's, times its iterations (gt's for cgt3).
LIMITS = {
    "zed": (0.0040, 0.03, 1.45),
    "zed1": (0.0045, 0.035, None),
    "cgt3 zoom": (0.023, None, 1.3),
}
MARK = "<!-- written by benchmarks/zoom.py -->\n"


def rate(variant, accuracies):
    """Return bits a coordinate from the last accuracy but one to the last: spent, least, their ratio.

    P is quadratic in the error, so an error that falls with P needs at least log2(P1 / P2) / 2 bits.
    """
    if len(accuracies) < 2:
        return {}
    least = log2(accuracies[-2] / accuracies[-1]) / 2
    found = []
    for run in variant["runs"]:
        if len(run["reached"]) < len(accuracies) or None in run["reached"][-2:]:
            continue
        before, after = run["reached"][-2:]
        spent = 8 * (after["bytes_per_agent"] - before["bytes_per_agent"]) / variant["dimension"]
        found.append((spent, after["iterations"] - before["iterations"]))
    if not found:
        return {}
    spent, k = (median(values) for values in zip(*found, strict=True))
    return {"spent": spent / k, "least": least / k, "ratio": spent / least}


def table(comparison):
    """Write one comparison."""
    columns = [
        *variant_columns(comparison),
        Column("stationarity", "P at the end", write="{:.2g}".format),
        Column("spent", "bits, of the limit"),
        Column("least", "", write="{:.2g}".format, join=" / "),
        Column("ratio", "", join=" = "),
    ]
    accuracies = comparison["accuracies"]
    rows = [variant_row(v) | rate(v, accuracies) for v in comparison["variants"]]
    return markdown(columns, rows)


def failures(comparison):
    """List what made runs fail."""
    return [
        f"* {variant['variant']}: {failure}"
        for variant in comparison["variants"]
        for failure in variant["failures"]
    ]


def verdicts(comparison):
    """Hold a comparison against the limits, at 1e-10."""
    place = [f"{a:g}" for a in comparison["accuracies"]].index("1e-10")
    at = {v["variant"]: v["accuracies"][place] for v in comparison["variants"]}
    best = min(at[name]["iterations"] for name in UNCOMPRESSED)
    lines = []
    for label, (of_gt, of_best, slower) in LIMITS.items():
        if label not in at:
            continue
        found, base = at[label], at["gt"]["iterations"] if label == "cgt3 zoom" else best
        told = [(found["to_baseline"], of_gt), (found["to_uncompressed"], of_best)]
        words = [f"{percent(v)} (limit {percent(m)})" for v, m in told if m]
        good = all(v <= m for v, m in told if m) and found["reached"] == found["runs"]
        if slower:
            ratio = found["iterations"] / base
            words.append(f"{ratio:.2f} times the iterations (limit {slower:g})")
            good = good and ratio <= slower
        lines.append(
            f"* {label}: {', '.join(words)}, {found['reached']} of {found['runs']} converged: "
            f"{'reached' if good else '**missed**'}."
        )
    return lines


def section(suite, reuse, settings):
    """Run a suite and write its section of the page."""
    comparison = compare(suite, reuse, settings)
    lines = [f"### {comparison['title'].removeprefix('Zooming scales: ')}", ""]
    lines += [f"`launch/experiments/{suite}.toml`", "", table(comparison), ""]
    if failed := failures(comparison):
        lines += ["Runs that failed:", "", *failed, ""]
    if suite in LIMITED and not settings:
        lines += ["Limits that were set beforehand, at 1e-10:", "", *verdicts(comparison), ""]
    return "\n".join(lines)


def kept(text, suite):
    """Return a suite's section as the page has it."""
    for part in text.split("### ")[1:]:
        if f"`launch/experiments/{suite}.toml`" in part:
            return f"### {part.rstrip()}\n"
    sys.exit(f"docs/zooming.md has no section of {suite}; run all suites, without --only.")


def main():
    given = options(__doc__, "reuse", only={"choices": SUITES, "metavar": "SUITE"})
    if given.quick:
        print(section(SUITES[0], given.reuse, ["run.stop.stationarity=1e-4"]))
        return
    old = (ROOT / "docs" / "zooming.md").read_text().partition(MARK)[-1]
    sections = []
    for suite in SUITES:
        new = given.only in (None, suite)
        sections.append(section(suite, given.reuse, []) if new else kept(old, suite))
    print("\n".join(sections))
    print(machine_line())
    write_section("zooming.md", "benchmarks/zoom.py", "\n".join(sections))


if __name__ == "__main__":
    main()
