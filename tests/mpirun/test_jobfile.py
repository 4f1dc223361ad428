"""Job files: what is written is what ranks read, and what cannot be read is refused with a sentence."""

import hashlib
import json
from math import inf
from pathlib import Path

import pytest
from run_table import configure, mark_rest

from distopt.cli.options import How
from distopt.cli.start import starter
from distopt.config.build import make_config
from distopt.core.errors import ConfigError
from distopt.engine.identity import Identity
from distopt.mpirun import jobfile
from distopt.mpirun.jobfile import (
    Case,
    ResumeJob,
    RunJob,
    SuiteJob,
    SweepJob,
    Timing,
    TimingJob,
    read_job,
)


def case(**keys):
    return Case(label="a", seed=3, folder=Path("runs/a"), config=configure(**keys))


def jobs():
    one = (case(),)
    timings = (Timing(case=0, link="1gbit", round=1), Timing(case=0, link=None, round=2))
    return [
        RunJob(cases=one, overwrite=True, debug=True),
        ResumeJob(cases=one),
        SuiteJob(cases=(case(), case(iterations=7))),
        TimingJob(
            cases=one, timings=timings, accuracies=(1e-3,), seconds=2.5, interfaces=("eth0",)
        ),
        SweepJob(sweep={"network": []}, out=Path("out"), overwrite=False, ranks=3),
    ]


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job.kind)
def test_what_is_written_is_read(job, tmp_path):
    path = job.write(tmp_path / "new")
    again = read_job(path)
    assert type(again) is type(job)
    assert again.model_dump_json() == job.model_dump_json()
    assert again.ranks == job.ranks
    json.loads(path.read_text(), parse_constant=pytest.fail)  # strict JSON: no infinity


def test_ranks_refuse_a_job_that_another_command_has_replaced(tmp_path):
    ours, other = RunJob(cases=(case(),), overwrite=False), ResumeJob(cases=(case(),))
    command = starter(How([]))(ours, tmp_path)
    path = tmp_path / "job.json"
    assert command[-2:] == [str(path), hashlib.sha256(path.read_bytes()).hexdigest()]
    assert read_job(path, command[-1]).kind == "run"
    other.write(tmp_path)
    with pytest.raises(ConfigError, match=r"job\.json is not the job that this command wrote"):
        read_job(path, command[-1])


@pytest.mark.parametrize(("algorithm", "compressor"), mark_rest(pytest.mark.slow))
def test_every_configuration_survives(algorithm, compressor, tmp_path):
    config = configure(algorithm, compressor)
    job = RunJob(cases=(Case(folder=tmp_path, config=config),), overwrite=False)
    (again,) = read_job(job.write(tmp_path)).cases
    assert again.config.resolved() == config.resolved()
    assert again.config.run.stop.seconds == inf


def test_a_case_is_hashed_once(monkeypatch):
    made = []
    monkeypatch.setattr(jobfile, "Identity", lambda config: made.append(config) or Identity(config))
    one = case()
    assert len(made) == 1
    assert one.identity == Identity(one.config).hash_without("dimension")


def test_relative_files_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "edges.txt").write_text("0 1\n1 2\n2 3\n3 0\n")
    tables = configure().resolved() | {"topology": {"file": "edges.txt"}}
    config = make_config(tables, Path("data"))
    path = RunJob(cases=(Case(folder=tmp_path, config=config),), overwrite=False).write(tmp_path)
    monkeypatch.chdir("/")
    assert read_job(path).ranks == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not a job file"),
        ("[]", "has format None; this version reads format 1"),
        ('{"format": 2, "kind": "run"}', "has format 2; this version reads format 1"),
        ('{"format": 1, "kind": "dance"}', "is not a job file: .*kind"),
        ('{"format": 1, "kind": "resume", "cases": [], "more": 1}', "is not a job file: .*more"),
    ],
)
def test_other_files_are_refused(text, sentence, tmp_path):
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_job(path)


def test_a_file_that_a_host_does_not_see_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none/job\.json cannot be read: .*All hosts"):
        read_job(tmp_path / "none" / "job.json")


def test_cases_of_different_sizes_cannot_share_ranks():
    job = SuiteJob(cases=(case(), case(agents=3)))
    with pytest.raises(ConfigError, match=r"different numbers of agents \(\[3, 4\]\)"):
        job.ranks  # noqa: B018


def test_a_dimension_that_differs_on_a_rank_is_left_to_the_survey(tmp_path, monkeypatch):
    """Its sentence names the agent; the files are the same."""
    (tmp_path / "cost.py").write_text(
        "import os\n"
        "class Cost:\n"
        "    def __init__(self): self.dimension = 3 + int(os.environ.get('OTHER', 0))\n"
        "    def value(self, x): return 0.0\n"
        "    def gradient(self, x, out): out[:] = 0\n"
        "def make_cost(agent, agents): return Cost()\n"
    )
    config = make_config({"problem": {"name": "python", "file": "cost.py", "agents": 2}}, tmp_path)
    job = RunJob(cases=(Case(folder=tmp_path, config=config),), overwrite=False)
    path = job.write(tmp_path)
    dimensions = [config.problem.dimension]
    monkeypatch.setenv("OTHER", "1")
    dimensions.append(read_job(path).cases[0].config.problem.dimension)
    assert dimensions == [3, 4]
