"""Reading run directories: finished, running, damaged, missing."""

import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from handmade import write_run

from distopt.core.errors import CheckpointError, ConfigError, DistoptError
from distopt.record.reader import load
from distopt.record.writer import Writer


def test_series_meta_and_matrix(tmp_path):
    history = load(write_run(tmp_path / "a"))
    assert history.name == "a"
    assert history["iteration"].tolist() == [0, 10, 20, 30]
    assert history.last("stationarity") == 1e-8
    assert history.last("lyapunov_scale", 7.0) == 7.0
    assert history.meta["agents"] == 4
    assert history.meta["guarantee"] == {"class": "relative", "r": 1.0, "psi": 0.5}
    assert history.config["algorithm"]["eta"] == 0.1
    assert history.matrix.shape == (4, 4)


def test_bits_per_coordinate_and_message(tmp_path):
    # 1000 bytes an iteration are 8000 bits for two vectors of 25 coordinates
    assert load(write_run(tmp_path / "a")).bits == 160.0
    assert load(write_run(tmp_path / "b", algorithm="lead")).bits == 320.0
    assert np.isnan(load(write_run(tmp_path / "c", algorithm="their own")).bits)


def test_first_record_that_is_accurate_enough(tmp_path):
    history = load(write_run(tmp_path / "a"))
    reach = history.reach(1e-5)
    assert (reach.iterations, reach.bytes_per_agent, reach.bytes_on_wire) == (20, 20_000, 160_000)
    assert reach.seconds == 0.2
    assert reach.held
    assert history.reach(1e-9) is None


def test_accuracy_that_is_lost_again(tmp_path):
    history = load(write_run(tmp_path / "a", [1.0, 1e-6, 1e-2, 1e-7]))
    assert history.reach(1e-6).iterations == 10
    assert not history.reach(1e-6).held
    assert history.reach(1e-7).held


def test_nan_is_never_accurate(tmp_path):
    history = load(write_run(tmp_path / "a", [1.0, 1e-6, np.nan]))
    assert not history.reach(1e-5).held


def test_a_running_file_can_be_read(tmp_path):
    place = write_run(tmp_path / "a")
    history = load(place)
    writer = Writer(place / "metrics.h5", list(history.series), history.meta, history.matrix)
    writer.append(dict.fromkeys(history.series, 1.0))
    writer.flush()
    writer.append(dict.fromkeys(history.series, 2.0))  # not flushed: not seen
    assert load(place)["stationarity"].tolist() == [1.0]
    writer.finish("finished", "iterations")


def test_an_interrupted_file_can_be_read_and_stays_as_it_is(tmp_path):
    place = write_run(tmp_path / "a", status="running")
    before = (place / "metrics.h5").read_bytes()
    assert load(place).meta["status"] == "running"
    assert (place / "metrics.h5").read_bytes() == before


def test_missing_folder_and_folder_without_a_record(tmp_path):
    with pytest.raises(CheckpointError, match=r"none is not a run directory: it does not exist\."):
        load(tmp_path / "none")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "comparison.html").touch()
    with pytest.raises(
        CheckpointError, match=r"no metrics\.h5, but comparison\.html, the page of a"
    ):
        load(tmp_path / "suite")
    with pytest.raises(CheckpointError, match=r"is not a run directory: it has no metrics\.h5\."):
        load(tmp_path)


def test_damaged_files(tmp_path):
    place = write_run(tmp_path / "a")
    path = place / "metrics.h5"
    content = path.read_bytes()
    for damaged in (b"", b"no HDF5", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=r"metrics\.h5 cannot be read as the record of a run"
        ):
            load(place)


def test_unknown_format(tmp_path):
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        file["meta"].attrs["format"] = 99
    with pytest.raises(CheckpointError, match=r"has format 99, but this version of distopt reads"):
        load(place)


def test_record_without_rows(tmp_path):
    with pytest.raises(CheckpointError, match="holds no record yet"):
        load(write_run(tmp_path / "a", []))


def test_a_run_is_loaded_with_units_and_configuration(tmp_path):
    data = load(str(write_run(tmp_path / "a")))
    assert data["iteration"].tolist() == [0, 10, 20, 30]
    assert (data.units["bytes_on_wire"], data.units["objective"]) == ("B", "1")
    assert load(data) is data
    assert "stationarity" in data
    assert "step" not in data
    assert [*data] == [*data.keys()] == [*data.series]
    assert repr(data).startswith("<RunData a: 4 records of iteration, ")
    with pytest.raises(
        ConfigError, match=r'a has no series "objectiv"; did you mean "objective"\?'
    ):
        data["objectiv"]


def test_series_become_a_data_frame(tmp_path, monkeypatch):
    data = load(write_run(tmp_path / "a"))
    frame = data.dataframe()
    assert list(frame["seconds"]) == list(data["seconds"])
    assert frame.attrs["units"]["seconds"] == "s"
    data.series["objective_runs"] = np.array([[1.0, 2.0]] * 4)
    assert data.dataframe()["objective_runs.1"].tolist() == [2.0] * 4
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DistoptError, match=r"A DataFrame needs pandas; `pip install"):
        data.dataframe()


def test_a_result_that_was_never_written_is_loaded():
    rows = [{"iteration": k, "stationarity": 0.5**k, "seconds": 0.1 * k} for k in range(3)]
    summary = {"algorithm": "gt", "compressor": "identity"}
    result = SimpleNamespace(run_dir=None, rows=rows, summary=summary)
    assert load(result)["stationarity"].tolist() == [1.0, 0.5, 0.25]
    assert load(result).name == "gt with identity"
    with pytest.raises(CheckpointError, match="that of the first rank does"):
        load(SimpleNamespace(run_dir=None, rows=[], summary=summary))
