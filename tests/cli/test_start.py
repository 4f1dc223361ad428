"""What a command imports before it does anything, since that is most of a short one's time."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from distopt.show import members

FIGURES = ["matplotlib", "pandas", "PIL"]
ELSEWHERE = [*FIGURES, "sklearn", "torch", "jax", "typer", "rich", "fastapi", "sqlalchemy"]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("distopt.cli.app, distopt.show.members", [*FIGURES, "numpy", "numba", "h5py", "mpi4py"]),
        (
            "distopt.__main__, distopt.cli.plain_list",
            [*FIGURES, "typer", "pydantic", "numpy", "numba", "h5py", "mpi4py"],
        ),
        (
            "distopt.cli.rank, distopt.mpirun.jobfile, distopt.engine.run, distopt.transport.mpi, "
            "distopt.problems.costs.logistic",
            [*ELSEWHERE, "networkx"],
        ),
        (
            "distopt.problems.problem, distopt.problems.costs.pl, distopt.problems.costs.logistic, "
            "distopt.problems.costs.python, distopt.problems.costs.quadratic",
            [*FIGURES, "sklearn", "mpi4py", "networkx"],
        ),
    ],
    ids=["command", "list", "rank", "problems"],
)
def test_imports_stay_light(modules, unwanted):
    code = f"import sys, {modules}; found = {{*{unwanted}}} & {{*sys.modules}}; assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_kernel_from_its_cache_needs_no_compiler(tmp_path):
    code = (
        "import sys; from distopt.core.randomness import make_key, uniform;"
        "print(uniform(make_key(1, 2, 3), 4)); print('scipy.linalg' in sys.modules)"
    )
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    compiled, loaded = (
        subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    assert [text.stdout.split("\n")[1] for text in (compiled, loaded)] == ["True", "False"]
    assert compiled.stdout.split("\n")[0] == loaded.stdout.split("\n")[0]


def test_a_ring_needs_no_networkx():
    code = (
        "import sys; from pathlib import Path; from distopt.problems.graph_section import build_topology;"
        "assert build_topology({'graph': 'ring'}, 8, Path()).diameter == 4;"
        "assert 'networkx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_plain_list_is_that_of_the_whole_command():
    """And it ends quietly where nobody reads it."""
    start = (
        "import sys; sys.argv[1:] = ['list', 'topologies']; from distopt.cli.{} import main; main()"
    )
    plain, whole = (
        subprocess.run(
            [sys.executable, "-c", start.format(module)], capture_output=True, timeout=600
        )
        for module in ("plain_list", "app")
    )
    assert (plain.returncode, plain.stdout, plain.stderr) == (0, whole.stdout, b"")
    assert b"exponential" in plain.stdout
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", start.format("plain_list")]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=600, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_data_sets_are_read_without_scikit_learn():
    code = (
        "import sys; from distopt.problems.costs.data import read;"
        "shapes = read('breast_cancer')[0].shape, read('digits')[0].shape;"
        "assert shapes == ((569, 30), (1797, 64)), shapes;"
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_the_list_is_kept_until_a_file_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(members, "entry_points", lambda: SimpleNamespace(groups=set()))
    reads = []

    def ask(question="compressors 1000"):
        return members.remembered(question, lambda: reads.append(question) or {"n": len(reads)})

    assert ask() == ask() == {"n": 1}
    assert ask("all 10") == {"n": 2}
    for path in (tmp_path / "distopt").iterdir():
        path.write_text("{")  # as after a full disk
    assert ask() == ask() == {"n": 3}
    monkeypatch.setattr(members, "state", lambda: "another")
    assert ask() == {"n": 4}
    offered = SimpleNamespace(groups={"distopt.compressors"})
    monkeypatch.setattr(members, "entry_points", lambda: offered)
    assert ask() != ask()
