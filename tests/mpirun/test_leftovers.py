"""What a killed MPI job leaves is removed at the next start, and nothing else is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distopt.core.errors import TransportError
from distopt.mpirun import leftovers
from distopt.mpirun.launcher import find_mpirun
from distopt.mpirun.leftovers import remove_leftovers, unused

SEGMENTS = [
    "sm_segment.node-3.0.15b0001.2", "vader_segment.n.17.5e0001.0", "mpich_shm_8b2c963a_0",
    "ucx_shm_posix_50b666f5",
]  # fmt: skip
OTHERS = ["sm_segment.txt", "mpich_shm_", "my_data", "xmpich_shm_8b2c963a_0", "ompi.vm.0"]
HOLDER = """
import mmap, sys
kept = []
for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        kept.append(mmap.mmap(file.fileno(), 0))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory(tmp_path):
    """A folder in place of /dev/shm, on a file system that has leases."""
    folder = tmp_path / "shm"
    folder.mkdir()
    probe = folder / "probe"
    probe.write_bytes(bytes(8))
    if not unused(probe):
        pytest.skip("no leases here")
    probe.unlink()
    return folder


def hold(*paths):
    """Map files in another process, as ranks do, without holding them open."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, paths)], stdin=-1, stdout=-1, text=True
    )
    assert child.stdout.readline() == "ready\n"
    return child


def test_only_segments_that_nobody_maps_are_removed(memory, tmp_path):
    for name in [*SEGMENTS, *OTHERS]:
        (memory / name).write_bytes(bytes(4096))
    (memory / "mpich_shm_link").symlink_to(memory / "my_data")
    alive = memory / "sm_segment.node-3.0.15b0001.7"
    alive.write_bytes(bytes(4096))
    session = [tmp_path / f"ompi.{number}" for number in (123, 456, 789)]
    for folder in session[:2]:
        (folder / "1").mkdir(parents=True)
        (folder / "hwloc.sm").write_bytes(bytes(4096))
    session[2].mkdir()  # one that is just being made
    child = hold(alive, session[1] / "hwloc.sm")
    try:
        gone = remove_leftovers(memory, tmp_path)
    finally:
        child.communicate("")
    assert {path.name for path in gone} == {*SEGMENTS, "ompi.123"}
    assert {p.name for p in memory.iterdir()} == {*OTHERS, "mpich_shm_link", alive.name}
    assert [folder.exists() for folder in session] == [False, True, True]
    assert {path.name for path in remove_leftovers(memory, tmp_path)} == {alive.name, "ompi.456"}


def test_ranks_that_remove_the_same_at_once_do_not_mind(memory, tmp_path, monkeypatch):
    """All ranks of a host start together."""
    for name in SEGMENTS:
        (memory / name).write_bytes(bytes(4096))
    (tmp_path / "ompi.123").mkdir()
    (tmp_path / "ompi.123" / "hwloc.sm").write_bytes(bytes(4096))

    listed = leftovers.entries

    def entries(folder, names):
        found = listed(folder, names)
        if names is leftovers.SESSION:
            monkeypatch.undo()
            remove_leftovers(memory, tmp_path)
        return found

    monkeypatch.setattr(leftovers, "entries", entries)
    remove_leftovers(memory, tmp_path)
    assert not list(memory.iterdir())
    assert not (tmp_path / "ompi.123").exists()


WAIT = """
import os, sys, time
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()
sys.stdout.write(f"{os.getpid()}\\n")
sys.stdout.flush()
for _ in range(6000):
    if os.path.exists(sys.argv[1]):
        break
    time.sleep(0.1)
"""
NEXT = """
from distopt.mpirun.failing import failing_together
with failing_together():
    pass
"""


def segments(rank):
    """List the named segments that a rank maps."""
    maps = Path(f"/proc/{rank}/maps").read_text().splitlines()
    found = {Path(line.split()[-1]) for line in maps if "/dev/shm/" in line}
    return {path for path in found if path.is_file()}  # not those that have lost their name


@pytest.mark.slow
def test_killed_mpi_jobs_leave_nothing_after_the_next_start(tmp_path):
    """The segments of a job that lives stay, and it ends well.

    A job of somebody else that starts meanwhile may remove those of the killed one before ours does.
    """
    try:
        mpirun = find_mpirun()
    except TransportError as error:
        pytest.skip(str(error))

    sessions, end = tmp_path / "sessions", tmp_path / "end"
    sessions.mkdir()
    env = os.environ | {"TMPDIR": str(sessions)}

    def start(until):
        program = [sys.executable, "-c", WAIT, str(until)]
        job = subprocess.Popen(
            mpirun.start(2, program), stdin=-1, stdout=-1, text=True, bufsize=1, env=env
        )
        ranks = [int(job.stdout.readline()) for _ in range(2)]
        return job, ranks, set.union(*map(segments, ranks))

    living, _, its = start(end)
    killed, ranks, left = start(tmp_path / "never")
    for pid in (killed.pid, *ranks):
        os.kill(pid, signal.SIGKILL)
    killed.communicate()
    while any(Path(f"/proc/{pid}/maps").exists() for pid in ranks):
        time.sleep(0.05)
    assert left
    subprocess.run(mpirun.start(2, [sys.executable, "-c", NEXT]), env=env, check=True)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in its)
    end.touch()
    living.communicate(timeout=300)
    assert living.returncode == 0
    assert not list(sessions.glob("ompi.*"))
