"""An iteration in float32 over one in float64: time, processor time and memory of a rank.

    python benchmarks/precision.py [--short] [--d 1000000] [--rounds 11] [--page]
    python benchmarks/precision.py --floors [--short]

With --page the table is written into docs/speed.md.

Starts its own MPI job: four ranks on a ring, the PL cost in its diagonal basis, whose data is float64 with
both. Both precisions of a method take turns within one job. What is timed is checked first: the two must
have the same x after 5 iterations, up to rounding to float32 and codes that fall on the other side.
Ratios are medians over the rounds of the ratio within a round. Memory is what a rank's resident set grew
by, from before its cost and agent were made to after 5 iterations.

With --floors it shows instead what P comes to after 3000 iterations in one process, and the largest entry
of a model, for problems and methods in both precisions.
"""

import gc
import os
import resource
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from iteration import Ours
from shared import become_rank, leave, machine_line, markdown, show, write_section
from speed import BLOCKS, METHODS, RANKS, configuration, timed

from distopt.config.build import make_config
from distopt.engine.run import run
from distopt.engine.team import prepare
from distopt.studies.results import Column
from distopt.transport.opening import open_transport

PRECISIONS = ("float64", "float32")
PROBLEMS = {
    "quadratic": {"name": "quadratic", "dimension": 100},
    "pl": {"name": "pl", "dimension": 100},
    "logistic, breast_cancer": {"name": "logistic", "dataset": "breast_cancer", "split": "sorted"},
}
SEARCHED = {
    "gt": ({"name": "gt"}, {"name": "identity"}),
    "cgt1 2 bits": ({"name": "cgt1"}, {"name": "quantize", "bits": 2}),
    "lead 2 bits": ({"name": "lead"}, {"name": "quantize", "bits": 2}),
    "zed": ({"name": "zed"}, {"name": "zoom"}),
}
ROUNDS = 11
CLOSE = {"gt": 1e-5, "cgt1 2 bits": 0.01, "lead 2 bits": 0.01}  # some codes fall on the other side


def resident():
    """Return the bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def begun(comm, method, d, dtype, stack):
    """Return a team's loop after 5 iterations, and the mean megabytes that it takes on a rank."""
    before, config = resident(), configuration(method, d).with_settings([f"run.dtype={dtype}"])
    transport = stack.enter_context(open_transport("mpi", config, comm))
    ours = Ours(prepare(config, transport))
    ours.run(5)
    return ours, comm.allreduce(resident() - before) / RANKS / 1e6


def measure(comm, method, d, rounds):
    with ExitStack() as stack:  # what libraries and kernels take once
        begun(comm, method, d, "float64", stack)
    with ExitStack() as stack:
        loops, megabytes = zip(*(begun(comm, method, d, p, stack) for p in PRECISIONS), strict=True)
        wide, narrow = (loop.team.hosted[0].state.x for loop in loops)
        assert narrow.dtype == np.float32
        apart = np.linalg.norm(wide - narrow) / np.linalg.norm(wide)
        assert apart < CLOSE[method], apart
        times = np.array(
            [[timed(comm, loop, BLOCKS[d]) for loop in loops] for _ in range(rounds + 1)]
        )[1:]  # the first is warm-up; rounds, precisions, wall and processor
    ms, (wall, cpu) = np.median(times, axis=0), np.median(times[:, 1] / times[:, 0], axis=0)
    row = {
        "method": method,
        "d": d,
        "time": wall,
        "cpu": cpu,
    }
    for i, dtype in enumerate(PRECISIONS):
        row |= {dtype: ms[i, 0], f"cpu {dtype}": ms[i, 1]}
    if d >= 10**6:  # else it is Python's own
        row |= {f"MB {dtype}": mb for dtype, mb in zip(PRECISIONS, megabytes, strict=True)}
        row["memory"] = megabytes[1] / megabytes[0]
    return row


def floors(iterations):
    """Show what P comes to in both precisions."""
    rows = []
    for problem, keys in PROBLEMS.items():
        for method, (algorithm, compressor) in SEARCHED.items():
            row = {"problem": problem, "method": method}
            for dtype in PRECISIONS:
                tables = {
                    "problem": keys | {"agents": RANKS},
                    "algorithm": algorithm,
                    "compressor": compressor,
                    "run": {"iterations": iterations, "dtype": dtype, "record_every": iterations},
                }
                found = run(make_config(tables, Path()), engine="simulate")
                row |= {dtype: found.summary["stationarity"], "x": float(abs(found.x[0]).max())}
            rows.append(row)
    few = "{:.1e}".format
    columns = [Column("problem", "problem"), Column("method", "method")]
    columns += [Column(dtype, f"P, {dtype}", write=few) for dtype in PRECISIONS]
    columns.append(Column("x", "max |x_i|", write="{:.2g}".format))
    show(f"P after {iterations} iterations, {RANKS} agents on a ring", columns, rows)


def main():
    if "--floors" in sys.argv:
        floors(30 if "--short" in sys.argv else 3000)
        return
    # So that a vector's memory goes back when it is freed, and is not the next one's.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    options = become_rank(
        __file__,
        __doc__,
        RANKS,
        d={"type": int, "action": "append", "choices": [*BLOCKS]},
        rounds={"type": int},
        page={"action": "store_true"},
    )
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    dimensions = [100] if options.short else options.d or [10_000, 1_000_000]
    rounds = 1 if options.short else options.rounds or ROUNDS
    rows = [measure(comm, method, d, rounds) for d in dimensions for method in METHODS]
    if comm.rank == 0:
        two, ratio = "{:.3g}".format, "{:.2f}".format
        columns = [Column("method", "method"), Column("d", "d", write="{:,}".format)]
        for kind, unit, whole in (("", "ms", "time"), ("cpu ", "ms", "cpu"), ("MB ", "", "memory")):
            columns += [Column(kind + p, kind + p, "", unit, two) for p in PRECISIONS]
            columns.append(Column(whole, f"{whole}, float32 / float64", write=ratio))
        library = MPI.Get_library_version().split(",")[0].splitlines()[0]
        title = (
            f"{library}. {machine_line()}. Times in ms of an iteration, medians of {rounds} rounds."
        )
        if options.page:
            write_section(
                "speed.md", "benchmarks/precision.py", f"{title}\n\n{markdown(columns, rows)}\n"
            )
        show(title, columns, rows)
    leave(comm)


if __name__ == "__main__":
    main()
