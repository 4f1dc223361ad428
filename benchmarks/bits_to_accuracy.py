"""Bytes to an accuracy: methods x problems x graphs, all tuned alike (docs: bits-to-accuracy).

    python benchmarks/bits_to_accuracy.py                the page docs/bits-to-accuracy.md
    python benchmarks/bits_to_accuracy.py --only TEXT    cases or methods whose name has TEXT; prints only
    python benchmarks/bits_to_accuracy.py --quick        only prove that it runs
    ... --jobs 2    processes;    --fresh    forget what is kept;    --page    write from what is kept

Each method runs with every number "auto", and tuned: from what auto chose on the first tuning seed,
the step is moved by factors of 2 while that saves bytes, then by sqrt(2), six settings in all, and after
it the consensus step, if the method has one, by factors of 1.5, three settings; 1 - mu of dyna_cold
too (and if no step reached the target, six from 0.02 and the steps again). A setting counts by how
many of the tuning seeds reach the target, then by the bytes, a broadcast counted once. Other seeds
are reported.
Finished parts are kept in build/bits_to_accuracy, so the same command continues.
"""

import json
import multiprocessing
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import inf, log2, sqrt
from pathlib import Path
from statistics import median
from typing import NamedTuple

from shared import ROOT, machine_line, markdown, options, write_section

from distopt.config.build import make_config
from distopt.core.errors import DistoptError
from distopt.engine.run import run
from distopt.studies.results import Column

KEPT = ROOT / "build" / "bits_to_accuracy"
TARGET, MOST = 1e-8, 1500
TUNING, SEEDS = (201, 202), (301, 302, 303)
TRIES, FEWER = 6, 3  # settings of the step that are tried, and of the consensus step
LONGER = 1.3  # a setting that needs so many times the best one's iterations is given up

TWO_BITS = {"name": "quantize", "bits": 2, "dithered": True}
BFLOAT16 = {"name": "cast", "dtype": "bfloat16"}
ANQ = {"name": "anq", "entropy": "range", "alone": True}
TOP = {"name": "top_k", "fraction": 0.2}
OURS = ("zed", "zed1", "zest")
FALL, START = "1 - mu", 0.02  # how fast dyna_cold's scale falls, and where no mu is known yet
# Name on the page: [algorithm] without its steps, [compressor], what is tuned after the step.
METHODS = {
    "gt": ({"name": "gt"}, None, ("gamma",)),
    "exact_diffusion": ({"name": "exact_diffusion"}, None, ()),
    "led, 5 local steps": ({"name": "led"}, None, ("gamma",)),
    "k_gt, 5 local steps": ({"name": "k_gt"}, None, ("gamma",)),
    "push_pull": ({"name": "push_pull"}, None, ("gamma",)),
    "lead, bfloat16": ({"name": "lead"}, BFLOAT16, ("gamma",)),
    "lead, 2 bits": ({"name": "lead"}, TWO_BITS, ("gamma",)),
    "cedas, 2 bits": ({"name": "cedas"}, TWO_BITS, ("gamma",)),
    "cgt1, 2 bits": ({"name": "cgt1"}, TWO_BITS, ("gamma",)),
    "beer, top 20 %": ({"name": "beer"}, TOP, ("gamma",)),
    "primal_dual, norm_sign": ({"name": "primal_dual"}, {"name": "norm_sign"}, ("gamma",)),
    "dyna_cold, 2 bits": (
        {"name": "dyna_cold"},
        {"name": "saturating", "bits": 2},
        ("gamma", FALL),
    ),
    "dyna_cold, anq": ({"name": "dyna_cold"}, ANQ, ("gamma", FALL)),
    "zed": ({"name": "zed"}, None, ("c0",)),
    "zed1": ({"name": "zed1"}, None, ("c0",)),
    "zest": ({"name": "zest"}, None, ()),
}
SPLIT = {"name": "logistic", "split": "sorted"}
PROBLEMS = {
    "PL, d = 50": {"name": "pl", "dimension": 50},
    "quadratics of condition 100, d = 50": {
        "name": "quadratic",
        "dimension": 50,
        "condition": 100.0,
    },
    "nonconvex logistic, synthetic": SPLIT | {"dataset": "synthetic", "sorted_fraction": 0.8},
    "nonconvex logistic, breast_cancer": SPLIT | {"dataset": "breast_cancer", "lam": 0.05},
}
GRAPHS = {"ring": 10, "exponential": 16, "star": 10}
CASES = [(problem, graph, n) for graph, n in GRAPHS.items() for problem in PROBLEMS]
CASES.append(("PL, d = 50", "path", 20))

