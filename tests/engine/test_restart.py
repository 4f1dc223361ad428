"""A job that loses a rank, its mpirun, or a rank's voice, and is started again by its parent.

The end must be that of a run in which nothing happened, to the bit.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from run_table import assert_equal_states, comparable, configure
from test_failures import OPEN_MPI, Run, slow
from test_resume import shards

from distopt.engine import journal
from distopt.engine.failures import Failure, failures_in
from distopt.engine.run import go_on, run
from distopt.record.metrics import read_metrics
from distopt.record.reader import load
from distopt.show.report import notes

ITERATIONS = 60


def in_one_process(*arguments):
    """Run ``distopt ARGUMENTS --simulate``: apart from this process, where the cost changes the package."""
    command = [sys.executable, "-m", "distopt", *map(str, arguments), "--simulate", "--quiet"]
    subprocess.run(command, check=True, timeout=900)


def whole(folder, iterations=ITERATIONS):
    """Run the same configuration in one process, and undisturbed."""
    again = Run(folder, "none", iterations=iterations)
    in_one_process("run", again.config, "--out", folder / "whole")
    return folder / "whole"


def assert_same_end(found, wanted):
    """Compare states, byte counts and records of two runs; clocks and diagnostics' traffic may differ."""
    one, other = shards(found), shards(wanted)
    assert one[0] == other[0]
    assert_equal_states(one[1], other[1])
    for name in ("nbytes", "nbytes_on_wire", "messages"):
        totals = [sum(numbers.get(name, 0) for numbers in s[2].values()) for s in (one, other)]
        assert totals[0] == totals[1] > 0
    rows = [
        comparable(read_metrics(p / "metrics.h5").rows(), "diagnostics_bytes")
        for p in (found, wanted)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("act", ["kill", slow("stop"), slow("exit"), slow("kill-parent")])
def test_a_lost_rank_costs_time_only(act, tmp_path):
    settings = {"timeout": 20.0} if act == "stop" else {}
    job = Run(tmp_path, f"{act}-once", 2, 37, iterations=ITERATIONS, checkpoint_every=10,
              checkpoint_seconds=0.0, on_failure="restart", **settings)  # fmt: skip
    out = job.out
    job.start("run", job.config, "--out", out, "--json")
    stdout, job.stderr = job.process.communicate(timeout=900)
    assert job.process.returncode == 0, job.stderr
    (line,) = [line for line in job.stderr.splitlines() if "Restarting from iteration" in line]
    assert "from iteration 30, try 1 of 3" in line
    if act == "kill":
        assert line.startswith("distopt: Rank 2 (host ")
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["failures"] == 1
    assert summary["seconds_lost"] > 0
    (failure,) = failures_in(read_metrics(out / "metrics.h5").meta)
    assert failure.reason in line
    assert job.gone()
    assert_same_end(out, whole(tmp_path))


def rank_process(command, rank):
    """Return the process of a rank as soon as there is one."""
    while command.poll() is None:
        for process in psutil.Process(command.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                env = process.environ()
                here = {env.get("OMPI_COMM_WORLD_RANK"), env.get("PMI_RANK")}
                if "distopt.cli.rank" in process.cmdline()[1:3] and str(rank) in here:
                    return process
        time.sleep(0.01)
    raise AssertionError(command.stderr.read())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.4, 0.8, 1.6])
