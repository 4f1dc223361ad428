"""A sample of the kill campaign, and sweeps over what it found; the whole is a command (chaos.py)."""

import contextlib
import os
import random
import socket
import traceback
from dataclasses import replace

import numpy as np
import pytest
from chaos import draw_job
from histories import History, Stage, Trial
from operations import LETHAL, LIBC, Fault, Watch, available, be_watched

from distopt.core.errors import CheckpointError
from distopt.record.lock import only_writer
from distopt.record.metrics import read_here, read_metrics
from distopt.record.writer import Writer

PAIRS = [("cgt1", "quantize"), ("cgt3", "saturating"), ("lead", "rand_k"), ("zed", "zoom")]

pytestmark = [
    pytest.mark.skipif(not available(), reason="needs seccomp with user notification"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.once,
]


def watched(call, folder, fault):
    """Call in a process of its own; return its exit code and what was seen."""
    ours, theirs = socket.socketpair()
    with ours:
        pid = os.fork()
        if pid == 0:
            try:
                be_watched(theirs)
                call()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(99)
        theirs.close()
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
        watch, ended = Watch(pid, str(folder), fault), os.pidfd_open(pid)
        assert watch.serve(listener, ended, 600.0)
        os.close(listener)
        os.close(ended)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), watch


FAULTS = {  # at the write of ten bytes: exit code, bytes that are there
    "none": (0, 10), "kill": (-9, 0), "torn": (-9, 5), "full": (28, 0), "readonly": (30, 0),
    "broken": (5, 0), "pause": (0, 10), "SIGTERM": (-15, 10),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_meets_the_operation_that_it_names(kind, tmp_path):
    file = tmp_path / "file"

    def write():
        file.write_bytes(b"0123456789")

    code, watch = watched(write, tmp_path, Fault(kind, 2))
    assert (code, file.stat().st_size) == FAULTS[kind] or (kind, code) == ("SIGTERM", -15)
    assert watch.hit is (kind != "none")
    assert [call for call, _ in watch.trace][:1] == ["openat"]


def test_a_history_is_what_it_says():
    text = "cgt1 quantize: run kill:rank2@17 resume pause+3.5 over full@9"
    assert str(History.read(text)) == text
    assert draw_job(1, 2) == draw_job(1, 2) != draw_job(1, 3)


def test_the_checker_notices():
    """A row, a message, a byte of a state and a file that differ are each found."""
    trial = Trial(History.read("cgt1 quantize: run"), random.Random(0))
    content = trial.whole.content
    trial.ledger.sums[:] = trial.whole.sums
    trial.compare(content)
    assert trial.wrong == []
    trial.ledger.sums[3, 2] += 1
    row = content.rows[2] | {"stationarity": content.rows[2]["stationarity"] * (1 + 1e-15)}
    name, array = next(iter(content.arrays.items()))
    trial.compare(
        replace(
            content,
            rows=[*content.rows[:2], row, *content.rows[3:]],
            arrays=content.arrays | {name: array[::-1]},
            names=content.names | {"run.lock.host.1.ff"},
        )
    )
    assert [text.split(",")[0] for text in trial.wrong] == [
        "end: arrays differ", "end: the record differs: 6 rows", "end: messages differ",
        "end: files left behind or missing: ['run.lock.host.1.ff']",
    ]  # fmt: skip


@pytest.mark.parametrize("kills_each", [5, pytest.param(14, marks=pytest.mark.slow)])
def test_many_kills(kills_each):
    """Four runs, each killed again and again wherever it is, end as if nothing had been."""
    draw, kills, wrong = random.Random(1), 0, []
    for pair in PAIRS:
        faults = [
            Fault(draw.choice(["kill", "kill", "torn"]), draw.randint(1, 200))
            for _ in range(kills_each)
        ]
        stages = [Stage("resume" if place else "run", fault) for place, fault in enumerate(faults)]
        trial = Trial(History(pair, tuple(stages)), draw).play()
        kills += len(trial.struck)
        wrong += [(str(trial.history), text) for text in trial.wrong]
    assert wrong == []
    assert kills >= 0.9 * kills_each * len(PAIRS)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["kill", "readonly", "broken", "full"])
def test_a_lock_at_every_operation(kind, tmp_path):
    """Whatever is refused ends in a sentence, and whatever is left behind is gone after the next time."""

    def lock():
        with contextlib.suppress(CheckpointError), only_writer(tmp_path):
            pass

    at, hit = 0, True
    while hit:
        at += 1
        code, watch = watched(lock, tmp_path, Fault(kind, at))
        hit = watch.hit
        assert code == (-9 if kind == "kill" and hit else 0), watch.where
        lock()
        assert names(tmp_path) == set(), watch.where
    assert at > 4


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["kill", "torn", "readonly", "broken", "full"])
def test_a_record_at_every_operation(kind, step, tmp_path):
    """A resume and an end: kept rows are there, the file opens, no process crashes."""
    path = tmp_path / "metrics.h5"
    first = Writer(path, ["iteration", "seconds"], {}, np.eye(1))
    for k in range(1000):
        first.append({"iteration": k, "seconds": k / 8})
    first.finish("stopped", "signal")
    whole = path.read_bytes()

    def go_on():
        writer = Writer.reopen(path, read_metrics(path), lambda k: k < 990, {})
        try:
            writer.append({"iteration": 990, "seconds": 990 / 8})
            writer.flush()
            writer.finish("finished", "iterations")
        except CheckpointError:
            writer.close()

    def last():
        with contextlib.suppress(CheckpointError):
            go_on()
        LIBC.exit(0)  # HDF5 does things at the end

    at, hit = 1 - step, True
    while hit:
        at += step
        code, watch = watched(last, tmp_path, Fault(kind, at))
        hit = watch.hit
        assert code == (-9 if hit and kind in LETHAL else 0), watch.where
        rows = read_here(path).series["iteration"].tolist()
        assert rows[:990] == list(range(990)), watch.where
        assert names(tmp_path) <= {path.name, f"{path.name}.tmp"}
        path.write_bytes(whole)
    assert at > 20
