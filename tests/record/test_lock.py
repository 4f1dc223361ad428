"""One writer: a second one is refused by name, what a killed one left behind is taken over."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from run_table import configure

from distopt.core.errors import CheckpointError
from distopt.engine.run import resume, run
from distopt.record.lock import NAME, held, only_writer, refuse_held

HOLD = """
import sys, time
from pathlib import Path
from distopt.record.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return another process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def assert_free(folder):
    refuse_held(folder)
    with only_writer(folder):
        pass
    assert [p.name for p in folder.iterdir() if p.name.startswith(NAME)] == []


def write_owner(folder, **changes):
    me = psutil.Process()
    owner = {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time()}
    (folder / NAME).write_text(json.dumps(owner | {"since": "long ago"} | changes))


def test_a_second_writer_is_told_who_is_there(holder, tmp_path):
    sentence = (
        rf"belongs to process {holder.pid} on host {re.escape(socket.gethostname())}, which has been "
        r"writing there since 20\d\d-.*\. Wait for it"
    )
    with pytest.raises(CheckpointError, match=sentence), only_writer(tmp_path):
        pass
    with pytest.raises(CheckpointError, match=sentence):
        refuse_held(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_a_killed_owner_leaves_the_folder_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)  # a zombie until it is waited for
    while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert (tmp_path / NAME).exists()
    assert_free(tmp_path)


def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    write_owner(tmp_path, started=1.0)
    assert_free(tmp_path)


def test_without_flock_the_content_decides(tmp_path):
    """As on a file system that has none: nobody holds one here."""
    write_owner(tmp_path)
    with (
        pytest.raises(CheckpointError, match=f"belongs to process {os.getpid()}"),
        only_writer(tmp_path),
    ):
        pass


def test_a_lock_of_another_host_is_removed_by_hand(tmp_path):
    write_owner(tmp_path, host="elsewhere", pid=1)
    sentence = rf"process 1 on host elsewhere.* remove the lock: rm {tmp_path}/run\.lock"
    with pytest.raises(CheckpointError, match=sentence), only_writer(tmp_path):
        pass
    refuse_held(tmp_path)  # the ranks may be there, and will tell
    (tmp_path / NAME).unlink()
    assert_free(tmp_path)


def test_a_container_that_is_gone_leaves_the_folder_free(holder, tmp_path):
    """Its host is unknown here, but it has this kernel, so the `flock` tells whether it lives."""
    path = tmp_path / NAME
    owner = json.loads(path.read_text()) | {"host": "elsewhere", "pid": 1}
    path.write_text(json.dumps(owner))  # the same file, which the holder still has
    assert held(tmp_path, elsewhere=False)
    with pytest.raises(CheckpointError, match=r"process 1 on host elsewhere.*Wait for it"):
        refuse_held(tmp_path)
    holder.kill()
    holder.wait()
    assert not held(tmp_path, elsewhere=True)
    assert_free(tmp_path)
    write_owner(tmp_path, host="elsewhere", kernel="another")
    assert held(tmp_path, elsewhere=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"host": 1}'])
def test_a_file_that_is_no_lock_is_not_removed(content, tmp_path):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(CheckpointError, match=r"is not a lock .* rm "), only_writer(tmp_path):
        pass
    assert (tmp_path / NAME).read_text() == content


def test_the_lock_ends_with_a_failure(tmp_path):
    with pytest.raises(ValueError, match="math"), only_writer(tmp_path):
        math.sqrt(-1)
    assert_free(tmp_path)


def test_a_run_is_not_disturbed(tmp_path):
    """Neither a second run nor a resume changes a file of a run that is being written."""
    config = configure("gt", "identity", iterations=10)
    run(config, engine="simulate", out=tmp_path)
    assert not (tmp_path / NAME).exists()
    with only_writer(tmp_path):
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        for action in (
            lambda: run(config, engine="simulate", out=tmp_path, overwrite=True),
            lambda: resume(tmp_path, engine="simulate", iterations=20),
        ):
            with pytest.raises(CheckpointError, match=f"belongs to process {os.getpid()} on host"):
                action()
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert resume(tmp_path, engine="simulate", iterations=20).summary["iterations"] == 20
