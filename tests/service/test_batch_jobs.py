"""A scheduler that answers, does not, or answers nonsense; one that is real is in tests/launch."""

import json
import os
import stat

import pytest

from distopt.service.backend import LOG
from distopt.service.runner import claim, claim_file, end_file
from distopt.service.slurm import Slurm, name_of

RUNNER = {"host": "node7", "pid": 12, "started": 1.0}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data" / "jobs" / "7-demo" / ".service"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A backend, and a function that sets what a command of Slurm does from then on."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def answers(command, script):
        path = place / command
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    answers("scancel", f'echo "$@" >>{tmp_path}/cancelled')
    backend = Slurm(["--partition=long"])
    monkeypatch.setattr("distopt.service.slurm.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("distopt.service.slurm.GONE_SECONDS", 0.0)
    return backend, answers


def test_a_batch_job_from_its_submission_to_its_end(slurm, folder, tmp_path):
    backend, answers = slurm
    answers("sbatch", f'echo "$@" >{tmp_path}/asked; cat >{tmp_path}/script; echo 42')
    backend.start(folder, 1, ["echo", "two words"], tmp_path, 4)
    asked = (tmp_path / "asked").read_text()
    assert "--ntasks=4" in asked
    assert asked.strip().endswith("--partition=long")
    assert (tmp_path / "script").read_text().strip().endswith(f"{folder} 1 echo 'two words'")
    name = name_of(folder, 1)
    answers("squeue", f"echo '41|RUNNING|n1|another'; echo '42|PENDING|(Nodes are DOWN)|{name}'")
    seen = backend.look(folder, 1)
    assert (seen.what, seen.said) == ("starting", "Slurm job 42 waits: Nodes are DOWN.")
    backend.stop(folder, 1)
    assert claim(folder, 1, RUNNER)
    answers("squeue", f"echo '42|RUNNING|n[1-2]|{name}'")
    assert backend.look(folder, 1)[::2] == ("running", "Slurm job 42 on n[1-2].")
    backend.stop(folder, 1)
    said = (tmp_path / "cancelled").read_text().splitlines()
    assert said == ["42", "--batch --signal=TERM 42"]
    end_file(folder, 1).write_text(json.dumps({"code": 3}))
    assert backend.look(folder, 1)[:2] == ("ended", 3)


def test_one_that_ends_without_a_word_is_lost_and_leaves_no_lock(slurm, folder):
    backend, answers = slurm
    run = folder.parent
    (run / "metrics.h5").touch()
    (run / "run.lock").write_text(json.dumps(RUNNER))
    assert claim(folder, 1, RUNNER)
    answers("squeue", f"echo '42|NODE_FAIL|n1|{name_of(folder, 1)}'")
    assert backend.look(folder, 1).what == "lost"
    assert not (run / "run.lock").exists()


def test_one_that_is_gone_before_it_began_never_will(slurm, folder):
    backend, answers = slurm
    answers("squeue", "true")
    assert backend.look(folder, 1).what == "void"
    assert json.loads(claim_file(folder, 1).read_text())["pid"] == 0
    assert not claim(folder, 1, RUNNER)  # a batch job that still comes ends at once


@pytest.mark.parametrize("script", ["echo nonsense", "echo 'no controller' >&2; exit 1"])
def test_a_scheduler_that_does_not_answer_decides_nothing(script, slurm, folder):
    backend, answers = slurm
    answers("squeue", script)
    assert claim(folder, 1, RUNNER)
    seen = backend.look(folder, 1)
    assert seen.what == "unknown"
    assert seen.said.startswith("Slurm does not answer")
    backend.stop(folder, 1)


def test_what_sbatch_refuses_stands_in_the_log(slurm, folder, tmp_path):
    backend, answers = slurm
    answers("sbatch", "echo 'error: invalid partition specified: long' >&2; exit 1")
    backend.start(folder, 1, ["true"], tmp_path, 1)
    assert "did not take the job: error: invalid partition" in (folder / LOG).read_text()
