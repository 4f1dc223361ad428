"""A long run, watched from outside: memory, descriptors and shared memory of its processes stay flat.

    python benchmarks/soak.py                         10^6 iterations of four agents in one process
    python benchmarks/soak.py --ranks                 the same over four MPI ranks
    python benchmarks/soak.py --iterations 100000

The run records 1,000 rows and makes 100 checkpoints on its way. Samples of its first fifth, in which
kernels are loaded and buffers are made, are left out. The exit code is 1 if something grows.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from shared import machine_line, options, show

from distopt.studies.results import Column

SAMPLES = 200
GROWTH_MB = 3.0  # between the second and the last fifth; a leak of 4 bytes an iteration is more
WARM = 0.2


def write_config(folder, iterations):
    """Write the configuration of the run; return its path."""
    path = folder / "soak.toml"
    path.write_text(
        '[problem]\nname = "pl"\nagents = 4\ndimension = 20\nbasis = "diagonal"\n'
        '[topology]\ngraph = "ring"\n'
        '[algorithm]\nname = "cgt1"\neta = 0.02\ngamma = 0.3\nalpha = 1.0\n'
        '[compressor]\nname = "quantize"\nbits = 4\ndithered = true\n'
        f"[run]\niterations = {iterations}\nrecord_every = {iterations // 1000}\n"
        f"checkpoint_every = {iterations // 100}\n"
    )
    return path


def sample(processes):
    """Measure each process: megabytes, descriptors, and megabytes of shared memory that it maps."""
    row = []
    for process in processes:
        shared = sum(m.rss for m in process.memory_maps() if m.path.startswith("/dev/shm"))
        own = process.memory_full_info().uss
        row.append((own / 1e6, process.num_fds(), shared / 1e6))
    return row


def watch(command, pause):
    """Start a command and sample its workers (those that compute) until it ends."""
    began, rows, processes = time.monotonic(), [], []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as run:
        root = psutil.Process(run.pid)
        while run.poll() is None:
            time.sleep(pause)
            with suppress(psutil.Error):
                ranks = [
                    p for p in root.children(recursive=True) if "rank" in " ".join(p.cmdline())
                ]
                found = [p for p in ranks if "python" in p.name()] or [root]
                if {p.pid for p in found} != {p.pid for p in processes}:
                    processes, rows = found, []
                rows.append((time.monotonic() - began, sample(processes)))
    if run.returncode:
        raise SystemExit(f"The run ended with exit code {run.returncode}.")
    return time.monotonic() - began, rows


def main():
    """Run, sample, print, judge."""
    given = options(
        __doc__, "ranks", iterations={"type": int, "default": 10**6, "help": "of the run"}
    )
    iterations = 20_000 if given.quick else given.iterations
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), iterations)
        command = [sys.executable, "-m", "distopt", "run", str(config), "--quiet"]
        command += ["--out", f"{folder}/run", *([] if given.ranks else ["--simulate"])]
        seconds, rows = watch(command, max(0.05, iterations * 5e-4 / SAMPLES))
    values = np.array([row for _, row in rows[int(WARM * len(rows)) :]])
    fifth = max(len(values) // 5, 1)
    table, grown = [], False
    for number, series in enumerate(values.transpose(1, 0, 2)):
        first, last = series[:fifth].mean(axis=0), series[-fifth:].mean(axis=0)
        row = {"process": f"rank {number}" if given.ranks else "all agents"}
        for name, a, b in zip(("memory", "descriptors", "shared"), first, last, strict=True):
            row |= {f"{name} first": a, f"{name} last": b}
        table.append(row)
        grown |= bool(np.any(last - first > (GROWTH_MB, 0.5, GROWTH_MB)))
    heads = {"memory": "MB", "descriptors": "descriptors", "shared": "MB shared"}
    columns = [Column("process", "process", words=True)]
    columns += [
        Column(f"{name} {when}", f"{head} {when}", write="{:.1f}".format)
        for name, head in heads.items()
        for when in ("first", "last")
    ]
    where = "over four ranks" if given.ranks else "in one process"
    show(f"{iterations} iterations {where} in {seconds:.0f} s, {len(rows)} samples", columns, table)
    print(machine_line())
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
