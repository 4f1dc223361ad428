"""A run that loses an agent: the others go on from the checkpoint, and their method's invariant holds."""

import json
import shutil
import tomllib

import numpy as np
import pytest
from run_table import PARAMETERS, SAMPLE, configure, states
from test_resume import shards

from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.audit import Audit
from distopt.engine.run import resume, resumed_config, run
from distopt.engine.team import prepare
from distopt.record import checkpoint
from distopt.record.metrics import read_metrics
from distopt.record.reader import load
from distopt.show.report import notes
from distopt.transport.local import LocalTransport

AT, END = 30, 60
REFUSED = {"gt-fixed": "[arithmetic]", "cgt3-fixed": "[arithmetic]", "fixed_point_gd": "its tree"}
LOST = ["problem.lost=[1]"]


def whole(folder, algorithm="cgt1", message="quantize-dithered", **settings):
    run(configure(algorithm, message, iterations=AT, **settings), engine="simulate", out=folder)
    return folder


def left(folder, settings=LOST):
    """Return the team that goes on, before its first iteration."""
    config = resumed_config(folder, None, settings)
    saved = checkpoint.latest(folder / "checkpoints", config.problem.total)
    return prepare(config, LocalTransport(config.problem.topology), saved)


def one_of_each():
    """Give one pair of each algorithm to the normal tier, and one of each row to the slow one."""
    rows = dict(SAMPLE)
    first = {name.partition("-")[0]: name for name in reversed(rows)}
    marks = {name: [] if name in first.values() else [pytest.mark.slow] for name in rows}
    return [pytest.param(name, rows[name], marks=marks[name]) for name in rows]


def test_the_table_is_complete():
    assert {parameter.values[0] for parameter in one_of_each()} == set(PARAMETERS)


@pytest.mark.parametrize(("algorithm", "message"), one_of_each())
def test_the_others_go_on_as_they_were(algorithm, message, tmp_path):
    out = whole(tmp_path / "run", algorithm, message)
    if algorithm in REFUSED:
        with pytest.raises(ConfigError, match="cannot lose an agent") as refusal:
            resume(out, engine="simulate", iterations=END, settings=LOST)
        assert REFUSED[algorithm] in str(refusal.value)
        return
    _, before, _ = shards(out)
    team = left(out)
    Audit(team).run()  # both ends of all edges that are left hold the same
    for new, old in enumerate((0, 2, 3)):
        np.testing.assert_array_equal(states(team)[new]["x"], before[f"rank-{old:04d}.h5"]["x"])
    views = [team.parts.algorithm.view(h.state) for h in team.hosted]
    conserved = [team.parts.algorithm.conserved(h.state) for h in team.hosted]
    if conserved[0] is not None:
        errors = [v - (0 if target is None else target) for v, target in conserved]
        size = max(np.abs(v).max() for v, _ in conserved)
        assert np.abs(np.sum(errors, axis=0)).max() <= 1e-14 * size
    else:
        assert views[0].tracker is None
    result = resume(out, engine="simulate", iterations=END, settings=LOST)
    assert result.summary["iterations"] == END
    assert result.summary["agents"] == 3


def test_memories_as_sums_are_those_of_the_others(tmp_path):
    """m_i = sum_j W_ij h_j over the agents that are left."""
    team = left(whole(tmp_path / "run", "cgt1-sum", "rand_k"))
    W = team.parts.problem.topology.matrix()
    h = np.array([hosted.state.hx.own for hosted in team.hosted])
    m = np.array([hosted.state.hx.sum for hosted in team.hosted])
    np.testing.assert_allclose(m, W @ h, rtol=0, atol=1e-15 * np.abs(h).max())


