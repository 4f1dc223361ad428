"""Steps of "auto" where edges fail, against the best of five fixed ones (docs: topologies).

    python benchmarks/auto_changing.py [--algorithm NAME ...] [--up 0.5] [--only TEXT] [--quick]

Each edge is up with probability `up`. The problems are those of auto.py but its two of 100 agents. The
rule is half the first step that a search would take, with the gap times the share of up edges. The five
steps are a quarter to four times that.
"""

import sys
import warnings

import numpy as np
from auto import DEVELOPED, METHODS, REPORTED, graph, play
from shared import options, show

from distopt.core.errors import DistoptError
from distopt.problems.changing import DrawnTopology
from distopt.studies.results import Column

FACTORS = (0.5, 2.0, 0.25, 4.0)
COLUMNS = [
    Column("problem", "problem"),
    Column("graph", "graph"),
    Column("auto", "auto"),
    Column("best", "best of five"),
    Column("factor", "at auto times"),
    Column("ratio", "ratio"),
]


def iterations(method, case, up, limit, eta=None):
    """Return iterations to the target, infinity for a run that diverged, None for a slow one; the step."""
    topology = DrawnTopology(graph(case[2], case[3]), up=up, seed=1)
    numbers = {} if eta is None else {"eta": eta}
    try:
        k, result = play(method, case, 0, topology, limit, **numbers)
    except DistoptError:
        return np.inf, eta
    return k, result.summary["parameters"]["eta"]


def compare(method, title, case, up):
    """Return whether any step arrives, whether that of "auto" is too slow, the ratio, and the row."""
    limit = case[5]
    _, eta = iterations(method, case, up, 0)
    mine, _ = iterations(method, case, up, limit)
    best, factor = mine or np.inf, 1.0
    for times in FACTORS:
        k, _ = iterations(method, case, up, min(best, limit), times * eta)
        if k is not None and k < best:
            best, factor = k, times
    slow, arrives = mine is None, best < np.inf
    ratio = None if slow or not arrives else mine / best
    row = {
        "problem": title, "graph": f"{case[2]} {case[3]}".replace("cycle", "ring"),
        "auto": f"more than {limit}" if slow else "diverged" if mine == np.inf else str(mine),
        "best": str(best) if arrives else "-", "factor": f"{factor:g}" if arrives else "-",
        "ratio": "-" if ratio is None or ratio == np.inf else f"{ratio:.2f}",
    }  # fmt: skip
    print(f"{method}, {row}", file=sys.stderr, flush=True)
    return arrives, slow, ratio, row


def main():
    given = options(
        __doc__, algorithm={"choices": list(METHODS), "action": "append"}, only={"default": ""},
        up={"type": float, "default": 0.5},
    )  # fmt: skip
    warnings.simplefilter("ignore")  # large steps overflow
    cases = {
        **DEVELOPED,
        **{f"{t} (2)": c for t, c in REPORTED.items()},
    }
    cases = {t: c for t, c in cases.items() if given.only in t and c[3] < 100}
    for method in given.algorithm or METHODS:
        chosen = list(cases.items())[: 1 if given.quick else None]
        found = [compare(method, title, case, given.up) for title, case in chosen]
        known = [ratio for arrives, _, ratio, _ in found if arrives]
        ratios = [r for r in known if r is not None and r < np.inf]
        note = (
            f"{len(known)} of {len(found)} problems are solved with some step; with that of auto "
            f"{len(ratios)}, at a median ratio of {np.median(ratios):.2f}; {known.count(np.inf)} diverge."
        )
        show(f"{method}, up = {given.up:g}", COLUMNS, [row for *_, row in found], [note])


if __name__ == "__main__":
    main()
