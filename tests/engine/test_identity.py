"""A resumed run is the run that it was, or it says what has changed."""

import json
import re
import shutil
import tomllib

import h5py
import numpy as np
import pytest
import tomli_w
from run_table import configure

import distopt
from distopt.config.build import load_config, make_config
from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.identity import Identity
from distopt.engine.run import resume, run
from distopt.mpirun.jobfile import Case, RunJob, read_job

COST = """
import numpy as np
class Cost:
    dimension, smoothness = 3, 1.0
    def __init__(self, agent): self.target = agent + {shift}
    def value(self, x): return 0.5 * float(np.sum((x - self.target) ** 2))
    def gradient(self, x, out): np.subtract(x, self.target, out=out)
def make_cost(agent, agents): return Cost(agent)
"""


@pytest.fixture
def out(tmp_path):
    """Return the folder of a run of 10 iterations."""
    config = configure("cgt1", "quantize", iterations=10, checkpoint_every=5)
    run(config, engine="simulate", out=tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def files(tmp_path):
    """Return the folder of a run whose cost, edges and start are files beside it."""
    (tmp_path / "cost.py").write_text(COST.format(shift=0))
    (tmp_path / "edges.txt").write_text("0 1\n1 2\n2 3\n3 0\n")
    np.save(tmp_path / "start.npy", np.ones(3))
    tables = {
        "problem": {"name": "python", "file": "cost.py", "start": "start.npy", "agents": 4},
        "topology": {"file": "edges.txt"},
        "algorithm": {"name": "gt", "eta": 0.1},
        "run": {"iterations": 10},
    }
    run(make_config(tables, tmp_path), engine="simulate", out=tmp_path / "run")
    return tmp_path


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(out, sentence):
    """Resume, which must fail with a sentence and change nothing; then force it, which is recorded."""
    before = content(out)
    with pytest.raises(
        CheckpointError, match=f"belongs to another configuration: {sentence}.*--force"
    ):
        resume(out, engine="simulate", iterations=20)
    assert content(out) == before
    result = resume(out, engine="simulate", iterations=20, force=True)
    assert result.summary["iterations"] == 20
    assert any(re.search(sentence, warning) for warning in result.warnings)
    with h5py.File(out / "metrics.h5", "r") as file:
        assert re.search(sentence, file["meta"].attrs["forced"])
    resume(out, engine="simulate", iterations=21)  # it is the forced run now


EDITS = {
    "algorithm.eta": 0.02,
    "run.seed": 6,
    "compressor.bits": 4,
    "run.record_every": 5,
    "problem.seed": 1,
}


@pytest.mark.parametrize("key", EDITS)
def test_edited_config(key, out):
    tables = tomllib.loads((out / "config.toml").read_text())
    section, name = key.split(".")
    was, tables[section][name] = tables[section].get(name), EDITS[key]
    (out / "config.toml").write_text(tomli_w.dumps(tables))
    assert_refused(out, re.escape(f"{key} ({was} in the run, {EDITS[key]} wanted)"))


def test_what_is_free_may_be_edited(out):
    tables = tomllib.loads((out / "config.toml").read_text())
    tables["run"] |= {"iterations": 20, "keep": 3, "checkpoint_every": 7, "timeout": 5.0}
    (out / "config.toml").write_text(tomli_w.dumps(tables))
    result = resume(out, engine="simulate")
    assert result.summary["iterations"] == 20
    assert not result.warnings


@pytest.mark.parametrize("part", ["checkpoints", "metrics.h5"])
def test_part_of_another_run(part, out, tmp_path):
    other = tmp_path / "other"
    run(configure("cgt1", "quantize", iterations=10, seed=9), engine="simulate", out=other)
    if part == "checkpoints":
        shutil.rmtree(out / part)
        shutil.copytree(other / part, out / part)
    else:
        shutil.copy(other / part, out / part)
    assert_refused(out, r"run\.seed \(9 in the run, 5 wanted\)")


def test_changed_cost_file(files):
    (files / "cost.py").write_text(COST.format(shift=1))
    assert_refused(
        files / "run",
        rf"the file {files}/cost\.py \(problem\.file\) has changed",
    )


def test_changed_start_file(files):
    np.save(files / "start.npy", np.zeros(3))
    assert_refused(files / "run", rf"the file {files}/start\.npy \(problem\.start\) has changed")


def test_changed_edges(files):
    (files / "edges.txt").write_text("0 1\n1 2\n2 3\n")
    assert_refused(files / "run", "the graph has changed")


def test_moved_files_are_the_same(files):
    """Neither the place of a file counts nor how a list of edges is written."""
    (files / "new").mkdir()
    for name in ("cost.py", "start.npy"):
        (files / name).rename(files / "new" / name)
    (files / "edges.txt").unlink()
    (files / "new" / "edges.txt").write_text("# a ring\n0 3\n2 3\n1 2\n0 1\n")
    tables = tomllib.loads((files / "run" / "config.toml").read_text())
    tables["problem"] |= {"file": str(files / "new" / "cost.py"), "start": "../new/start.npy"}
    tables["topology"]["file"] = "../new/edges.txt"
    (files / "run" / "config.toml").write_text(tomli_w.dumps(tables))
    assert resume(files / "run", engine="simulate", iterations=20).summary["iterations"] == 20


class Parabola:
    def __init__(self, target, dimension=2, smoothness=1.0):
        self.target, self.dimension, self.smoothness = target, dimension, smoothness

    def value(self, x):
        return 0.5 * float(np.sum((x - self.target) ** 2))

    def gradient(self, x, out):
        np.subtract(x, self.target, out=out)


def simulate(out, targets=(0, 1, 2, 3), dimension=2, smoothness=1.0, **changes):
    costs = [Parabola(target, dimension, smoothness) for target in targets]
    given = {
        "algorithm": distopt.CompressedTracking1(eta=0.1, gamma=0.5, alpha=1.0),
        "compressor": distopt.Quantize(bits=4),
        "iterations": 10,
    }
    return distopt.simulate(costs, out=out, **given | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"targets": (0, 1, 5, 3)},
            r"the cost of agent 2 at its start \(4\.0 in the run, 25\.0 wanted\)",
        ),
        ({"dimension": 3}, r"dimension \(2 in the run, 3 wanted\)"),
        ({"smoothness": 2.0}, r"smoothness \(1\.0 in the run, 2\.0 wanted\)"),
        ({"topology": "complete"}, r"topology\.graph \('ring' in the run, 'complete' wanted\)"),
        (
            {"topology": distopt.Topology(4, [(0, 1), (1, 2), (2, 3)], "ring")},
            "the graph has changed",
        ),
        (
            {"algorithm": distopt.CompressedTracking1(eta=0.2, gamma=0.5, alpha=1.0)},
            r"algorithm\.eta \(0\.1 in the run, 0\.2 wanted\)",
        ),
        ({"compressor": distopt.Quantize(bits=3)}, r"compressor\.bits \(4 in the run, 3 wanted\)"),
        ({"seed": 8}, r"run\.seed \(0 in the run, 8 wanted\)"),
        ({"x0": np.ones(2)}, r"the cost of agent 0 at its start"),
    ],
)
def test_other_python_objects(changes, sentence, tmp_path):
    out = tmp_path / "run"
    simulate(out)
    before = content(out)
    again = {"iterations": 20, "resume": True} | changes
    with pytest.raises(CheckpointError, match=sentence):
        simulate(out, **again)
    assert content(out) == before
    if not {"dimension", "topology"} & set(changes):  # a state of another size cannot be loaded
        assert simulate(out, force=True, **again).summary["iterations"] == 20
    assert simulate(tmp_path / "new", **changes).summary["iterations"] == 10


