"""Awkward users: files in other encodings, terminals in ASCII, costs with threads and warnings, Ctrl-C."""

import io
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from distopt.config.build import load_config, make_config
from distopt.core.errors import DataError, DistoptError
from distopt.core.usercode import blaming
from distopt.engine.run import run
from distopt.mpirun.environment import Warned, spell_out
from distopt.mpirun.noise import Noise

TEXT = '[problem]\nname = "quadratic"\nagents = 2\ndimension = 3\n[algorithm]\nname = "gt"\n'
COST = """
import numpy as np, sys, threading, warnings

class Cost:
    dimension, smoothness = 2, 1.0

    def value(self, x):
        {value}
        return 0.5 * float(x @ x)

    def gradient(self, x, out):
        out[:] = x

def make_cost(agent, agents):
    return Cost()
"""


def own(folder, value="pass", **more):
    (folder / "own.py").write_text(COST.format(value=value))
    tables = {
        "problem": {"name": "python", "file": "own.py", "agents": 2},
        "algorithm": {"name": "gt", "eta": 0.1, "gamma": 0.5},
        "run": {"iterations": 2},
    }
    return make_config(tables | more, folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_windows_lines_are_nothing(tmp_path, encoding):
    path = tmp_path / "a.toml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    assert load_config(path).problem.dimension == 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (TEXT.encode("utf-16"), "it is text in UTF-16; save it as UTF-8"),
        (b"\x7fELF\x02\x00\xff\x00", r"it is binary data, not text in UTF-8 \(byte 6 is 0xff\)"),
        ('title = "Gröbner"'.encode("latin-1"), r"text in another encoding, .*byte 11 is 0xf6"),
    ],
)
def test_files_that_are_no_text_are_said_to_be_so(tmp_path, content, sentence):
    for name, tables in {
        "a.toml": None,
        "edges.txt": {"topology": {"file": "edges.txt"}},
        "start.txt": {"problem": {"name": "quadratic", "agents": 2, "start": "start.txt"}},
        "data.svm": {"problem": {"name": "logistic", "agents": 2, "dataset": "data.svm"}},
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DistoptError, match=f"{name}.*cannot be read.*{sentence}"):
            read(tmp_path / name, tables)


