"""A run that was stopped and resumed is the run that was not: states, records, counters, to the bit."""

import errno
import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
from run_table import assert_equal_states, comparable, configure, mark_rest, play, states

from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.folder import make_folder
from distopt.engine.run import resume, run
from distopt.record import checkpoint
from distopt.record.metrics import read_metrics

ITERATIONS = 60
# Seconds of the agents; and agents ask each other by the clock whether to save.
CLOCKS = {"agent_gradient", "agent_encoding", "agent_mixing", "diagnostics_nbytes"}


def shards(run_dir):
    """Read the newest checkpoint with h5py alone: arrays of all agents, and the saved numbers."""
    place = max((run_dir / "checkpoints").iterdir(), key=lambda p: int(p.name))
    arrays, numbers = {}, {}
    for path in sorted(place.glob("rank-*.h5")):
        with h5py.File(path, "r") as file:
            arrays[path.name] = {name: data[()] for name, data in file.items()}
            numbers[path.name] = {
                k: v for k, v in file.attrs.items() if "seconds" not in k and k not in CLOCKS
            }
    return int(place.name), arrays, numbers


def assert_equal_runs(found, wanted):
    """Compare what two run directories hold, clocks excepted."""
    iteration, arrays, numbers = shards(found)
    assert (iteration, numbers) == (shards(wanted)[0], shards(wanted)[2])
    assert_equal_states(arrays, shards(wanted)[1])
    one, other = (read_metrics(place / "metrics.h5") for place in (found, wanted))
    assert list(one.series) == list(other.series)
    assert comparable(one.rows()) == comparable(other.rows())
    assert one.matrix.tobytes() == other.matrix.tobytes()
    assert one.meta | {"config": ""} == other.meta | {"config": ""}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function that gives the uninterrupted run of a pair, made once."""
    made = {}

    def make(algorithm, message):
        if (algorithm, message) not in made:
            folder = tmp_path_factory.mktemp("whole") / "run"
            run(configure(algorithm, message, iterations=ITERATIONS), engine="simulate", out=folder)
            made[algorithm, message] = folder
        return made[algorithm, message]

    return make


EVERYWHERE = [("cgt1", "quantize-dithered"), ("cgt3", "one_bit"), ("lead", "rand_k")]


@pytest.mark.parametrize(
    ("algorithm", "message", "at"),
    mark_rest(pytest.mark.slow, 29)
    + [(*pair, at) for pair in EVERYWHERE[:1] for at in (1, 14, 59)],
)
def test_restart_equals_no_restart(algorithm, message, at, whole, tmp_path):
    out = tmp_path / "run"
    run(configure(algorithm, message, iterations=at), engine="simulate", out=out)
    result = resume(out, engine="simulate", iterations=ITERATIONS)
    assert result.summary["iterations"] == ITERATIONS
    assert_equal_runs(out, whole(algorithm, message))


def test_resume_many_times(whole, tmp_path):
    out = tmp_path / "run"
    run(configure("cgt3", "saturating", iterations=7), engine="simulate", out=out)
    for iterations in (14, 22, 23, 42, ITERATIONS):
        resume(out, engine="simulate", iterations=iterations)
    assert_equal_runs(out, whole("cgt3", "saturating"))


def test_resume_from_a_checkpoint_on_the_way(whole, tmp_path):
    """After a crash the newest checkpoint is older than the last record: rows in between are made again."""
    out = tmp_path / "run"
    config = configure("cgt1", "rand_k", iterations=ITERATIONS, checkpoint_every=10, keep=3)
    run(config, engine="simulate", out=out)
    for name in ("000060", "000050"):
        shutil.rmtree(out / "checkpoints" / name)
    resume(out, engine="simulate")
    assert_equal_runs(out, whole("cgt1", "rand_k"))


def test_nothing_left_to_do(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole("gt", "identity"), out)
    result = resume(out, engine="simulate")
    assert result.summary["iterations"] == ITERATIONS
    assert_equal_runs(out, whole("gt", "identity"))


def test_iterations_extend_and_config_says_so(tmp_path):
    out = tmp_path / "run"
    run(configure("dgd", "identity", iterations=20), engine="simulate", out=out)
    resume(out, engine="simulate", iterations=30)
    assert tomllib.loads((out / "config.toml").read_text())["run"]["iterations"] == 30
    result = resume(out, engine="simulate")
    assert result.summary["iterations"] == 30


def test_another_configuration_is_refused_by_key(tmp_path):
    out = tmp_path / "run"
    run(configure("cgt1", "quantize", iterations=10), engine="simulate", out=out)
    before = (out / "metrics.h5").read_bytes()
    with pytest.raises(CheckpointError, match=r"algorithm\.eta \(0\.01 in the run, 0\.02 wanted\)"):
        resume(out, engine="simulate", settings=["algorithm.eta=0.02"])
    with pytest.raises(
        CheckpointError, match=r"run\.seed .*compressor\.bits|compressor\.bits .*run\.seed"
    ):
        resume(out, engine="simulate", settings=["run.seed=6", "compressor.bits=4"])
    assert (out / "metrics.h5").read_bytes() == before
    resume(out, engine="simulate", settings=["run.checkpoint_every=3", "run.iterations=15"])


def test_folder_that_holds_a_run_is_refused_or_replaced(tmp_path):
    out = tmp_path / "run"
    config = configure("cgt1", "quantize", iterations=20, checkpoint_every=5)
    run(config, engine="simulate", out=out)
    with pytest.raises(ConfigError, match="already holds a run; continue it with `distopt resume"):
        run(config, engine="simulate", out=out)
    (out / "notes.txt").write_text("mine")
    run(configure("gt", "identity", iterations=5), engine="simulate", out=out, overwrite=True)
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["000005"]
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        make_folder(out / "notes.txt")


@pytest.mark.parametrize("gone", [0, 1])
def test_a_run_that_cannot_be_replaced_is_named(gone, tmp_path, monkeypatch):
    """The folder became read-only before or after its checkpoints were removed."""
    out = tmp_path / "run"
    config = configure("gt", "identity", iterations=5)
    run(config, engine="simulate", out=out)

    def refuse(path, *more, **how):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(*((Path, "unlink") if gone else (shutil, "rmtree")), refuse)
    place = out / ("metrics.h5" if gone else "checkpoints")
    told = f"The run in {out} cannot be replaced: {place}: Read-only file system."
    with pytest.raises(ConfigError, match=re.escape(told)):
        run(config, engine="simulate", out=out, overwrite=True)


def test_no_run_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"not a run directory: it has no config\.toml"):
        resume(tmp_path, engine="simulate")
    out = tmp_path / "run"
    run(configure("gt", "identity", iterations=5), engine="simulate", out=out)
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(CheckpointError, match="There is no valid checkpoint"):
        resume(out, engine="simulate")


def test_keep(tmp_path):
    out = tmp_path / "run"
    config = configure("cgt1", "quantize", iterations=33, checkpoint_every=5, keep=3)
    run(config, engine="simulate", out=out)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["000025", "000030", "000033"]


def damage_flip(place):
    path = place / "rank-0002.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_truncate(place):
    path = place / "rank-0001.h5"
    path.write_bytes(path.read_bytes()[:-1])


def damage_shard(place):
    (place / "rank-0003.h5").unlink()


def damage_manifest(place):
    (place / "manifest.json").unlink()


def damage_manifest_text(place):
    text = (place / "manifest.json").read_text()
    (place / "manifest.json").write_text(text[: len(text) // 2])


def damage_format(place):
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))


def damage_agents(place):
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["shards"].pop("rank-0000.h5")
    del (
        manifest["sha256"],
        manifest["identity"],
        manifest["records"],
    )  # as the first version wrote it
    (place / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    damage_flip: r"rank-0002\.h5 does not match its checksum",
    damage_truncate: r"rank-0001\.h5 does not match its checksum",
    damage_shard: r"rank-0003\.h5 is missing",
    damage_manifest: r"manifest\.json is missing or damaged",
    damage_manifest_text: r"manifest\.json is missing or damaged",
    damage_format: "it has format 99, this version reads 1",
    damage_agents: "it holds 3 agents, the run has 4",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_passed_over_or_refused(damage, whole, tmp_path):
    out = tmp_path / "run"
    config = configure("cgt1", "quantize-dithered", iterations=28, checkpoint_every=14)
    run(config, engine="simulate", out=out)
    damage(out / "checkpoints" / "000028")
    place, done, sentences, *_ = checkpoint.latest(out / "checkpoints", 4)
    assert (place.name, done) == ("000014", 14)
    assert len(sentences) == 1
    shutil.copytree(out, tmp_path / "both")
    result = resume(out, engine="simulate", iterations=ITERATIONS)
    assert any("000028 is not usable" in warning for warning in result.warnings)
    assert_equal_states(shards(out)[1], shards(whole("cgt1", "quantize-dithered"))[1])
    damage(tmp_path / "both" / "checkpoints" / "000014")
    with pytest.raises(CheckpointError, match=f"no valid checkpoint.*000028.*{DAMAGES[damage]}"):
        resume(tmp_path / "both", engine="simulate", iterations=ITERATIONS)


def test_checkpoint_of_another_shape_is_refused(tmp_path):
    """Valid by its checksums, but made by another algorithm: refused before anything is loaded."""
    out, other = tmp_path / "run", tmp_path / "other"
    run(configure("cgt1", "quantize", iterations=10), engine="simulate", out=out)
    run(configure("lead", "quantize", iterations=10), engine="simulate", out=other)
    shutil.rmtree(out / "checkpoints")
    shutil.copytree(other / "checkpoints", out / "checkpoints")
    with pytest.raises(CheckpointError, match="belongs to another configuration"):
        resume(out, engine="simulate", iterations=20)


def test_checkpoint_holds_all_that_is_kept(tmp_path):
    team, _ = play(configure("cgt3", "saturating", iterations=10), out=tmp_path / "run")
    _, arrays, numbers = shards(tmp_path / "run")
    for agent, kept in states(team).items():
        assert set(arrays[f"rank-{agent:04d}.h5"]) == set(kept)
    total = {
        name: sum(n.get(name, 0) for n in numbers.values()) for name in numbers["rank-0000.h5"]
    }
    assert total["nbytes"] == team.transport.traffic.nbytes
    assert total["messages"] == team.transport.traffic.messages


def test_stops_when_stationary(tmp_path):
    out = tmp_path / "run"
    config = configure("gt", "identity", iterations=5000, stop={"stationarity": 1e-6})
    result = run(config, engine="simulate", out=out)
    assert result.summary["stop_reason"] == "stop.stationarity"
    assert result.summary["stationarity"] <= 1e-6
    assert 0 < result.summary["iterations"] < 5000
    assert result.summary["iterations"] % 7 == 0
    again = resume(out, engine="simulate")  # there is nothing to do: the test holds already
    assert again.summary["iterations"] == result.summary["iterations"]


def test_stops_after_seconds_with_a_checkpoint_and_a_hint(tmp_path):
    out = tmp_path / "run"
    config = configure("gt", "identity", iterations=10**7, record_every=1000, stop={"seconds": 0.3})
    result = run(config, engine="simulate", out=out)
    assert result.summary["stop_reason"] == "stop.seconds"
    assert f"distopt resume {out}" in result.resume_hint
    with h5py.File(out / "metrics.h5", "r") as file:
        assert file["meta"].attrs["status"] == "stopped"
    assert shards(out)[0] == result.summary["iterations"]
    assert np.isfinite(result.summary["stationarity"])
