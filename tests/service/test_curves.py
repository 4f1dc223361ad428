"""Curves for figures: every extreme stays, each over its own axis, and only what is new is sent."""

import numpy as np
import pytest
from browser import Browser
from handmade import write_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic_core import to_json

from distopt.record.reader import load
from distopt.service.curves import FIRST, LONG, curves, parts, tidy
from distopt.service.models import RunCurves
from distopt.service.reading import AXES, extremes

P = {"names": ["stationarity"]}


@given(
    arrays(float, st.integers(1, 300), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.sets(st.integers(1, 299)),
)
def test_every_part_keeps_first_last_smallest_and_largest(values, inner):
    starts = np.array(sorted({0} | {at for at in inner if at < len(values)}))
    kept = extremes([values], starts)
    assert (np.diff(kept) > 0).all()
    for begin, end in zip(starts, [*starts[1:], len(values)], strict=True):
        mine = kept[(kept >= begin) & (kept < end)]
        assert {begin, end - 1} <= set(mine)
        assert len(mine) <= 4
        finite = values[begin:end][np.isfinite(values[begin:end])]
        if len(finite):
            assert {finite.min(), finite.max()} <= set(values[mine])


@given(
    arrays(float, st.integers(1, 300), elements=st.just(0.0) | st.floats(1e-6, 1e12)),
    st.integers(1, 50),
    st.booleans(),
)
def test_parts_of_an_axis_are_few_and_equally_long(steps, buckets, log):
    at = np.cumsum(steps)
    starts = parts(at, buckets, log)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert len(starts) <= buckets + 1
    positive = at[at > 0]
    if len(positive) and positive[-1] > positive[0]:
        low, high = (positive[0] if log else at[0]), at[-1]
        length = np.log(high / low) / buckets if log else (high - low) / buckets
        for begin, end in zip(starts, [*starts[1:], len(at)], strict=True):
            if at[begin] > 0:
                first, last = at[begin], at[end - 1]
                spans = np.log(last / first) if log else last - first
                assert spans <= length * (1 + 1e-6) + 1e-9 * abs(length)


def test_an_early_peak_is_seen_on_a_logarithmic_axis(tmp_path):
    values = np.ones(5000)
    values[[3, 7]] = 2.0, 0.5
    run = str(write_run(tmp_path / "a", stationarity=values, every=1))
    (found,) = curves([run], [""], {**P, "points": 100, "log": True})
    line = found["curves"]["stationarity"]
    assert found["thinned"]
    assert len(line["x"]) <= 104
    assert {3, 7} <= set(line["x"])  # each its own part; on a linear axis one part has them all


def test_each_curve_is_over_the_axis_that_was_asked_for(tmp_path):
    run = write_run(tmp_path / "a", stationarity=np.geomspace(1, 1e-6, 50))
    record = load(run)
    for x in AXES:
        (found,) = curves([str(run)], [""], {"names": ["stationarity", "no_such"], "x": x})
        assert [*found["curves"]] == ["stationarity"]
        assert found["curves"]["stationarity"]["x"] == record[x].tolist()
        assert found["curves"]["stationarity"]["y"] == record["stationarity"].tolist()


def test_a_part_of_the_axis_has_its_neighbours(tmp_path):
    run = str(write_run(tmp_path / "a", stationarity=np.geomspace(1, 1e-6, 50), every=10))

    def at(low, high):
        (found,) = curves([run], [""], {**P, "low": low, "high": high})
        return found["curves"]["stationarity"]["x"]

    assert at(95, 121) == [90, 100, 110, 120, 130]
    assert at(100, 120) == [90, 100, 110, 120, 130]
    assert at(480, 1e9) == [470, 480, 490]
    assert at(-5, 0) == [0, 10]


def test_a_poll_is_as_long_as_what_is_new(tmp_path):
    values = np.geomspace(1, 1e-6, 400)
    run = str(write_run(tmp_path / "a", stationarity=values[:398], status="running"))
    (whole,) = first = curves([run], [""], P)
    write_run(tmp_path / "a", stationarity=values, status="running")
    (more,) = again = curves([run], [whole["cursor"]], P)
    (none,) = curves([run], [more["cursor"]], P)
    lines = [found["curves"]["stationarity"]["y"] for found in (whole, more)]
    assert [len(line) for line in lines] == [398, 2]
    assert (none["cursor"], none["curves"]) == (more["cursor"], {})
    assert [*lines[0], *lines[1]] == values.tolist()
    assert len(to_json(again)) < len(to_json(first)) / 8


def test_curves_of_a_long_run_are_kept_as_long_as_it_stays_the_same(service, settings):
    values = np.random.default_rng(0).random(LONG + 1)
    place = write_run(settings.data / "long", stationarity=values, every=1)
    write_run(settings.data / "short")
    write_run(settings.data / "killed", stationarity=values, status="running")
    service.catalogue.refresh(walk=True)
    (made,) = settings.curves.iterdir()  # before anybody has asked
    asked = {"run": ["long", "short", "killed"], "name": FIRST.names, "measures": True}
    browser = Browser(service)
    first = browser.get("/api/v1/curves", params=asked).json()
    assert [*settings.curves.iterdir()] == [made]  # which the page's first request takes
    keep = {"figure": {"names": FIRST.names, "measures": True}}
    assert first[0] == curves([str(place)], [""], **keep)[0]
    write_run(place, stationarity=values / 2, every=1)
    second = browser.get("/api/v1/curves", params=asked).json()
    lowest = [min(answer[0]["curves"]["stationarity"]["y"]) for answer in (first, second)]
    assert lowest == [values.min(), values.min() / 2]
    made.write_bytes(b"{")
    assert browser.get("/api/v1/curves", params=asked).json() == second
    tidy(settings.curves, most=made.stat().st_size)
    assert len([*settings.curves.iterdir()]) <= 1


def test_what_cannot_be_read_is_said_beside_what_can(service, settings):
    write_run(settings.data / "good")
    write_run(settings.data / "bad")
    service.catalogue.refresh(walk=True)
    (settings.data / "bad" / "metrics.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    browser = Browser(service)
    asked = {"run": ["good", "bad", "../good"], "name": ["stationarity"]}
    answer = browser.get("/api/v1/curves", params=asked)
    good, bad, strange = [RunCurves.model_validate(each) for each in answer.json()]
    assert good.curves["stationarity"].y[-1] == 1e-8
    assert "cannot be read as the record of a run" in bad.fault
    assert strange.fault == "This run is gone."
    wrong = browser.get("/api/v1/curves", params=asked | {"cursor": ["1:0"]})
    assert wrong.status_code == 422
    assert "1 cursors were given for 3 runs" in wrong.json()["error"]["sentence"]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_ends_of_an_axis_are_numbers(service, value):
    answer = Browser(service).get("/api/v1/curves", params={"run": "a", "low": value})
    assert answer.status_code == 422