def test_automatic_numbers_are_those_of_the_start(tmp_path):
    """From Python the same "auto" comes again; config.toml holds its number."""
    method = {"algorithm": distopt.CompressedTracking2(), "compressor": distopt.Uniform()}
    simulate(tmp_path, **method)
    assert simulate(tmp_path, iterations=20, resume=True, **method).summary["iterations"] == 20
    assert simulate(tmp_path, iterations=30, resume=True, **method).summary["iterations"] == 30


def test_it_stands_in_manifest_record_and_job(out):
    config = load_config(out / "config.toml")
    job = RunJob(cases=(Case(folder=out, config=config),), overwrite=False)
    path = job.write(out)
    manifest = json.loads((out / "checkpoints" / "000010" / "manifest.json").read_text())
    with h5py.File(out / "metrics.h5", "r") as file:
        assert json.loads(file["meta"].attrs["identity"]) == manifest["identity"]
        assert file["meta"].attrs["forced"] == ""
    # That of a job leaves out the dimension, which is of a rank's own cost.
    identity = Identity(config)
    assert identity.hash == manifest["identity"]["hash"]
    assert read_job(path).cases[0].identity == identity.hash_without("dimension")


def test_job_whose_files_have_changed(files):
    config = load_config(files / "run" / "config.toml")
    path = RunJob(cases=(Case(folder=files / "run", config=config),), overwrite=True).write(files)
    read_job(path)
    (files / "cost.py").write_text(COST.format(shift=2))
    with pytest.raises(ConfigError, match=r"files on host .* are not those with which this job"):
        read_job(path)


def test_run_of_an_earlier_version_goes_on_with_a_warning(out):
    for path in out.glob("checkpoints/*/manifest.json"):
        manifest = json.loads(path.read_text())
        keys = ("format", "iteration", "shards")
        path.write_text(json.dumps({key: manifest[key] for key in keys}))
    with h5py.File(out / "metrics.h5", "r+") as file:
        del file["meta"].attrs["identity"], file["meta"].attrs["forced"]
    result = resume(out, engine="simulate", iterations=20)
    assert any("nothing could be compared" in warning for warning in result.warnings)
    assert not resume(out, engine="simulate", iterations=30).warnings