Case = tuple[str, str, int]


class Cost(NamedTuple):
    """What a run took until P <= TARGET, an agent."""

    iterations: float
    gradients: float
    once: float  # bytes, a broadcast counted once
    links: float  # bytes of all copies


def play(case, method, numbers, seed, most=MOST):
    """Return (cost or None if the target was not reached, result or None) of a run."""
    problem, graph, agents = case
    algorithm, compressor, _ = METHODS[method]
    numbers = {"mu" if k == FALL else k: 1 - v if k == FALL else v for k, v in numbers.items()}
    tables = {
        "problem": PROBLEMS[problem] | {"agents": agents, "seed": seed},
        "topology": {"graph": graph},
        "algorithm": algorithm | numbers,
        "run": {
            "iterations": most, "record_every": 1, "series": "light", "seed": seed,
            "stop": {"stationarity": TARGET},
        },
    }  # fmt: skip
    if compressor:
        tables["compressor"] = compressor
    try:
        result = run(make_config(tables, Path()), engine="simulate")
    except DistoptError:  # such as a run that leaves the finite numbers
        return None, None
    s = result.summary
    if s["stop_reason"] != "stop.stationarity":
        return None, result
    wire = s["bytes_on_wire"] / agents
    return Cost(s["iterations"], result.rows[-1]["gradients"], s["bytes_per_agent"], wire), result


class Tuning:
    """The settings tried so far, best first counted by seeds lost, then by bytes."""

    def __init__(self, case, method):
        self.case, self.method, self.tried = case, method, 0
        self.best, self.numbers, self.most = (len(TUNING), inf), {}, MOST

    def better(self, numbers):
        """Try a setting; whether it is the best so far."""
        self.tried += 1
        found = []
        for seed in TUNING:
            cost, _ = play(self.case, self.method, numbers, seed, self.most)
            if cost is None and self.best[0] == 0:
                return False  # the best one reaches the target on all seeds
            found += [cost] if cost else []
        score = len(TUNING) - len(found), median(c.once for c in found) if found else inf
        if score >= self.best:
            return False
        self.best, self.numbers = score, numbers
        if score[0] == 0:
            self.most = min(MOST, int(LONGER * max(c.iterations for c in found)) + 20)
        return True

    def climb(self, key, start, tries, factor, largest=inf):
        """Move one number by a factor while that helps, the other way too, then by its root."""
        last, fixed, known = self.tried + tries, self.numbers, {start} if self.numbers else set()

        def go(by):
            value = float(f"{min(self.numbers.get(key, start) * by, largest):.4g}")
            if self.tried >= last or value in known:
                return False
            known.add(value)
            return self.better(fixed | {key: value})

        go(1.0)
        way = factor if go(factor) else 1 / factor
        while go(way):
            pass
        if not self.numbers:  # nothing reached the target yet: smaller ones
            for power in range(2, tries):
                go(factor**-power)
        for by in (sqrt(factor), 1 / sqrt(factor)):
            go(by)


def chosen(case, method):
    """Return the step that "auto" came to on the first tuning seed, and all parameters."""
    _, result = play(case, method, {}, TUNING[0])
    if result is None:
        return None, {}
    parameters, search = result.summary["parameters"], result.summary["step"]
    return search["last"] if search else parameters["eta"], parameters


def measure(case, method, quick=False):
    """Return the forms of a method on a case: their numbers, costs by seed, settings tried."""
    seeds = SEEDS[:1] if quick else SEEDS
    forms, first = [("auto", {}, 0)], []
    eta, parameters = chosen(case, method) if not quick else (None, {})
    if eta:
        tuning = Tuning(case, method)
        tuning.climb("eta", eta, TRIES, 2.0)
        if FALL in METHODS[method][2] and not tuning.numbers:  # the rule for mu was too slow
            tuning.climb(FALL, START, TRIES, 2.0)
            tuning.climb("eta", eta, TRIES, 2.0)
        for key in METHODS[method][2]:
            if key == FALL:  # from what the rule of "auto" says with the numbers found so far
                _, result = play(case, method, tuning.numbers, TUNING[0])
                parameters = {FALL: 1 - result.summary["parameters"]["mu"]} if result else {}
            if isinstance(parameters.get(key), float) and tuning.numbers:
                tuning.climb(key, parameters[key], FEWER, 1.5, 1.0)
        if tuning.numbers:
            forms.append(("tuned", tuning.numbers, tuning.tried))
    found = []
    for name, numbers, tried in forms:
        costs = []
        for seed in seeds:
            cost, result = play(case, method, numbers, seed, 20 if quick else MOST)
            costs.append(cost)
            if name == "auto" and result:
                first.append(result.rows[0]["stationarity"])
        found.append({"form": name, "numbers": numbers, "tried": tried, "costs": costs})
    d = result.summary["dimension"] if result else 0
    return {"case": case, "method": method, "forms": found, "first": first, "dimension": d}


