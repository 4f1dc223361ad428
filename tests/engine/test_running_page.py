"""The reading example of docs/running.md works, on a run that its schema describes."""

import re
import subprocess
import sys
from pathlib import Path

from run_table import configure

from distopt.engine.run import run

PAGE = Path(__file__).parents[2] / "docs" / "running.md"


def test_reading_example_runs_without_distopt(tmp_path):
    result = run(configure(iterations=20), engine="simulate", out=tmp_path / "runs" / "NAME")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    program += "\nimport sys\nassert 'distopt' not in sys.modules\n"
    lines = subprocess.check_output(
        [sys.executable, "-c", program], text=True, cwd=tmp_path
    ).splitlines()
    assert "stationarity [1]: P = ||grad f(xbar)||^2 + consensus error" in lines
    assert lines[-2] == "cgt1 finished (4, 4)"
    last = result.rows[-1]
    assert lines[-1].split() == [
        "20", str(last["stationarity"]), str(last["bytes_per_agent"]),
    ]  # fmt: skip


def test_attributes_that_the_page_names_exist(tmp_path):
    import h5py

    run(configure(iterations=1), engine="simulate", out=tmp_path / "run")
    (listed,) = re.findall(r"`/meta` has attributes \((.*?), \.\.\.;", PAGE.read_text())
    with h5py.File(tmp_path / "run" / "metrics.h5", "r") as file:
        for name in listed.split(", "):
            assert name.strip("`") in file["meta"].attrs