def test_the_others_reach_their_own_minimum(tmp_path):
    """As if agent 1 had never been there: the average of the other three costs."""
    problem = {"name": "quadratic", "dimension": 5}
    config = configure("cgt1", "quantize", iterations=AT, record_every=1000, problem=problem)
    config = config.with_settings(["algorithm.eta=0.05"])
    run(config, engine="simulate", out=tmp_path / "run")
    result = resume(tmp_path / "run", engine="simulate", iterations=4000, settings=LOST)
    assert result.summary["stationarity"] < 1e-7
    costs = [config.problem.cost(j) for j in (0, 2, 3)]
    gradients = np.zeros((3, 5))
    for cost, gradient in zip(costs, gradients, strict=True):
        cost.gradient(result.x[0], gradient)
    assert np.abs(gradients.mean(axis=0)).max() < 1e-3 < np.abs(gradients[0]).max()


def test_the_record_shows_the_break(tmp_path):
    out = whole(tmp_path / "run", record_every=10)
    before = read_metrics(out / "metrics.h5")
    resume(out, engine="simulate", iterations=END, settings=LOST)
    after = read_metrics(out / "metrics.h5")
    assert json.loads(after.meta["breaks"]) == [{"iteration": AT, "lost": [1], "agents": 3}]
    assert after.meta["agents"] == 3
    assert after.matrix.shape == (3, 3)
    rows = len(before.rows())
    assert after.series["iteration"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    for name in ("bytes_on_wire", "bytes_per_agent", "messages_per_agent", "objective"):
        np.testing.assert_array_equal(after.series[name][:rows], before.series[name])
        if name != "objective":
            assert (np.diff(after.series[name]) > 0).all()
    page = " ".join(notes(load(out)))
    assert "After iteration 30 agent 1 was lost" in page
    assert tomllib.loads((out / "config.toml").read_text())["problem"]["lost"] == [1]


def test_losing_can_be_repeated_and_goes_on(tmp_path):
    """A job that dies before its next checkpoint starts at the old one again, with the same bits."""
    out, again = whole(tmp_path / "run"), tmp_path / "again"
    shutil.copytree(out, again)
    resume(out, engine="simulate", iterations=END, settings=LOST)
    for iterations in (AT + 5, END):
        shutil.rmtree(again / "checkpoints")
        shutil.copytree(out / "checkpoints" / "000030", again / "checkpoints" / "000030")
        resume(again, engine="simulate", iterations=iterations, settings=LOST)
    assert shards(out)[1].keys() == {"rank-0000.h5", "rank-0001.h5", "rank-0002.h5"}
    for name, arrays in shards(out)[1].items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, shards(again)[1][name][key])
    assert len(json.loads(read_metrics(again / "metrics.h5").meta["breaks"])) == 1
    result = resume(out, engine="simulate", iterations=END + 5)
    assert result.summary["agents"] == 3
    result = resume(out, engine="simulate", iterations=END + 9, settings=["problem.lost=[1,2]"])
    assert result.summary["agents"] == 2
    with pytest.raises(CheckpointError, match=r"problem\.lost \(\[1, 2\] in the run, \[1\] wanted"):
        resume(out, engine="simulate", settings=LOST)


@pytest.mark.parametrize(
    ("graph", "lost", "words"),
    [
        ("path", [1], "the path graph falls apart, no path leads from agent 0 to agent 2"),
        ("star", [0], "the star graph falls apart"),
        ("ring", [4], "accepted: different agents of 0 to 3"),
        ("ring", [1, 1], "accepted: different agents"),
        ("ring", [0, 1, 2, 3], "but not all of them"),
    ],
)
def test_a_graph_that_falls_apart_is_refused(graph, lost, words):
    config = configure(graph=graph)
    with pytest.raises(ConfigError, match=rf"problem\.lost = .*{words}"):
        config.with_settings([f"problem.lost={lost}"])


def test_own_weights_stay_and_rules_apply_anew():
    ring = configure().problem.whole
    assert ring.without([1]).matrix()[0].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    own = type(ring)(4, ring.edges, weights=dict.fromkeys(ring.edges, 0.2))
    np.testing.assert_allclose(own.without([1]).matrix()[0], [0.8, 0, 0.2])
    np.testing.assert_allclose(own.without([1]).matrix().sum(axis=0), 1)
