"""Records by default cost next to nothing, and are those of an undisturbed run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from run_table import comparable

from distopt.config.build import make_config
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.run import resume, run
from distopt.engine.schedule import ALLOWED, GLANCE_EVERY, MESSAGE, SHARE
from distopt.engine.sketch import WIDTH, fill_sketch, signs_for, stationarity_of
from distopt.engine.team import prepare
from distopt.transport.base import mean_of, slices
from distopt.transport.local import LocalTransport

LONG = {"name": "pl", "agents": 4, "dimension": 3000, "basis": "diagonal", "condition": 2.0}
STEPS = {"name": "lead", "eta": 0.035, "gamma": 0.8, "alpha": 1.0}
TRACKING = {"name": "cgt1", "eta": 0.015, "gamma": 0.6, "alpha": 1.0}
BITS = {"name": "quantize", "bits": 2, "block": 1024}
TO = {"stationarity": 1e-6}


def build(algorithm=STEPS, problem=LONG, **settings):
    tables = {"problem": problem, "topology": {"graph": "ring"}, "algorithm": algorithm}
    return make_config(tables | {"compressor": BITS, "run": settings}, Path())


def play(config, **where):
    return run(config, engine="simulate", **where)


def test_records_keep_within_their_share():
    rows = play(build(problem=LONG | {"dimension": 1000}, iterations=600)).rows
    whole = [row for row in rows if row["iteration"] < 600]  # the last one is made in any case
    for row in whole[1:]:
        messages = row["messages_per_agent"]
        allowed = ALLOWED + SHARE * (row["bytes_on_wire"] / 4 + MESSAGE * messages)
        assert row["diagnostics_bytes"] / 4 < allowed
    assert len(whole) > 3
    gaps = np.diff([row["iteration"] for row in whole])
    assert gaps[0] == 10
    assert gaps[-1] > 50


def test_a_short_vector_is_recorded_every_ten_iterations_at_first():
    problem = LONG | {"dimension": 10}
    rows = play(build(problem=problem, iterations=100)).rows
    assert [row["iteration"] for row in rows] == list(range(0, 101, 10))


@pytest.mark.parametrize("dimension", [20, 3000])
def test_the_run_stops_soon_after_it_is_there(dimension):
    """By glances where records are dear, by extrapolation where they are not."""
    problem = LONG | {"dimension": dimension}
    every = play(build(problem=problem, record_every=1, stop=TO, iterations=1000))
    found = play(build(problem=problem, stop=TO, iterations=1000))
    there, stopped = (r.summary["iterations"] for r in (every, found))
    assert found.summary["stop_reason"] == "stop.stationarity"
    assert there <= stopped <= there + 8 * GLANCE_EVERY
    assert len(found.rows) <= 8
    by_iteration = {row["iteration"]: row["stationarity"] for row in every.rows}
    common = [row for row in found.rows if row["iteration"] in by_iteration]
    assert len(common) > 1
    assert all(row["stationarity"] == by_iteration[row["iteration"]] for row in common)


@pytest.mark.parametrize(
    ("dimension", "settings"),
    [(3000, {"stop": {"stationarity": 1e-13}}), (12000, {"record_every": 4}), (500, {})],
    ids=["glances", "trackers at times", "budget"],
)
@pytest.mark.parametrize("at", [pytest.param(30, marks=pytest.mark.slow), 47])
def test_a_resumed_run_has_the_records_of_an_undisturbed_one(dimension, settings, at, tmp_path):
    problem = LONG | {"dimension": dimension}
    config = build(TRACKING, problem, iterations=400, checkpoint_every=at, keep=99, **settings)
    whole = play(config, out=tmp_path / "whole")
    part = dataclasses.replace(config, run=config.run.model_copy(update={"iterations": at}))
    play(part, out=tmp_path / "part")
    found = resume(tmp_path / "part", engine="simulate", iterations=400)
    rows = [comparable(list(r.rows), "diagnostics_bytes") for r in (found, whole)]
    assert repr(rows[0]) == repr(rows[1])  # nan is not equal to itself
    assert len(rows[0]) >= 3


def team_of(config):
    return prepare(config, LocalTransport(config.problem.topology))


@pytest.mark.parametrize("trackers", [True, False])
def test_the_price_of_a_row_is_what_is_sent(trackers):
    team = team_of(build(TRACKING, LONG | {"dimension": 13}))
    diagnostics, traffic = Diagnostics(team), team.transport.traffic
    team.iterate()
    before = traffic.diagnostics_nbytes
    row = diagnostics.row(trackers)
    assert traffic.diagnostics_nbytes - before == pytest.approx(4 * diagnostics.nbytes(trackers))
    assert np.isnan(row["lyapunov"]) == np.isnan(row["tracking_error"]) == (not trackers)
    full = diagnostics.row()
    for name in ("stationarity", "consensus_error", "objective", "compression_error_x"):
        assert row[name] == full[name]


@pytest.mark.parametrize("method", ["averaged", "diloco"])
def test_a_model_that_all_agents_hold_is_not_sent(method):
    team = team_of(build({"name": method}, LONG | {"dimension": 13}))
    diagnostics, traffic = Diagnostics(team), team.transport.traffic
    for _ in range(3):
        team.iterate()
    before = traffic.diagnostics_nbytes
    row = diagnostics.row()
    sent = traffic.diagnostics_nbytes - before
    assert sent == pytest.approx(4 * diagnostics.nbytes(True))
    diagnostics.shared = False
    sending = diagnostics.row()
    assert traffic.diagnostics_nbytes - before - sent > sent + 4 * 8 * 13
    for name in ("stationarity", "consensus_error", "objective"):
        assert row[name] == sending[name]


def test_tracking_is_measured_as_defined():
    team = team_of(build(TRACKING, LONG | {"dimension": 13}))
    for _ in range(5):
        team.iterate()
    row = Diagnostics(team).row()
    trackers = np.array([h.state.y for h in team.hosted])
    assert row["tracking_error"] == pytest.approx(trackers.var(axis=0).sum(), rel=1e-12)


def test_a_common_start_is_not_sent():
    diagnostics = Diagnostics(team_of(build()))
    diagnostics.row()
    assert diagnostics.saved == 2 * 8 * 3000 * 3 / 4
    assert diagnostics._mean.tolist() == [1.0] * 3000


@pytest.mark.parametrize("d", [1, 31, 32, 1000])
def test_the_sketch(d):
    rng = np.random.default_rng(d)
    x, out, signs = rng.standard_normal(d), np.empty(WIDTH), signs_for(d)
    fill_sketch(x, signs, out)
    bits = (np.repeat(signs, WIDTH)[:d] >> (np.arange(d) % WIDTH).astype(np.uint32)) & 1
    signed = np.where(bits, -x, x)
    expected = [signed[b::WIDTH].sum() for b in range(WIDTH)]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)
    if d == 1000:  # five deviations
        assert abs(out @ out / (x @ x) - 1) < 5 * np.sqrt(2 / WIDTH)


def test_a_guess_from_sketches_of_short_vectors_is_exact():
    """With at most as many coordinates as the sketch has numbers, squares only change their signs."""
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((2, 3, WIDTH))
    exact = (g.mean(axis=0) ** 2).sum() + ((x - x.mean(axis=0)) ** 2).sum() / 3
    assert stationarity_of(x, g) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("d", [1, 3, 4, 10])
def test_slices_cover_all_coordinates_once(d):
    cut = slices(d, 4)
    assert [i for part in cut for i in range(d)[part]] == list(range(d))
    lengths = [part.stop - part.start for part in cut]
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) - min(lengths) <= 1


def test_the_mean_leaves_its_vectors_alone():
    rows = [np.ones(3), np.zeros(3)]
    assert mean_of(rows).tolist() == [0.5] * 3
    assert rows[0].tolist() == [1.0] * 3
