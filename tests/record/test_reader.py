"""Reading run directories: finished, running, damaged, missing."""

import h5py
import numpy as np
import pytest
from handmade import write_run

from distopt.core.errors import CheckpointError
from distopt.record.reader import read_history
from distopt.record.writer import Writer


def test_series_meta_and_matrix(tmp_path):
    history = read_history(write_run(tmp_path / "a"))
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
    assert read_history(write_run(tmp_path / "a")).bits == 160.0
    assert read_history(write_run(tmp_path / "b", algorithm="lead")).bits == 320.0
    assert np.isnan(read_history(write_run(tmp_path / "c", algorithm="their own")).bits)


def test_first_record_that_is_accurate_enough(tmp_path):
    history = read_history(write_run(tmp_path / "a"))
    reach = history.reach(1e-5)
    assert (reach.iterations, reach.bytes_per_agent, reach.bytes_on_wire) == (20, 20_000, 160_000)
    assert reach.seconds == 0.2
    assert reach.held
    assert history.reach(1e-9) is None


def test_accuracy_that_is_lost_again(tmp_path):
    history = read_history(write_run(tmp_path / "a", [1.0, 1e-6, 1e-2, 1e-7]))
    assert history.reach(1e-6).iterations == 10
    assert not history.reach(1e-6).held
    assert history.reach(1e-7).held


def test_nan_is_never_accurate(tmp_path):
    history = read_history(write_run(tmp_path / "a", [1.0, 1e-6, np.nan]))
    assert not history.reach(1e-5).held


def test_a_running_file_can_be_read(tmp_path):
    place = write_run(tmp_path / "a")
    history = read_history(place)
    writer = Writer(place / "metrics.h5", list(history.series), history.meta, history.matrix)
    writer.append(dict.fromkeys(history.series, 1.0))
    writer.flush()
    writer.append(dict.fromkeys(history.series, 2.0))  # not flushed: not seen
    assert read_history(place)["stationarity"].tolist() == [1.0]
    writer.finish("finished", "iterations")


def test_an_interrupted_file_can_be_read_and_stays_as_it_is(tmp_path):
    place = write_run(tmp_path / "a", status="running")
    before = (place / "metrics.h5").read_bytes()
    assert read_history(place).meta["status"] == "running"
    assert (place / "metrics.h5").read_bytes() == before


def test_missing_folder_and_folder_without_a_record(tmp_path):
    with pytest.raises(CheckpointError, match=r"none is not a run directory: it does not exist\."):
        read_history(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"is not a run directory: it has no metrics\.h5\."):
        read_history(tmp_path)


def test_damaged_files(tmp_path):
    place = write_run(tmp_path / "a")
    path = place / "metrics.h5"
    content = path.read_bytes()
    for damaged in (b"", b"no HDF5", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=r"metrics\.h5 cannot be read as the record of a run"
        ):
            read_history(place)


def test_unknown_format(tmp_path):
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        file["meta"].attrs["format"] = 99
    with pytest.raises(CheckpointError, match=r"has format 99, but this version of distopt reads"):
        read_history(place)


def test_record_without_rows(tmp_path):
    with pytest.raises(CheckpointError, match="holds no record yet"):
        read_history(write_run(tmp_path / "a", []))
