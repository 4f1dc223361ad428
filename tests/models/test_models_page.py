"""The page on models: its programs run as they stand, and the examples make costs that learn."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import distopt
from distopt.mpirun.launcher import find_mpirun

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "launch" / "examples"


def test_four_ranks_learn_what_the_page_says(tmp_path):
    pytest.importorskip("torch", reason='PyTorch is not installed ("distopt-mpi[torch]")')
    text = (ROOT / "docs" / "models.md").read_text()
    for name, program in zip(
        ("plain.py", "train.py", "own.py"),
        re.findall(r"```python\n(.*?)```", text, re.DOTALL),
        strict=True,
    ):
        (tmp_path / name).write_text(program)
    command = find_mpirun().start(4, [sys.executable, "train.py"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measures = json.loads(re.search(r"\{.*\}", done.stdout)[0].replace("'", '"'))
    assert measures["accuracy"] > 0.8
    command = find_mpirun().start(4, [sys.executable, "own.py"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    accuracy, sent = done.stdout.split()
    assert float(accuracy) > 0.8
    assert 0 < int(sent) < 60_000  # 60 exchanges of 2410 parameters: 1.2 MB in float32
    assert len(list(tmp_path.glob("state-?.pt"))) == 4
    for command in re.findall(r"\$ distopt (export [^#\n]*?)(?:  .*)?$", text, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", "distopt", *command.split()],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert {"model.pt", "accuracy.pdf"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_examples_learn_and_draw(library, tmp_path, monkeypatch):
    pytest.importorskip(library, reason=f'"distopt-mpi[{library}]" is not installed')
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module(f"digits_{library}")
    costs = [example.make_cost(agent, 2, batch=16) for agent in range(2)]
    result = distopt.simulate(costs, iterations=30, record_every=15)
    assert result.rows[-1]["objective"] < result.rows[0]["objective"]
    assert not result.warnings
    example.draw(result, tmp_path)
    assert (tmp_path / "accuracy.png").stat().st_size > 5000
