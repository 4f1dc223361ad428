"""Whether and from where a run goes on after its job has died, told by what the job left behind."""

import json
import os
import socket

import psutil
import pytest
from run_table import configure

from distopt.engine.run import run
from distopt.mpirun import supervisor
from distopt.mpirun.jobfile import Case, ResumeJob, RunJob, read_job
from distopt.mpirun.process import Outcome
from distopt.record.lock import NAME, free_lock


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.0)


def died():
    return Outcome(137, ["Rank 2 was ended."], lost=True)


class Watched:
    """A run of 20 iterations with checkpoints at 8 and 16, and its supervisor."""

    def __init__(self, tmp_path, on_failure="restart", tries=2, resume=False, graph="ring"):
        self.folder = tmp_path / "run"
        config = configure(
            "gt", "identity", iterations=20, checkpoint_every=8, keep=9,
            on_failure=on_failure, tries=tries, graph=graph,
        )  # fmt: skip
        run(config, engine="simulate", out=self.folder)
        self.drop("000020")
        self.said = []
        case = Case(folder=self.folder, config=config, resume=resume)
        self.watch = supervisor.Supervisor(case, self.said.append)

    def drop(self, name):
        (self.folder / "checkpoints" / name / "manifest.json").unlink()


def test_a_dead_job_goes_on_from_the_newest_checkpoint(tmp_path):
    run = Watched(tmp_path)
    run.watch.report(18)
    case = run.watch.after(died())
    assert case.resume
    assert run.said == [
        "Rank 2 was ended. This was at about iteration 18. Restarting from iteration 16, try 1 of 2."
    ]
    (failure,) = case.failures
    assert (failure.iteration, failure.origin, failure.seconds) == (18, 16, None)
    run.watch.report(17)
    (failure,) = run.watch.case.failures
    assert 0 < failure.seconds < 900
    job = RunJob(cases=(case,), overwrite=True)
    assert read_job(job.write(tmp_path)).cases[0].failures == case.failures


def test_what_an_earlier_run_left_is_not_continued(tmp_path):
    """Before the first report the folder may still hold what --overwrite is to replace."""
    run = Watched(tmp_path)
    assert not run.watch.after(died()).resume
    assert "Restarting from iteration 0" in run.said[0]
    resumed = Watched(tmp_path / "other", resume=True)
    assert resumed.watch.after(died()).failures[0].origin == 16


def test_a_job_that_died_before_its_first_report_keeps_its_checkpoints(tmp_path):
    run = Watched(tmp_path)
    manifest = run.folder / "checkpoints" / "000016" / "manifest.json"
    written = run.watch.began + 1.0
    os.utime(manifest, (written, written))
    assert run.watch.after(died()).failures[0].origin == 16
    assert "Restarting from iteration 16" in run.said[0]


def test_tries_count_until_there_is_a_newer_checkpoint(tmp_path):
    run = Watched(tmp_path)
    run.drop("000016")
    run.watch.report(9)
    assert run.watch.after(died())
    run.watch.report(9)
    assert run.watch.after(died())
    assert "try 2 of 2" in run.said[-1]
    run.watch.report(9)
    last = died()
    assert run.watch.after(last) is None
    assert last.sentences[1].startswith("This was try 2 of 2 without a newer checkpoint")
    assert last.sentences[1].endswith(f"To go on: distopt resume {run.folder}")


def test_a_newer_checkpoint_starts_the_count_anew(tmp_path):
    run = Watched(tmp_path)
    hidden = run.folder / "checkpoints" / "000016"
    hidden.rename(tmp_path / "aside")
    for _ in range(2):
        run.watch.report(9)
        run.watch.after(died())
    (tmp_path / "aside").rename(hidden)
    run.watch.report(17)
    assert run.watch.after(died())
    assert "from iteration 16, try 1 of 2" in run.said[-1]


@pytest.mark.parametrize(
    ("on_failure", "outcome"),
    [
        ("stop", died()),
        ("restart", Outcome(1, ["Agent 2 diverged."])),
        ("restart", Outcome(0, [])),
        ("restart", Outcome(1, ["Too few slots."], lost=True, started=False)),
    ],
)
def test_what_would_happen_again_ends_the_run(on_failure, outcome, tmp_path):
    run = Watched(tmp_path, on_failure)
    run.watch.report(18)
    assert run.watch.after(outcome) is None
    assert run.said == []


def test_the_dead_agent_is_left_out_where_the_run_is_to_continue(tmp_path):
    run = Watched(tmp_path, "continue")
    for rank, agent in ((1, 1), (1, 2)):  # those after a lost one close up
        run.watch.report(18)
        outcome = died()
        outcome.victim = rank
        case = run.watch.after(outcome)
        assert f"from iteration 16 without agent {agent}, try" in run.said[-1]
    assert case.config.problem.lost == (1, 2)
    assert case.changes == ["problem.lost=[1, 2]"]
    written = read_job(RunJob(cases=(case,), overwrite=True).write(tmp_path))
    assert written.ranks == 2
    run.watch.report(18)
    assert run.watch.after(died()) is None  # the third try of two


def test_without_a_culprit_all_start_again(tmp_path):
    run = Watched(tmp_path, "continue")
    run.watch.report(18)
    assert run.watch.after(died()).config.problem.lost == ()


def test_a_graph_that_would_fall_apart_ends_the_run(tmp_path):
    run = Watched(tmp_path, "continue", graph="path")
    run.watch.report(18)
    outcome = died()
    outcome.victim = 1
    assert run.watch.after(outcome) is None
    assert "the path graph falls apart" in outcome.sentences[1]
    assert outcome.sentences[1].endswith(
        f"With all agents it goes on by: distopt resume {run.folder}"
    )


def test_a_resumed_run_keeps_its_kind(tmp_path):
    run = Watched(tmp_path, resume=True)
    job = ResumeJob(cases=(run.watch.after(died()),), force=True)
    assert read_job(job.write(tmp_path)).cases[0].failures[0].reason == "Rank 2 was ended."


@pytest.mark.parametrize(("host", "stays"), [("elsewhere", False), ("other", True)])
def test_a_lock_of_the_job_is_removed_on_another_host_too(host, stays, tmp_path):
    owner = {"host": host, "pid": 7, "started": 1.0, "since": "long ago"}
    (tmp_path / NAME).write_text(json.dumps(owner))
    free_lock(tmp_path, ("elsewhere", 7))
    assert (tmp_path / NAME).exists() is stays


def test_a_process_that_still_ends_is_waited_for(tmp_path, monkeypatch):
    me = psutil.Process()
    owner = {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time()}
    (tmp_path / NAME).write_text(json.dumps(owner | {"since": "now"}))
    monkeypatch.setattr("distopt.record.lock.LEAVE_SECONDS", 0.2)
    free_lock(tmp_path, (socket.gethostname(), me.pid))
    assert (tmp_path / NAME).exists()  # it lives, so its folder stays its own