def kept(case, method):
    """Name the file of a part."""
    words = f"{'-'.join(map(str, case))}-{method}".replace("%", "")
    return KEPT / ("".join(c if c.isalnum() else "_" for c in words) + ".json")


def work(case, method):
    """Measure a part and keep it."""
    warnings.simplefilter("ignore")  # steps that are too large overflow
    path = kept(case, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measure(case, method)))
    return path.stem


def read(case):
    """Return the finished parts of a case."""
    paths = [kept(case, method) for method in METHODS]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def cell(values, unit="{:.0f}"):
    """Write a median with the least and the most."""
    low, high = min(values), max(values)
    middle = unit.format(median(values))
    return middle if low == high else f"{middle} ({unit.format(low)} to {unit.format(high)})"


def reference(parts):
    """Return what the shrinking of the error takes, d / 2 log2(P at the start / TARGET) bits, as bytes."""
    known = [part for part in parts if part["first"]]
    if not known:
        return None
    shrinks = median(log2(P / TARGET) for P in known[0]["first"])
    return known[0]["dimension"] / 2 * shrinks / 8


def rows_of(parts, least):
    """Make the table of a case."""
    rows = []
    for part in parts:
        for form in part["forms"]:
            costs = [Cost(*cost) for cost in form["costs"] if cost]
            numbers = ", ".join(f"{key} {value:.3g}" for key, value in form["numbers"].items())
            row = {
                "method": part["method"], "form": f"tuned: {numbers}" if numbers else "auto",
                "reached": f"{len(costs)} of {len(form['costs'])}",
            }  # fmt: skip
            if costs:
                for key in Cost._fields:
                    row[key] = cell([getattr(cost, key) for cost in costs])
                row["times"] = f"{median(c.once for c in costs) / least:.3g}" if least else None
            rows.append(row)
    return rows


COLUMNS = [
    Column("method", "method"), Column("form", "numbers"), Column("reached", "seeds reached"),
    Column("iterations", "iterations"), Column("gradients", "gradients"),
    Column("once", "bytes once"), Column("links", "bytes on links"),
    Column("times", "of the reference"),
]  # fmt: skip
MEANING = {
    "once": "bytes once", "links": "bytes on links", "iterations": "iterations",
    "gradients": "gradients",
}  # fmt: skip


def needs_of(parts, key):
    """Return what each method needs, by its better form; only forms that reach the target on all seeds."""
    needs = {}
    for part in parts:
        for form in part["forms"]:
            if all(form["costs"]):
                value = median(getattr(Cost(*cost), key) for cost in form["costs"])
                needs[part["method"]] = min(value, needs.get(part["method"], inf))
    return needs


def verdict(parts):
    """Say in a sentence for each cost who needs least, and what ours need beside the best other method.

    Only forms count that reach the target on all seeds; a method counts by its better form.
    """
    lines = []
    for key, meaning in MEANING.items():
        needs = needs_of(parts, key)
        if not needs:
            return "* No method reached the target on all seeds."
        winner = min(needs, key=needs.__getitem__)
        line = f"Fewest {meaning}: **{winner}** ({needs[winner]:.0f})"
        others = {name: value for name, value in needs.items() if name not in OURS}
        ours = {name: value for name, value in needs.items() if name in OURS}
        if others and ours:
            rival = min(others, key=others.__getitem__)
            ratios = ", ".join(
                f"{name} {times(value / others[rival])}" for name, value in ours.items()
            )
            line += f". Of those of {rival} ({others[rival]:.0f}), the best of the others: {ratios}"
        lines.append(f"{line}.")
    lost = [p["method"] for p in parts if p["method"] not in needs]
    if lost:
        lines.append(f"Not on all seeds, in either form: {'; '.join(lost)}.")
    return "\n".join(f"* {line}" for line in lines)