def test_a_rank_killed_while_the_job_starts_costs_time_only(seconds, tmp_path):
    job = Run(tmp_path, "none", iterations=ITERATIONS, on_failure="restart").start()
    victim = rank_process(job.process, 2)
    time.sleep(seconds)
    victim.kill()
    code, lines = job.end()
    assert code == 0, job.stderr
    (line,) = lines
    assert "was ended" in line
    assert line.endswith("Restarting from iteration 0, try 1 of 3.")
    assert_same_end(job.out, whole(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not OPEN_MPI, reason="MPICH does not say which rank died first")
def test_the_others_continue_without_the_dead_rank(tmp_path):
    """As if one had told a run in one process at this checkpoint to lose the agent."""
    job = Run(tmp_path, "kill-once", 2, 37, iterations=ITERATIONS, checkpoint_every=10, keep=9,
              on_failure="continue", checkpoint_seconds=0.0)  # fmt: skip
    job.start("run", job.config, "--out", job.out, "--json")
    stdout, job.stderr = job.process.communicate(timeout=900)
    assert job.process.returncode == 0, job.stderr
    (line,) = [line for line in job.stderr.splitlines() if "Restarting from iteration" in line]
    assert "from iteration 30 without agent 2, try 1 of 3" in line
    assert json.loads(stdout.splitlines()[-1])["lost"] == [2]
    again = tmp_path / "again"
    in_one_process("run", job.config, "--out", again, "--set", "run.iterations=30")
    shutil.rmtree(again / "checkpoints")
    shutil.copytree(job.out / "checkpoints" / "000030", again / "checkpoints" / "000030")
    lost = "problem.lost=[2]"
    in_one_process("resume", again, "--iterations", ITERATIONS, "--set", lost)
    assert_same_end(job.out, again)


@pytest.mark.slow
def test_a_suite_goes_on_with_its_variant(tmp_path):
    job = Run(tmp_path, "kill-once", 1, 37, iterations=ITERATIONS, checkpoint_every=10)
    text = job.config.read_text()
    variants = '\n[[variant]]\nlabel = "one"\n[[variant]]\nlabel = "two"\nrun = { seed = 3 }\n'
    job.config.write_text(text + variants)
    command = [sys.executable, "-m", "distopt", "compare", str(job.config), "--out", str(job.out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Restarting from iteration") == 1
    assert "one: restarted after 1 failure, 60 iterations" in done.stderr
    assert_same_end(job.out / "one", whole(tmp_path))


@pytest.mark.slow
def test_a_rank_that_dies_again_and_again_ends_the_run(tmp_path):
    job = Run(tmp_path, "kill", 2, 37, iterations=ITERATIONS, checkpoint_every=10, tries=2,
              on_failure="restart").start()  # fmt: skip
    code, lines = job.end()
    assert code > 0
    assert "try 2 of 2 without a newer checkpoint" in lines[-1]
    assert sum("Restarting from" in line for line in lines) in {2, 3}
    assert job.gone()


def test_the_clock_demands_checkpoints(tmp_path, monkeypatch):
    """At a fiftieth of the time, so a dear checkpoint makes the next one wait, and a cheap one less."""
    monkeypatch.setattr(journal, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(journal, "PROMPT_SECONDS", 0.0)
    saved = {}
    for name, share, cheap in (("often", 1e9, 0.0), ("seldom", 1e-9, 0.0), ("cheap", 1e-9, 1e9)):
        monkeypatch.setattr(journal, "SAVING_SHARE", share)
        monkeypatch.setattr(journal, "CHEAP_SECONDS", cheap)
        config = configure("gt", "identity", iterations=20, keep=99, checkpoint_seconds=1e-9)
        run(config, engine="simulate", out=tmp_path / name)
        saved[name] = sorted(int(p.name) for p in (tmp_path / name / "checkpoints").iterdir())
    assert saved["often"] == saved["cheap"] == list(range(1, 21))
    assert saved["seldom"] == [1, 2, 20]  # the last two tell


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, np.inf),
        ({"on_failure": "restart"}, 1.0),
        ({"on_failure": "restart", "checkpoint_seconds": 0.0}, np.inf),
        ({"checkpoint_seconds": 5.0}, 5.0),
    ],
)
def test_which_runs_save_by_the_clock(settings, seconds):
    assert configure("gt", "identity", **settings).run.saving_seconds == seconds


def test_the_record_keeps_all_failures(tmp_path):
    """Those of this command come with its job; earlier ones are in the record; none counts twice."""
    first, second = Failure("It died.", 9, 5, 1.0), Failure("And again.", 19, 10, 2.0, 0.5)
    out = tmp_path / "run"
    config = configure("gt", "identity", iterations=10)
    result = run(config, engine="simulate", out=out, failures=[first])
    assert result.summary["failures"] == 1
    for failures in ([first], [first, second], [second]):
        go_on(config, out, engine="simulate", failures=failures)
    found = failures_in(read_metrics(out / "metrics.h5").meta)
    assert [f.reason for f in found] == ["It died.", "And again."]
    assert found[1] == second
    assert found[0].seconds > 0
    page = " ".join(notes(load(out)))
    assert "It died." in page
    assert "13 iterations were done twice" in page


def test_failures_that_cannot_be_read_are_none():
    assert failures_in({}) == failures_in({"failures": "[1]"}) == failures_in({"failures": 3}) == []
