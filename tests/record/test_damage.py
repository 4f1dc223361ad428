"""A changed bit of a record is noticed, wherever it is, and ends in a sentence within seconds."""

import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from handmade import write_run

from distopt.core.errors import CheckpointError
from distopt.record import metrics
from distopt.record.metrics import SEALED, read_here, read_metrics
from distopt.record.writer import Writer

P = 1.2345678e-5  # a value that is nowhere else in the file


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """Return the file that a writer has left which was killed after its last flush."""
    held, finish = [], Writer.finish

    def stop(self, *how):
        self.flush()
        held.append(self.path.read_bytes())
        finish(self, *how)

    monkeypatch.setattr(Writer, "finish", stop)
    path = write_run(tmp_path / "a", [1.0, P, 1e-9]) / "metrics.h5"
    path.write_bytes(held[0])
    assert metrics.unfinished(path)
    return path


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def refusal(path):
    with pytest.raises(
        CheckpointError, match=r"metrics\.h5 cannot be read as the record"
    ) as caught:
        read_metrics(path)
    return str(caught.value)


def test_an_ended_record_is_sealed(tmp_path):
    path = write_run(tmp_path / "a", [1.0, P]) / "metrics.h5"
    whole = path.read_bytes()
    places = [0, 9, whole.index(struct.pack("<d", P)), len(whole) - SEALED - 1, len(whole) - 9]
    for position in places:
        flip(path, position)
        assert "it does not match its own checksum" in refusal(path)
        path.write_bytes(whole)
    path.write_bytes(whole[:-SEALED])  # as earlier versions wrote it
    assert read_metrics(path).series["stationarity"][1] == P
    flip(path, whole.index(struct.pack("<d", P)))
    assert "its rows do not match their checksum" in refusal(path)


def test_a_child_reads_what_a_killed_writer_left(killed):
    found, here = read_metrics(killed), read_here(killed)
    assert found.meta == here.meta
    assert [type(value) for value in found.meta.values()] == [type(v) for v in here.meta.values()]
    assert found.matrix.tobytes() == here.matrix.tobytes()
    assert list(found.series) == list(here.series)
    for name, column in here.series.items():
        assert found.series[name].dtype == column.dtype
        assert found.series[name].tobytes() == column.tobytes()


def test_numbers_of_an_unfinished_record_are_checked(killed):
    content = killed.read_bytes()
    for number in (P, 1 / 3):  # of a series, of W
        flip(killed, content.index(struct.pack("<d", number)))
        assert "its rows do not match their checksum" in refusal(killed)
        killed.write_bytes(content)


def test_damage_that_keeps_hdf5_waiting(killed, monkeypatch):
    monkeypatch.setattr(metrics, "READ_SECONDS", 1)
    flip(killed, killed.read_bytes().index(b"FRHP") + 10)
    assert "HDF5 came to no end within 1 s" in refusal(killed)


PROGRAM = """
import pathlib, sys
from distopt.record import metrics
metrics.read_here = lambda path: {act}
metrics.main(pathlib.Path(sys.argv[-2]), 60)
"""


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("__import__('os').kill(__import__('os').getpid(), 11)", r"HDF5 crashed \(SIGSEGV\)"),
        ("bytearray(8 << 30)", "MemoryError"),
        ("1 / 0", "division by zero"),
    ],
)
def test_what_happens_to_a_child_is_said(act, told, killed, monkeypatch):
    run = subprocess.run
    program = [sys.executable, "-c", PROGRAM.format(act=act)]
    monkeypatch.setattr(
        metrics.subprocess, "run", lambda command, **how: run(program + command[-2:], **how)
    )
    with pytest.raises(CheckpointError, match=told):
        read_metrics(killed)


def test_ctrl_c_ends_the_reading(killed):
    """The parent waits in Python, not in HDF5."""
    flip(killed, killed.read_bytes().index(b"FRHP") + 10)
    program = "import sys, pathlib\nfrom distopt.record import metrics\nprint('on', flush=True)\n"
    program += "metrics.read_metrics(pathlib.Path(sys.argv[1]))\n"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(killed)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "on\n"
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=metrics.READ_SECONDS)
    assert "KeyboardInterrupt" in stderr


def test_rows_keep_their_checksum_through_a_resume(killed):
    found = read_metrics(killed)
    writer = Writer.reopen(killed, found, lambda k: k < 20, {})
    writer.append(dict.fromkeys(found.series, 7.0))
    writer.flush()
    assert read_here(killed).series["stationarity"].tolist() == [1.0, P, 7.0]
    writer.finish("finished", "iterations")
    assert read_metrics(killed).series["stationarity"].tolist() == [1.0, P, 7.0]
    assert np.array_equal(read_metrics(killed).matrix, found.matrix)
