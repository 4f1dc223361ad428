"""Real processes: each start is carried out once, and what became of it is known to any later server."""

import os
import signal
import subprocess
import sys
import time

import pytest

from distopt.service.backend import Local, read
from distopt.service.runner import claim, claim_file, end_file, main

PATIENCE = 120.0


def until(condition):
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.05)
    return found


@pytest.fixture
def backend():
    """A backend whose processes end with the test."""
    found = Local()
    yield found
    for (folder, attempt), child in [*found.children.items()]:
        child.kill()
        until(lambda at=(folder, attempt): not found.waits(*at))


def python(text):
    return [sys.executable, "-c", text]


def test_an_attempt_is_claimed_once(tmp_path):
    assert claim(tmp_path, 1, {"pid": 1})
    assert not claim(tmp_path, 1, {"pid": 2})
    assert claim(tmp_path, 2, {"pid": 3})
    assert read(claim_file(tmp_path, 1)) == {"pid": 1}
    assert main(tmp_path, 1, python(f"open({str(tmp_path / 'ran')!r}, 'w')")) == 0
    assert not (tmp_path / "ran").exists()


def test_a_server_claims_what_the_one_before_never_started(tmp_path):
    later = Local()
    assert later.look(tmp_path, 1).what == "void"
    assert main(tmp_path, 1, python(f"open({str(tmp_path / 'ran')!r}, 'w')")) == 0  # comes too late
    assert not (tmp_path / "ran").exists()
    assert later.look(tmp_path, 1).what == "void"


def test_a_job_outlives_its_server_and_is_found_again(tmp_path, backend):
    first, later = backend, Local()
    first.start(tmp_path, 1, python("input_ = open('go').read(); raise SystemExit(3)"), tmp_path, 1)
    os.mkfifo(tmp_path / "go")
    assert first.look(tmp_path, 1).what in {"starting", "running"}
    until(lambda: claim_file(tmp_path, 1).exists())
    assert later.look(tmp_path, 1).what == "running"
    (tmp_path / "go").write_text("")
    assert until(lambda: (seen := later.look(tmp_path, 1)).what == "ended" and seen).code == 3
    until(lambda: not first.waits(tmp_path, 1))


def test_a_process_that_is_killed_is_lost_and_its_command_ends_with_it(tmp_path, backend):
    backend.start(tmp_path, 1, python("import time; time.sleep(1000)"), tmp_path, 1)
    until(lambda: claim_file(tmp_path, 1).exists())
    os.kill(read(claim_file(tmp_path, 1))["pid"], signal.SIGKILL)
    assert until(lambda: backend.look(tmp_path, 1).what == "lost")
    assert not end_file(tmp_path, 1).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 1}', '{"pid": "x", "host": 3}'])
def test_a_damaged_claim_is_a_lost_job(tmp_path, content):
    claim_file(tmp_path, 1).write_text(content)
    assert Local().look(tmp_path, 1).what == "lost"


def test_the_process_is_asked_and_passes_it_on(tmp_path, backend):
    text = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: exit(7))\n"
        "open('ready', 'w').close()\n"
        "time.sleep(1000)"
    )
    backend.start(tmp_path, 1, python(text), tmp_path, 1)
    until(lambda: (tmp_path / "ready").exists())
    backend.stop(tmp_path, 1)
    assert until(lambda: (seen := backend.look(tmp_path, 1)).what == "ended" and seen).code == 7
    backend.stop(tmp_path, 1)  # to nobody, whatever process has that number now


def test_modules_of_the_working_folder_are_not_imported(tmp_path, backend):
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    backend.start(tmp_path, 1, [sys.executable, "-m", "json.tool", "--help"], tmp_path, 1)
    assert until(lambda: (seen := backend.look(tmp_path, 1)).what == "ended" and seen).code == 0
    assert subprocess.run(
        [sys.executable, "-m", "json.tool", "--help"], cwd=tmp_path, check=False, capture_output=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
    ).returncode  # fmt: skip