def times(ratio):
    """Write a ratio; one above 1 is a loss, and says so."""
    return f"{ratio:.2g}" + (" (more)" if ratio > 1 else "")


SHORT = ("once", "links", "gradients")  # costs of the table of all cases


def summary(found):
    """Write a row for each case: the best of the others, zed and zest; then where ours lose."""
    rows, lost = [], {OURS: [], ("zed",): []}
    for case, parts in found:
        row = {"case": f"{case[0]}; {case[1]} of {case[2]}"}
        for key in SHORT:
            needs = needs_of(parts, key)
            others = {method: value for method, value in needs.items() if method not in OURS}
            rival = min(others, key=others.__getitem__, default=None)
            row[key] = "; ".join(
                f"{method} {bold(needs[method], min(needs.values()))}"
                if method in needs
                else f"{method} -"
                for method in [*[rival] * bool(rival), "zed", "zest"]
            )
            for ours, cells in lost.items():
                least = min((needs[method] for method in ours if method in needs), default=inf)
                if rival and least > others[rival]:
                    cells.append(f"{MEANING[key]} on {row['case']} ({rival})")
        rows.append(row)
    columns = [Column("case", "case"), *(Column(key, MEANING[key]) for key in SHORT)]
    none, zed = ("; ".join(cells) or "nowhere" for cells in lost.values())
    return (
        "In a cell: the best of the others, zed, zest, each by its better form, if that reaches the target "
        "on all seeds (else -). Bold is the least of all methods; zed1 is not shown.\n\n"
        f"{markdown(columns, rows)}\n\n"
        f"* Where one of the others needs less than zed, zed1 and zest: {none}.\n"
        f"* Where one of the others needs less than zed, which needs no spanning tree: {zed}.\n"
    )


def bold(value, least):
    """Write a number, in bold if it is the least."""
    return f"**{value:.0f}**" if value == least else f"{value:.0f}"


def section(case, parts):
    """Write a case: table, verdict, reference, and what is missing."""
    problem, graph, agents = case
    least = reference(parts)
    text = f"### {problem}; {graph} of {agents}\n\n{markdown(COLUMNS, rows_of(parts, least))}\n\n"
    missing = [m for m in METHODS if m not in {part["method"] for part in parts}]
    if missing:
        text += f"Not measured here yet, so not in these sentences: {'; '.join(missing)}.\n\n"
    text += f"{verdict(parts)}\n"
    return text + (f"* The reference: {least:.0f} bytes an agent.\n" if least else "")


def page():
    """Write everything that is kept."""
    found, missing = [], []
    for case in CASES:
        parts = read(case)
        if 2 * len(parts) > len(METHODS):  # fewer say nothing about who is best
            found.append((case, parts))
        else:
            missing.append(f"{case[0]}, {case[1]} of {case[2]}")
    note = f"Not measured yet: {'; '.join(missing)}.\n\n" if missing else ""
    texts = [section(case, parts) for case, parts in found]
    whole = [(case, parts) for case, parts in found if {*OURS} <= {p["method"] for p in parts}]
    return f"{machine_line()}.\n\n{note}### All cases\n\n{summary(whole)}\n" + "\n".join(texts)


def main():
    given = options(
        __doc__, "fresh", "page", only={"default": ""}, jobs={"type": int, "default": 2},
    )  # fmt: skip
    parts = [(c, m) for c in CASES for m in METHODS if given.only in f"{c[0]}; {c[1]} {m}"]
    if given.quick:
        warnings.simplefilter("ignore")
        print(section(CASES[0], [measure(c, m, quick=True) for c, m in parts if c == CASES[0]]))
        return
    if given.fresh:
        for part in parts:
            kept(*part).unlink(missing_ok=True)
    todo = [] if given.page else [part for part in parts if not kept(*part).exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
        for done in as_completed(pool.submit(work, *part) for part in todo):
            print(done.result(), file=sys.stderr, flush=True)
    if given.only:
        for case in dict.fromkeys(case for case, _ in parts):
            print(section(case, read(case)))
    else:
        write_section("bits-to-accuracy.md", "bits_to_accuracy.py", page())


if __name__ == "__main__":
    main()
