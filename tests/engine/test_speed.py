"""The guards of docs/speed.md: an iteration takes at most some times as long as an expert's loop, and
starting four ranks at most some seconds of processor time.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "speed.py"
# Twice to three times what the page says: both take turns, but other programs hinder them unequally.
LIMITS = {100: 12.0, 10_000: 4.0, 1_000_000: 2.5}


@pytest.mark.slow
def test_an_iteration_is_not_far_from_an_experts_loop(tmp_path):
    rows = tmp_path / "rows.json"
    command = [sys.executable, PROGRAM, "--rounds", "7", "--rows", rows]
    subprocess.run(command, check=True, timeout=3600)
    found = json.loads(rows.read_text())
    assert {row["d"] for row in found} == set(LIMITS)
    slow = [(r["method"], r["d"], r["/ expert"]) for r in found if r["/ expert"] > LIMITS[r["d"]]]
    assert slow == []


START_SECONDS = 12.0  # processor seconds; the page says 6.5, on a busy machine
SHORT = """
[problem]
name = "logistic"
dataset = "breast_cancer"
agents = 4
[algorithm]
name = "zed"
[run]
iterations = 1
"""


@pytest.mark.slow
def test_four_ranks_start_without_much_work(tmp_path):
    """With bytecode and kernels in their caches, which the first start fills."""
    (tmp_path / "a.toml").write_text(SHORT)
    caches = {"PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    spent = []
    for name in ("first", "second", "third"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "distopt", "run", "a.toml", "-n", "4", "--out", name]
        subprocess.run(command, cwd=tmp_path, env=os.environ | caches, check=True, timeout=900)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent[1:]) < START_SECONDS, spent
