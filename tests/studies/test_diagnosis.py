"""distopt diagnose: the same numbers from a configuration, along a run and from its checkpoints."""

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from distopt.cli.app import app
from distopt.config.build import load_config
from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.run import run
from distopt.record.reader import load
from distopt.studies.diagnosis import (
    QUANTITIES,
    Request,
    diagnose_along,
    diagnose_run,
    diagnose_start,
)
from distopt.theory.pl_star import curvature_bound, diagnose, tangent_kernel

CONFIG = """
[problem]
name = "lista"
agents = 2
m = 6
n = 3
layers = 3
samples = 4
[algorithm]
name = "cgt1"
eta = 1.0
gamma = 0.5
alpha = 1.0
[compressor]
name = "blockwise"
[run]
iterations = 30
record_every = 1
"""
FEW = Request(held_out=20, outputs=3)
PNG = b"\x89PNG"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(CONFIG)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


def test_the_start_is_measured_on_all_samples(config):
    found = diagnose_start(load_config(config), FEW)
    cost = load_config(config).problem.family.cost(0, 1, 0)
    expected = diagnose(cost, cost.start, outputs=3)
    (row,) = found.rows
    assert row["kernel_smallest"] == expected.kernel.smallest
    assert row["loss_curvature"] == expected.loss_curvature.value
    assert row["curvature_bound"] == expected.curvature_bound
    assert row["moved"] == 0.0
    assert found.to_json()["problem"]["samples"] == cost.samples == 4
    np.testing.assert_array_equal(
        found.spectrum, np.linalg.eigvalsh(tangent_kernel(cost, cost.start))
    )
    assert found.pictures["training, target"].tobytes() == cost.X.tobytes()


def test_the_explicit_bound_is_that_of_the_ball_asked_for(config):
    loaded = load_config(config)
    cost = loaded.problem.family.cost(0, 1, 0)
    (row,) = diagnose_start(loaded, Request(20, 2, radius=3.0)).rows
    assert row["curvature_bound"] == curvature_bound(cost, cost.start, 3.0)
    assert row["curvature_bound"] > curvature_bound(cost, cost.start)


def test_along_a_run_and_from_its_checkpoints(config, tmp_path):
    """Both see the same models, to the bit, so all numbers are equal."""
    along = diagnose_along(load_config(config), [10, 0, 30], tmp_path / "along", FEW)
    assert along.series("iteration").tolist() == [0, 10, 30]
    loaded = load_config(config, ["run.checkpoint_every=10", "run.keep=9"])
    run(loaded, engine="simulate", out=tmp_path / "run")
    later = diagnose_run(tmp_path / "run", FEW)
    assert later.series("iteration").tolist() == [0, 10, 20, 30]
    assert [later.rows[k] for k in (0, 1, 3)] == along.rows
    history = load(tmp_path / "run")
    np.testing.assert_allclose(along.curve[1], history["nmse"], rtol=1e-12)  # parts of equal size
    assert along.rows[-1]["nmse"] == pytest.approx(history.last("nmse"), rel=1e-12)
    for row in later.rows:
        assert row["kernel_smallest"] <= row["pl_ratio"] <= row["kernel_largest"]
        assert row["sample_curvature"] >= row["output_curvature"] > 0
    moved = later.series("moved")
    assert moved[0] == 0 < moved[1] < moved[3]
    mu = later.series("kernel_smallest").min() / 4
    assert later.rate == mu
    assert later.eta == 1.0
    at = np.array([0.0, 7.0])
    np.testing.assert_allclose(later.bound(at), later.rows[0]["nmse"] * np.exp(-mu * at))


def test_a_stopping_test_ends_the_points(config, tmp_path):
    loaded = load_config(config, ["run.stop.nmse=0.95", "run.iterations=400"])
    found = diagnose_along(loaded, [1, 300, 400], tmp_path, FEW)
    iterations = found.series("iteration").tolist()
    assert iterations[:2] == [0, 1]
    assert len(iterations) == 3
    assert iterations[2] < 300


def test_the_command_writes_numbers_and_figures(config, tmp_path):
    done = invoke(
        config, "--at", 5, "--at", 20, "--out", tmp_path / "out", "--held-out", 20, "--json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert [point["iteration"] for point in told["points"]] == [0, 5, 20]
    with h5py.File(tmp_path / "out" / "diagnosis.h5", "r") as file:
        assert set(file["points"]) == set(QUANTITIES)
        assert file["points/moved"].attrs["description"] == "||w - w0||_2"
        assert file["points/nmse"][-1] == told["points"][-1]["nmse"]
        assert file["curve/nmse"].shape == (21,)
        assert "[problem]" in file.attrs["config"]
    for name in ("diagnosis.png", "recovered.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(PNG)
    assert str(tmp_path / "out" / "diagnosis.h5") in told["files"]


@pytest.mark.parametrize(
    ("settings", "null"),
    [
        (["problem.learn_threshold=true"], True),
        (["problem.name=ffnn"], False),
        (["problem.data=patches", "problem.m=9"], False),
    ],
)
def test_every_kind_of_network_is_drawn(config, tmp_path, settings, null):
    """Thresholds that are learned have no explicit bound; patches are drawn as pictures."""
    chosen = [part for setting in settings for part in ("--set", setting)]
    done = invoke(config, "--out", tmp_path, "--held-out", 20, "--json", *chosen)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["points"][0]["curvature_bound"] is None) == null
    assert (tmp_path / "recovered.png").stat().st_size > 5000


def test_the_table_says_what_to_make_of_it(config, tmp_path):
    done = invoke(config, "--at", 20, "--out", tmp_path, "--held-out", 20)
    assert "eigenvalue of K" in done.output
    assert "The sufficient condition does not hold at the start" in done.output
    assert "is exceeded at" in done.output
    table = invoke(config, "--out", tmp_path, "--held-out", 20, "--format", "csv").stdout
    assert table.startswith("iteration,nmse,nmse_held_out,")
    assert len(table.splitlines()) == 2


def test_what_cannot_be_measured_is_refused(config, tmp_path):
    loaded = load_config(config)
    with pytest.raises(ConfigError, match=r"--at 31 is not within the run; accepted: 0 to 30"):
        diagnose_along(loaded, [31], tmp_path / "a", FEW)
    assert not (tmp_path / "a").exists()
    pl = tmp_path / "pl.toml"
    pl.write_text(
        '[problem]\nname = "pl"\nagents = 2\n[algorithm]\nname = "gt"\neta = 0.01\ngamma = 0.5\n'
    )
    done = invoke(pl, "--out", tmp_path / "b")
    assert done.exit_code == 1
    assert 'problem.name = "pl" is not a network' in done.stderr
    with pytest.raises(CheckpointError, match=r"is not a run directory"):
        diagnose_run(tmp_path, FEW)
    run(loaded, engine="simulate", out=tmp_path / "run")
    done = invoke(tmp_path / "run", "--at", 3)
    assert done.exit_code == 1
    assert "--at and --set need a CONFIG" in done.stderr
    for shard in (tmp_path / "run" / "checkpoints" / "000030").glob("rank*"):
        shard.unlink()
    with pytest.raises(CheckpointError, match=r"holds no checkpoint to measure"):
        diagnose_run(tmp_path / "run", FEW)
