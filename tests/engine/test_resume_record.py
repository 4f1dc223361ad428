"""A run resumes from its checkpoints whatever became of its record, and whoever reads it."""

import contextlib
import os
import signal
import subprocess
import sys

import h5py
import pytest
from run_table import comparable, configure

from distopt.core.errors import CheckpointError
from distopt.engine.run import resume, run
from distopt.record.metrics import read_metrics
from distopt.record.writer import Writer

# Children that are forked here only write files and end; newer Pythons warn if pytest has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def iterations(out):
    """Read the iterations of a record."""
    return [row["iteration"] for row in read_metrics(out / "metrics.h5").rows()]


def test_a_writer_that_dies_at_once_loses_nothing(tmp_path):
    """The rows of the earlier part are on the disk before the new file has its name."""
    out = tmp_path / "run"
    run(configure(iterations=21), engine="simulate", out=out)
    before = iterations(out)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            path = out / "metrics.h5"
            Writer.reopen(path, read_metrics(path), lambda _: True, {})
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert iterations(out) == before == [0, 7, 14, 21]
    result = resume(out, engine="simulate", iterations=28)
    assert iterations(out) == [*before, 28]
    assert not [w for w in result.warnings if "metrics" in w]


def missing(path):
    path.unlink()


def not_hdf5(path):
    path.write_bytes(b"no HDF5")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def opened(path):
    """Leave the mark of a writer that died in the middle."""
    pid = os.fork()
    if pid == 0:
        with h5py.File(path, "r+", libver="latest") as file:
            file.flush()
            os._exit(0)
    os.waitpid(pid, 0)


def other_series(path):
    with h5py.File(path, "r+") as file:
        file["series"].move("stationarity", "lyapunov_scale")


@pytest.mark.parametrize("damage", [missing, not_hdf5, half, opened, other_series])
def test_the_record_never_gates_the_state(damage, tmp_path):
    out = tmp_path / "run"
    run(configure(iterations=28), engine="simulate", out=out)
    damage(out / "metrics.h5")
    damaged = None if damage is missing else (out / "metrics.h5").read_bytes()
    result = resume(out, engine="simulate", iterations=42)
    [warning] = [w for w in result.warnings if "metrics.h5" in w]
    assert "A new record begins; rows up to iteration 28 are lost." in warning
    aside = out / "metrics.h5.damaged"
    assert aside.exists() == (damaged is not None)
    if damaged is not None:
        assert f"The old file is kept as {aside}." in warning
        assert aside.read_bytes() == damaged
    whole = run(configure(iterations=42), engine="simulate")
    exact = [{**row, "diagnostics_bytes": 0} for row in whole.rows if row["iteration"] >= 28]
    found = [{**row, "diagnostics_bytes": 0} for row in read_metrics(out / "metrics.h5").rows()]
    assert comparable(found) == comparable(exact)
    assert result.summary["stationarity"] == whole.summary["stationarity"]
    assert read_metrics(out / "metrics.h5").meta["status"] == "finished"
    again = resume(out, engine="simulate", iterations=49)
    assert any("it holds those of 28 to 42" in w for w in again.warnings)
    if damaged is not None:
        not_hdf5(out / "metrics.h5")
        resume(out, engine="simulate", iterations=56)
        assert aside.read_bytes() == damaged
        assert (out / "metrics.h5.damaged1").read_bytes() == b"no HDF5"


READER = """
import sys, h5py
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    print(int(file["series"].attrs["rows"]), flush=True)
    sys.stdin.readline()
    print(len(file["series"]["iteration"]), file["meta"].attrs["algorithm"])
"""


@contextlib.contextmanager
def held_open(path):
    """Hold a record open in another process, as docs/running.md shows."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as reader:  # fmt: skip
        reader.stdout.readline()
        yield
        told, _ = reader.communicate("\n", timeout=900)
        assert told.endswith("cgt1\n")
        assert reader.returncode == 0


def test_a_reader_disturbs_neither_the_end_nor_a_resume(tmp_path):
    out = tmp_path / "run"
    with contextlib.ExitStack() as readers:

        def look(_):
            if not opened:
                opened.append(readers.enter_context(held_open(out / "metrics.h5")))

        opened = []
        run(configure("cgt1", "quantize", iterations=21), engine="simulate", out=out, progress=look)
        assert opened
        assert read_metrics(out / "metrics.h5").meta["status"] == "finished"
    with held_open(out / "metrics.h5"):
        resume(out, engine="simulate", iterations=28)
        with held_open(out / "metrics.h5"):
            resume(out, engine="simulate", iterations=35)
    assert iterations(out) == [0, 7, 14, 21, 28, 35]


def test_without_checkpoints_the_record_is_left_alone(tmp_path):
    out = tmp_path / "run"
    run(configure(iterations=7), engine="simulate", out=out)
    for path in (out / "checkpoints").glob("*/manifest.json"):
        path.unlink()
    before = (out / "metrics.h5").read_bytes()
    with pytest.raises(CheckpointError, match="There is no valid checkpoint"):
        resume(out, engine="simulate")
    assert (out / "metrics.h5").read_bytes() == before
