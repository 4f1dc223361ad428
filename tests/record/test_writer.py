"""metrics.h5 describes itself, and is whole below its counter however its writer ended."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from run_table import configure

from distopt.core.errors import CheckpointError
from distopt.engine.run import resume, run
from distopt.record.metrics import read_metrics
from distopt.record.series import SERIES
from distopt.record.writer import Writer

# Children that are forked here only write files and end; newer Pythons warn if pytest has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NAMES = ["iteration", "seconds", "objective", "bytes_on_wire"]


def row(k):
    """Make a row that can be checked from its iteration alone."""
    return {"iteration": k, "seconds": k / 8, "objective": 1.0 / (k + 1), "bytes_on_wire": 3 * k}


def assert_rows_are_right(path):
    """Read with h5py alone, as after a crash; return how many rows there are."""
    with h5py.File(path, "r", swmr=True) as file:
        count = int(file["series"].attrs["rows"])
        columns = {name: file["series"][name][:count] for name in NAMES}
    k = np.arange(count)
    assert columns["iteration"].tolist() == k.tolist()
    np.testing.assert_array_equal(columns["seconds"], k / 8)
    np.testing.assert_array_equal(columns["objective"], 1.0 / (k + 1))
    np.testing.assert_array_equal(columns["bytes_on_wire"], 3 * k)
    return count


def test_file_describes_itself(tmp_path):
    out = tmp_path / "run"
    result = run(configure("cgt3", "saturating", iterations=30), engine="simulate", out=out)
    with h5py.File(out / "metrics.h5", "r") as file:
        series, meta = file["series"], file["meta"].attrs
        assert series.attrs["rows"] == 6  # 0, 7, 14, 21, 28, 30
        for name, data in series.items():
            assert data.shape == (6,)
            assert data.attrs["units"] == SERIES[name].units
            assert data.attrs["description"] == SERIES[name].description
            np.testing.assert_array_equal(data[()], [row[name] for row in result.rows])
        assert series["iteration"][()].tolist() == [0, 7, 14, 21, 28, 30]
        assert (meta["algorithm"], meta["compressor"]) == ("cgt3", "saturating")
        assert (meta["agents"], meta["dimension"], meta["seed"]) == (4, 19, 5)
        assert (meta["status"], meta["stop_reason"]) == ("finished", "iterations")
        assert json.loads(meta["versions"])["numpy"] == np.__version__
        assert json.loads(meta["guarantee"])["class"] == "local"
        assert meta["config"] == (out / "config.toml").read_text()
        assert 0 < meta["spectral_gap"] <= 1
        matrix = file["meta"]["W"][()]
        np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=1e-15)


def test_without_distopt_and_while_it_is_written(tmp_path):
    """A reader in another process sees rows as they are flushed."""
    path = tmp_path / "metrics.h5"
    writer = Writer(path, NAMES, {}, np.eye(2))
    program = (
        "import sys, h5py\n"
        "with h5py.File(sys.argv[1], 'r', swmr=True) as f:\n"
        "    print(f['series'].attrs['rows'], len(f['series']['objective']), 'distopt' in sys.modules)"
    )

    def look():
        return subprocess.check_output([sys.executable, "-c", program, path], text=True).split()

    for k in range(700):  # beyond one chunk
        writer.append(row(k))
    assert look() == ["0", "0", "False"]
    writer.flush()
    assert look() == ["700", "700", "False"]
    writer.finish("finished", "iterations")
    assert assert_rows_are_right(path) == 700


GROWTH = """
import os, sys
from pathlib import Path
import numpy as np
from distopt.record.series import SERIES
from distopt.record.writer import Writer
names = [name for name, known in SERIES.items() if not known.by_run]
writer = Writer(Path(sys.argv[1]), names, {}, np.eye(2))
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
for k in range(150_000):
    writer.append(dict.fromkeys(names, k))
    if k % 1000 == 999:
        writer.flush()
    if k == 20_000:
        before = resident()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """39 series of 130,000 rows are 40 MB, of which HDF5 alone would keep all."""
    found = subprocess.check_output([sys.executable, "-c", GROWTH, tmp_path / "m.h5"], text=True)
    assert int(found) < 10e6


