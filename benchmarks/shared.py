"""What the benchmarks share: folders, the machine in a line, tables, medians, ranks of their own."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from time import sleep

from distopt.core.rank import this_rank
from distopt.mpirun.launcher import find_mpirun
from distopt.show.render import to_markdown
from distopt.studies.measure.summary import machine
from distopt.studies.results import Results

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "launch" / "experiments"


def machine_line():
    """Describe processor, load and versions in one line."""
    m = machine()
    return (
        f"{m['processor']}, {m['cores']} cores, {m['system']}, load {m['load']:.1f}; Python "
        f"{m['python']}, numpy {m['numpy']}, numba {m['numba']}"
    )


def markdown(columns, rows, notes=()):
    """Write a table as the docs have them."""
    return to_markdown(Results("", columns, rows, notes))


def show(title, columns, rows, notes=()):
    """Print a table under its title."""
    print(f"\n{title}\n\n{markdown(columns, rows, notes)}", flush=True)


def write_section(page, script, text):
    """Put a text below the mark of a script on a page of the docs, up to its end mark if there is one."""
    path, mark, end = ROOT / "docs" / page, f"<!-- written by {script} -->\n", "<!-- end -->\n"
    head, _, rest = path.read_text().partition(mark)
    _, found, tail = rest.partition(end)
    path.write_text(f"{head}{mark}\n{text}" + (f"\n{found}{tail}" if found else ""))


def example(name):
    """Return a module of launch/examples."""
    folder = str(ROOT / "launch" / "examples")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


def options(about, *flags, **named):
    """Read the command line: --quick, and what else there is (name: keywords of add_argument)."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    for flag in ("quick", *flags):
        parser.add_argument(f"--{flag}", action="store_true")
    for name, keywords in named.items():
        parser.add_argument(f"--{name}", **keywords)
    return parser.parse_args()


def become_rank(program, about, ranks, **named):
    """Read the command line, and start this program over under mpirun; in a rank return the options.

    There is --short, and what else is named (name: keywords of add_argument).
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="only show that it runs")
    for name, keywords in named.items():
        parser.add_argument(f"--{name}", **keywords)
    options = parser.parse_args()
    if this_rank() is None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        line = find_mpirun().start(ranks, [sys.executable, program, *sys.argv[1:]])
        os.execvp(line[0], line)
    return options


def leave(comm):
    """Wait for the other ranks asleep: a busy barrier would take rank 0's core."""
    done = comm.Ibarrier()
    while not done.Test():
        sleep(0.01)