def read(path, tables):
    if tables is None:
        return load_config(path)
    base = {"problem": {"name": "quadratic", "agents": 2}, "algorithm": {"name": "gt"}}
    return run(make_config(base | tables, path.parent), engine="simulate")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("start.npy", b"", "start.npy.*cannot be read"),
        ("start.npy", b"PK\x03\x04nothing", "start.npy.*cannot be read"),
        ("start.txt", b"", "start.txt.*holds no numbers"),
        ("start.txt", b"1 2 nan\n", "start.txt.*holds numbers that are not finite"),
        ("start.txt", b"1 two 3\n", "start.txt.*cannot be read: could not convert string 'two'"),
    ],
)
def test_start_files_that_are_wrong_are_named(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    problem = {"name": "quadratic", "agents": 2, "dimension": 3, "start": name}
    with pytest.raises(DataError, match=sentence):
        make_config({"problem": problem, "algorithm": {"name": "gt"}}, tmp_path)


@pytest.mark.parametrize(
    "problem",
    [
        {"name": "quadratic", "dimension": 10**12},
        {"name": "quadratic", "dimension": 10**12, "basis": "diagonal"},
        {"name": "pl", "dimension": 10**12},
        {"name": "lista", "m": 10**6, "n": 10**6},
    ],
)
def test_a_dimension_beyond_the_memory_is_a_sentence(tmp_path, problem):
    tables = {
        "problem": {"agents": 2, **problem},
        "algorithm": {"name": "gt", "eta": 0.1, "gamma": 0.5},
    }
    with pytest.raises(DistoptError, match=r"too large|cannot exceed|accepted|memory"):
        run(make_config(tables, tmp_path), engine="simulate")


def test_memory_that_does_not_suffice_is_a_sentence(tmp_path):
    with pytest.raises(
        DataError, match=r"own.py, line 8: value failed with MemoryError: Unable to"
    ):
        own(tmp_path, "np.empty(2**46)")
    with pytest.raises(DistoptError, match="memory of this machine does not suffice"), blaming():
        np.empty(2**46)


def test_a_thread_of_a_cost_that_fails_ends_the_run(tmp_path):
    value = "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()"
    with pytest.raises(
        DataError, match=r"own.py, line 8: a thread in <lambda> failed with ZeroDiv"
    ):
        run(own(tmp_path, value), engine="simulate")


def test_other_threads_keep_their_hook(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    value = "t = threading.Thread(target=int, args=('x',)); t.start(); t.join()"
    run(own(tmp_path, value), engine="simulate")
    assert seen
    assert threading.excepthook == seen.append


def test_a_terminal_in_ascii_gets_words(monkeypatch):
    from distopt.show.console import output

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    spell_out(stream)
    monkeypatch.setattr(sys, "stdout", stream)
    output().print("P ≤ 1e-6, ≈ 3 \u00d7 ‖x‖, 日")
    stream.flush()
    assert raw.getvalue() == b"P <= 1e-6, ~ 3 x ||x||, ?\n"


def test_a_warning_is_one_line_and_comes_once_for_all_ranks(capsys):
    Warned().show(RuntimeWarning("divide by\n zero"), RuntimeWarning, "own.py", 8)
    line = capsys.readouterr().err.rstrip("\n")
    assert line == "warning: own.py, line 8: divide by zero (RuntimeWarning)."
    noise = Noise()
    assert [noise.filter(line), noise.filter(line), noise.filter("more")] == [[line], [], ["more"]]


INTERRUPTED = """
import runpy, sys
class Interrupt:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.argv = ["distopt", "doctor"]
runpy.run_module("distopt", run_name="__main__")
"""


def test_ctrl_c_before_the_imports_are_done_is_a_sentence():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (
        130, "distopt: stopped by Ctrl-C before anything had begun.\n",
    )  # fmt: skip


def test_threads_and_printing_of_a_cost_leave_the_program_as_it_should_be(tmp_path):
    """A thread that never ends does not keep the program; what a cost prints and warns of is passed on."""
    value = (
        "print('hello', file=sys.stderr); np.log(np.zeros(1)); "
        "threading.enumerate()[1:] or threading.Thread(target=threading.Event().wait).start()"
    )
    (tmp_path / "own.py").write_text(COST.format(value=value))
    (tmp_path / "a.toml").write_text(
        '[problem]\nname = "python"\nfile = "own.py"\nagents = 2\n[run]\niterations = 2\n'
        '[algorithm]\nname = "gt"\neta = 0.1\ngamma = 0.5\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "distopt", "run", "a.toml", "--simulate", "--json"],
        capture_output=True, text=True, timeout=900, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"algorithm": "gt"' in done.stdout.splitlines()[-1]
    lines = done.stderr.splitlines()
    assert "hello" in lines
    assert len([x for x in lines if re.match(r"warning: .*own.py, line 8: divide by zero", x)]) == 1
    assert re.match(r"warning: the threads Thread-1.* do not end; the program ends", lines[-1])


def test_what_to_do_about_a_test_that_was_missed(tmp_path):
    """The command can be copied, although the folder has a space."""
    config = own(tmp_path, run={"iterations": 2, "stop": {"stationarity": 1e-9}}, problem={
        "name": "quadratic", "agents": 2, "dimension": 3,
    })  # fmt: skip
    hint = run(config, engine="simulate", out=tmp_path / "my run").resume_hint
    assert f"`distopt resume '{tmp_path}/my run' --set run.iterations=4`" in hint
    assert "algorithm.eta such as 0.025" in hint
    assert "go on: run.iterations=4." in run(config, engine="simulate").resume_hint
    noisy = config.with_settings(
        ["problem.name=logistic", "problem.dataset=breast_cancer", "run.batch=2"]
    )
    assert run(noisy, engine="simulate").resume_hint.endswith("If not, try a larger run.batch.")
    easy = config.with_settings(["run.stop.stationarity=1e9"])
    assert run(easy, engine="simulate").resume_hint is None
