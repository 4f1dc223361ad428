"""Signals to a Python program that runs distopt: the run is saved, then the program ends."""

import signal
import subprocess
import sys
import time

import h5py
import pytest

import distopt

PROGRAM = """
import sys
from pathlib import Path

import numpy as np

import distopt


class Slope:  # never stationary
    dimension, smoothness = 2, 1.0

    def value(self, x):
        return 1e-9 * float(x.sum())

    def gradient(self, x, out):
        out.fill(1e-9)


for number in range(2):
    distopt.simulate(
        [Slope() for _ in range(3)],
        algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5),
        iterations=10**9,
        checkpoint_every=1000,
        out=Path(sys.argv[1]) / str(number),
    )
"""


@pytest.mark.parametrize(
    "number",
    [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGUSR1)]
    + [signal.SIGINT],
)
def test_a_loop_over_runs_ends(number, tmp_path):
    """SIGTERM and SIGINT end the program, SIGUSR1 the present run only; all of them save first."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        signal_run(program, number, tmp_path / "0")
        if number == signal.SIGUSR1:
            signal_run(program, signal.SIGTERM, tmp_path / "1")
        _, told = program.communicate(timeout=900)
    finally:
        program.kill()
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in told
    else:
        assert program.returncode == -signal.SIGTERM
    runs = ["0", "1"] if number == signal.SIGUSR1 else ["0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == runs
    for name in runs:
        with h5py.File(tmp_path / name / "metrics.h5", "r") as file:
            assert file["meta"].attrs["stop_reason"] == "signal"


def test_one_process_stops_after_the_iteration_under_way():
    """However many iterations the next record is away."""

    class Counted:
        dimension, smoothness, calls = 2, 1.0, 0

        def value(self, x):
            return 1e-9 * float(x.sum())

        def gradient(self, x, out):
            out.fill(1e-9)
            self.calls += 1
            if self.calls == 300:
                signal.raise_signal(signal.SIGUSR1)

    costs = [Counted() for _ in range(3)]
    result = distopt.simulate(
        costs,
        algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5),
        iterations=20_000,
        record_every=10**6,
    )
    assert result.summary["stop_reason"] == "signal"
    assert result.summary["iterations"] < 310


def test_a_run_that_is_about_to_end_ends_first(tmp_path):
    """It was asked to stop and has saved; Ctrl-C comes while it computes its last row."""
    went_on = []

    class Late:
        dimension, smoothness, calls = 2, 1.0, 0

        def value(self, x):
            if list(tmp_path.glob("run/checkpoints/*/manifest.json")) and not went_on:
                signal.raise_signal(signal.SIGINT)
                went_on.append(True)
            return 1e-9 * float(x.sum())

        def gradient(self, x, out):
            out.fill(1e-9)
            self.calls += 1
            if self.calls == 10:
                signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(KeyboardInterrupt):
        distopt.simulate(
            [Late() for _ in range(3)],
            algorithm=distopt.GradientTracking(eta=0.1, gamma=0.5),
            iterations=20_000,
            record_every=10**6,
            out=tmp_path / "run",
        )
    assert went_on


def signal_run(program, number, out):
    """Wait until a run is iterating, and send the program a signal."""
    deadline = time.monotonic() + 900  # compiling on a busy machine
    while not list(out.glob("checkpoints/*/manifest.json")):
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    program.send_signal(number)
