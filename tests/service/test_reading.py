"""Curves: few points but all extremes, only what is new, and nothing of a hostile folder."""

import shutil

import numpy as np
import pytest
from handmade import write_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distopt.core.errors import CheckpointError, ConfigError
from distopt.record.reader import load
from distopt.service.catalogue import Catalogue
from distopt.service.deliver import graph
from distopt.service.reading import chosen, series, summary


@given(
    arrays(float, st.integers(1, 400), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.integers(8, 100),
)
def test_thinning_keeps_the_extremes_of_every_part(values, points):
    kept = chosen([values], points)
    if len(values) <= points:
        assert kept is None
        return
    assert len(kept) <= points + 2
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    finite = values[np.isfinite(values)]
    if len(finite):
        assert {finite.min(), finite.max()} <= set(values[kept])


def test_a_reader_gets_only_what_is_new(tmp_path):
    write_run(tmp_path / "a", stationarity=np.geomspace(1, 1e-6, 50), status="running")
    first = series(str(tmp_path / "a"), "", ["stationarity"], 1000)
    assert (first["since"], first["rows"], first["cursor"]) == (0, 50, "50:490")
    assert first["series"]["stationarity"] == load(tmp_path / "a")["stationarity"].tolist()
    again = series(str(tmp_path / "a"), first["cursor"], ["stationarity"], 1000)
    assert again["series"]["stationarity"] == []
    assert again["cursor"] == first["cursor"]
    part = series(str(tmp_path / "a"), "40:390", ["stationarity"], 1000)
    assert part["series"]["iteration"] == [*range(400, 500, 10)]


def test_another_record_in_the_folder_begins_anew(tmp_path):
    write_run(tmp_path / "a", stationarity=[1.0, 0.5, 0.25], every=10)
    for cursor in ("2:20", "7:60"):
        found = series(str(tmp_path / "a"), cursor, ["stationarity"], 1000)
        assert (found["since"], len(found["series"]["iteration"])) == (0, 3)
    with pytest.raises(ConfigError, match="cursor = '1:x' is not one"):
        series(str(tmp_path / "a"), "1:x", [], 100)
    with pytest.raises(ConfigError, match='no series "stationary"; did you mean "stationarity"'):
        series(str(tmp_path / "a"), "", ["stationary"], 100)


def test_a_hostile_or_damaged_folder_is_a_sentence(tmp_path):
    write_run(tmp_path / "a")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "metrics.h5").symlink_to(tmp_path / "a" / "metrics.h5")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "metrics.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    for name in ("link", "noise"):
        assert summary(tmp_path / name)["status"] == "unreadable"
        with pytest.raises(CheckpointError, match="cannot be read as the record"):
            series(str(tmp_path / name), "", [], 100)
    found = summary(tmp_path / "a")
    assert (found["status"], found["iteration"], found["stationarity"]) == ("finished", 30, 1e-8)


def test_the_catalogue_follows_the_disk(service, settings):
    catalogue: Catalogue = service.catalogue
    write_run(settings.data / "mine" / "gt")
    write_run(settings.data / "killed", status="running")
    (settings.data / "out").symlink_to(settings.data / "mine")
    catalogue.refresh(walk=True)
    found = {run.folder: run for run in service.store.runs()}
    assert {folder: run.state for folder, run in found.items()} == {
        "mine/gt": "finished", "killed": "interrupted"
    }  # fmt: skip
    assert found["mine/gt"].iterations == 30
    before = service.store.changed
    catalogue.refresh(walk=True)
    assert service.store.changed == before  # nothing is read twice
    (settings.data / "killed" / "metrics.h5").unlink()
    catalogue.refresh(walk=True)
    assert [run.folder for run in service.store.runs()] == ["mine/gt"]


def test_the_numbers_of_a_graph_that_is_too_large_to_draw(tmp_path, monkeypatch):
    run = str(write_run(tmp_path / "run"))
    assert graph(run, drawn=True, alone=True)["svg"].startswith("<svg")
    monkeypatch.setattr("distopt.show.links.AGENTS", 3)
    assert len(graph(run, drawn=False, alone=False)["links"]) == 8
    with pytest.raises(ConfigError, match="4 agents are too many to draw; accepted: 3"):
        graph(run, drawn=True, alone=False)


def test_many_new_runs_do_not_keep_the_queue_waiting(service, settings, monkeypatch):
    monkeypatch.setattr("distopt.service.catalogue.TURN_SECONDS", 0.0)
    monkeypatch.setattr("distopt.service.catalogue.TOGETHER", 2)
    first = write_run(settings.data / "run0")
    for number in range(1, 5):
        shutil.copytree(first, settings.data / f"run{number}")
    counts = []
    for _ in range(4):
        service.catalogue.refresh()
        counts.append(len(service.store.runs()))
    assert counts == [2, 4, 5, 5]