WRITER = """
import sys
import numpy as np
sys.path[:0] = {paths!r}
from test_writer import NAMES, row
from distopt.record.writer import Writer
writer = Writer(sys.argv[1], NAMES, {{}}, np.eye(4))
k = 0
print("ready", flush=True)
while True:
    for _ in range(k % 5 + 1):
        writer.append(row(k))
        k += 1
    writer.flush()
    sys.stdout.write(f"{{k}}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("turns", [8, pytest.param(25, marks=pytest.mark.slow)])
def test_writer_killed_at_random_moments(turns, tmp_path):
    """Each time the file opens, and holds every row that was flushed, all of them right."""
    draw = random.Random(7)
    here = Path(__file__).parent
    program = WRITER.format(paths=[str(here), str(here.parent)])
    for turn in range(turns):
        path = tmp_path / f"{turn}.h5"
        # Forking a writer that has everything imported makes turns cheap.
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            os.dup2(tell, 1)
            sys.argv = ["writer", Path(path)]
            with contextlib.suppress(BaseException):
                sys.stdout = os.fdopen(1, "w")
                exec(program, {"__name__": "writer"})
            os._exit(1)
        os.close(tell)
        with os.fdopen(told) as lines:
            assert lines.readline() == "ready\n"
            time.sleep(draw.uniform(0.0, 0.12))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            flushed = [int(line) for line in lines.read().split()]
        rows = assert_rows_are_right(path)
        assert rows >= (flushed[-1] if flushed else 0)
        again = Writer.reopen(path, read_metrics(path), lambda k: k < 10, {})
        again.append(row(min(rows, 10)))
        again.finish("finished", "iterations")
        assert assert_rows_are_right(path) == min(rows, 10) + 1


def test_other_formats_and_files_are_refused(tmp_path):
    path = tmp_path / "metrics.h5"
    with pytest.raises(CheckpointError, match="cannot be read as the record of a run"):
        read_metrics(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(CheckpointError, match="cannot be read as the record of a run"):
        read_metrics(path)
    with h5py.File(path, "w") as file:
        file.create_group("meta").attrs["format"] = 99
    with pytest.raises(
        CheckpointError, match="has format 99, but this version of distopt reads format 1"
    ):
        read_metrics(path)


def test_run_killed_between_checkpoints_resumes(tmp_path):
    """A whole run, killed: the record holds all up to the last checkpoint, and the run goes on."""
    out = tmp_path / "run"
    config = configure(iterations=10**6, checkpoint_every=20, record_every=7)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            run(config, engine="simulate", out=out)
        os._exit(1)
    deadline = time.monotonic() + 900  # compiling on a busy machine
    while not list(out.glob("checkpoints/*4?/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    saved = max(int(p.parent.name) for p in out.glob("checkpoints/*/manifest.json"))
    rows = [row["iteration"] for row in read_metrics(out / "metrics.h5").rows()]
    assert rows == list(range(0, 7 * len(rows), 7))
    assert rows[-1] > saved - 7
    resume(out, engine="simulate", iterations=saved + 20)
    whole = run(configure(iterations=saved + 20), engine="simulate")
    rows = read_metrics(out / "metrics.h5").rows()
    assert [r["stationarity"] for r in rows] == [r["stationarity"] for r in whole.rows]


DISK_FULL = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from run_table import configure
from distopt.engine.run import run
from distopt.core.errors import DistoptError
config = configure("cgt1", "quantize", iterations=10**6, checkpoint_every=50, {settings})
try:
    run(config, engine="simulate", out=Path(sys.argv[1]))
except DistoptError as error:
    print("distopt:", error)
    sys.exit(1)
"""
FULL = {  # what meets the limit first: the record, or a shard of a larger problem
    "metrics.h5": "record_every=1",
    "rank-0000.h5": "record_every=1000, problem={'dimension': 3000, 'basis': 'diagonal'}",
}


@pytest.mark.parametrize(
    "which", ["metrics.h5", pytest.param("rank-0000.h5", marks=pytest.mark.slow)]
)
def test_disk_full_ends_with_a_sentence_and_a_valid_checkpoint(which, tmp_path):
    """Simulated by a limit on the size of a file."""
    out = tmp_path / "run"
    settings = FULL[which]
    if which != "metrics.h5":  # the first checkpoints are written without a limit
        run(
            configure("cgt1", "quantize", iterations=100, record_every=1000,
                      problem={"dimension": 3000, "basis": "diagonal"}),
            engine="simulate", out=out,
        )  # fmt: skip
    program = DISK_FULL.format(paths=[str(Path(__file__).parents[1])], settings=settings)
    if which != "metrics.h5":
        program = program.replace("import run\n", "import resume\n").replace(
            'run(config, engine="simulate", out=Path(sys.argv[1]))',
            'resume(Path(sys.argv[1]), engine="simulate", iterations=10**6, '
            'settings=["run.checkpoint_every=50"])',
        )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-c", program, out],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        preexec_fn=limit,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("distopt: "), done.stdout + done.stderr
    assert f"{which} cannot be written: File too large. Everything saved before" in done.stdout
    assert not done.stderr
    rows = [row["iteration"] for row in read_metrics(out / "metrics.h5").rows()]
    assert rows == list(range(0, rows[-1] + 1, 1 if which == "metrics.h5" else 1000))
    result = resume(out, engine="simulate", iterations=rows[-1] + 500)
    assert result.summary["iterations"] == rows[-1] + 500
