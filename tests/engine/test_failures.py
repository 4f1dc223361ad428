"""Failures as a user meets them: a whole job in a subprocess, each rank in turn, bounded in time.

Every job must end by itself within seconds, with one sentence and a true exit code, and leave a
record that h5py alone can read.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from distopt.core.errors import TransportError
from distopt.mpirun.launcher import find_mpirun

AGENTS = 4
BOUND = 900.0  # seconds that a job may take on the busiest machine; normally 5 to 10
BUSY = min(10, max(1, round(os.getloadavg()[0] / (os.cpu_count() or 1))))
SILENCE = 6 * BUSY  # seconds that a neighbour may say nothing; a busy machine pauses them for less
LONGER = max(30, SILENCE)  # that a rank may take to set up, or to save
MISBEHAVING = Path(__file__).with_name("misbehaving.py")

try:
    MPIRUN = find_mpirun()
except TransportError as error:
    pytest.skip(str(error), allow_module_level=True)


OPEN_MPI = MPIRUN.maker == "Open MPI"


def slow(value):
    """Leave a parameter to the slow tier."""
    return pytest.param(value, marks=pytest.mark.slow)


def rotate(shift):
    """Give one rank to the normal tier and the others to the slow one."""
    return [rank if rank == shift % AGENTS else slow(rank) for rank in range(AGENTS)]


class Run:
    """One run of four ranks with a misbehaving cost."""

    def __init__(self, folder, act="none", who=0, at=0, **settings):
        self.folder, self.out = folder, folder / "out"
        self.config = folder / "config.toml"
        self.command = ("run", self.config, "--out", self.out, "--quiet")
        run = {"iterations": 400, "record_every": 5, "checkpoint_every": 50, "timeout": 600.0}
        lines = [
            '[problem]\nname = "python"\nagents = 4',
            f"file = {json.dumps(str(MISBEHAVING))}",
            f'[problem.options]\nact = "{act}"\nwho = {who}\nat = {at}',
            f"place = {json.dumps(str(folder))}",
            '[topology]\ngraph = "ring"',
            '[algorithm]\nname = "cgt1"\neta = 0.05\ngamma = 0.3\nalpha = 1.0',
            '[compressor]\nname = "quantize"\nbits = 4',
            "[run]",
            *[f"{key} = {json.dumps(value)}" for key, value in (run | settings).items()],
        ]
        self.config.write_text("\n".join(lines))

    def start(self, *arguments, mpirun=False):
        """Start ``distopt ARGUMENTS`` (run by default), directly or as the ranks of an mpirun."""
        arguments = [str(a) for a in arguments or self.command]
        command = [sys.executable, "-m", "distopt", *arguments]
        if mpirun:
            command = MPIRUN.start(AGENTS, command)
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "DISTOPT_DEBUG"},
        )
        return self

    def end(self):
        """Wait for the end; return exit code and the lines of standard error."""
        try:
            _, stderr = self.process.communicate(timeout=BOUND)
        except subprocess.TimeoutExpired:
            self.kill()
            _, stderr = self.process.communicate()
            pytest.fail(f"the job did not end within {BOUND} s; it said:\n{stderr}")
        self.stderr = stderr
        return self.process.returncode, stderr.splitlines()

    def pids(self):
        return [int(path.read_text()) for path in sorted(self.folder.glob("pid-*"))]

    def kill(self):
        for pid in self.pids():
            self.signal(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    @staticmethod
    def signal(pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def wait_for(self, iteration):
        """Wait until all agents are past an iteration (with an act that is slow, which tells)."""
        began = time.monotonic()
        while time.monotonic() - began < BOUND and self.process.poll() is None:
            told = [path.read_text() for path in self.folder.glob("at-*")]
            if len(told) == AGENTS and all(text and int(text) >= iteration for text in told):
                return
            time.sleep(0.02)
        self.kill()
        pytest.fail(f"the job never came to iteration {iteration}: {self.process.stderr.read()}")

    def gone(self):
        """Whether none of the ranks is left."""
        pids = self.pids()
        deadline = time.monotonic() + BOUND
        while (left := [p for p in pids if alive(p)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            self.signal(pid, signal.SIGKILL)
        return not left

    def rows(self):
        """Read the iterations recorded, with h5py alone, as a reader of a crashed run would."""
        with h5py.File(self.out / "metrics.h5", "r", swmr=True) as file:
            count = file["series"].attrs["rows"]
            return file["series"]["iteration"][:count].tolist()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def assert_one_sentence(run, *parts, code=1):
    """Demand failure, said once in a sentence with these parts, and a readable record."""
    returned, lines = run.end()
    assert returned == code if code else returned > 0, run.stderr
    spoken = [line for line in lines if line.startswith("distopt: ")]
    assert len(spoken) == 1, run.stderr
    assert lines == spoken, run.stderr
    for part in parts:
        assert part in spoken[0]
    assert "Traceback" not in run.stderr
    assert run.gone()


def assert_recorded_until(run, last):
    """Demand all rows that were made before the failure."""
    assert run.rows() == list(range(0, last + 1, 5))


# One rank fails alone; how others name the reason, they do in one process as well.
engines = pytest.mark.parametrize("engine", [["--simulate"], slow([])], ids=["simulate", "mpi"])


@pytest.mark.once
@pytest.mark.parametrize("who", rotate(1))
def test_cost_that_raises(who, tmp_path):
    run = Run(tmp_path, "raise", who, 22).start()
    assert_one_sentence(
        run, f"Agent {who} at iteration 22", "misbehaving.py, line", "RuntimeError: no more"
    )
    assert_recorded_until(run, 20)


@pytest.mark.once
@engines
@pytest.mark.parametrize("who", rotate(2))
def test_cost_that_returns_nan(who, engine, tmp_path):
    run = Run(tmp_path, "nan", who, 22)
    run.start(*run.command, *engine)
    assert_one_sentence(run, f"Agent {who} diverged at iteration 22: gradient[4] is nan")
    assert_recorded_until(run, 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("raise", "Agent 1 at iteration 22: "),
        ("nan", "Agent 1 diverged at iteration 22: gradient[4] is nan"),
        ("hang", "heard nothing from agent 1 (host "),
        ("truncate", "cannot read the message of agent 1 at iteration 22: "),
    ],
)
def test_between_the_parts_of_a_message(act, told, tmp_path):
    """What happens while second vectors are on their way is told as ever."""
    run = Run(tmp_path, act, 1, 22, overlap=True, timeout=SILENCE).start()
    assert_one_sentence(run, told)
    assert_recorded_until(run, 20)


@pytest.mark.once
def test_divergence_of_all(tmp_path):
    run = Run(tmp_path, "diverge", 0, 10).start()
    assert_one_sentence(run, "diverged", "at iteration", "smaller algorithm.eta")
    assert run.rows()[:3] == [0, 5, 10]


@pytest.mark.parametrize("who", rotate(3))
def test_rank_that_stands_still(who, tmp_path):
    run = Run(tmp_path, "stop", who, 22, timeout=SILENCE).start()
    assert_one_sentence(
        run,
        f"heard nothing from agent {who} (host ",
        f"for {SILENCE} s in iteration 22",
        "run.timeout",
    )
    if who != 0:
        assert_recorded_until(run, 20)
    assert set(run.rows()) <= set(range(0, 21, 5))


@pytest.mark.once
@pytest.mark.parametrize("who", rotate(1))
def test_rank_that_hangs_while_the_others_record(who, tmp_path):
    """They wait in a collective operation, which does not show who is missing."""
    run = Run(tmp_path, "hang-value", who, 20, timeout=SILENCE).start()
    waited = f"hangs: the others have waited {SILENCE} s for it to record iteration 25; run.timeout"
    assert_one_sentence(run, f"Agent {who} (host ", waited)
    assert set(run.rows()) <= set(range(0, 21, 5))


@pytest.mark.once
@pytest.mark.parametrize("who", [1, slow(2), slow(3)])
def test_factory_that_hangs(who, tmp_path):
    run = Run(tmp_path, "hang", who, -1, timeout=SILENCE, setup_timeout=LONGER).start()
    waited = f"hangs: the others have waited {LONGER} s for it to make its cost; run.setup_timeout"
    assert_one_sentence(run, f"Agent {who} (host ", waited)


@pytest.mark.once
@pytest.mark.parametrize("who", [0, 2])
def test_factory_that_hangs_in_the_command(who, tmp_path):
    """It makes the cost of agent 0 to know its dimension; in one process it makes them all."""
    run = Run(tmp_path, "hang", who, -1, setup_timeout=3.0)
    run.start(*run.command, "--simulate")
    late = f": make_cost({who}, 4, ...) has not ended within 3 s; run.setup_timeout sets how long"
    assert_one_sentence(run, f"Agent {who} hangs: ", "misbehaving.py, line ", late)


@pytest.mark.slow
@pytest.mark.parametrize("who", range(AGENTS))
def test_rank_that_hangs_while_all_save(who, tmp_path):
    run = Run(tmp_path, "hang-save", who, 0, timeout=SILENCE, setup_timeout=LONGER).start()
    waited = (
        f"hangs: the others have waited {LONGER} s for it to save iteration 50; run.setup_timeout"
    )
    assert_one_sentence(run, f"Agent {who} (host ", waited)


@pytest.mark.slow
@pytest.mark.parametrize("who", range(AGENTS))
def test_rank_that_leaves_without_a_word(who, tmp_path):
    """A library calls C's exit(0)."""
    run = Run(tmp_path, "c-exit", who, 22).start()
    assert_one_sentence(run, "ended", "and the job with it", code=None)


@pytest.mark.slow
@pytest.mark.parametrize("who", range(AGENTS))
def test_silence_after_a_resume_counts_iterations(who, tmp_path):
    """Not exchanges, which start again."""
    run = Run(tmp_path, "hang", who, 70, iterations=60, timeout=SILENCE).start()
    assert run.end()[0] == 0
    run.start("resume", run.out, "--iterations", 400, "--quiet")
    code, lines = run.end()
    assert code == 1
    assert f"heard nothing from agent {who} (host " in lines[-1]
    assert "in iteration 71" in lines[-1]
    assert run.gone()


LEAVES = {
    "os-exit": "sys.exit(0)",
    "sys-exit": "sys.exit(0)",
    "interrupt": "KeyboardInterrupt",
}


@pytest.mark.once
@pytest.mark.parametrize("act", [slow("sys-exit"), "os-exit", slow("interrupt")])
@pytest.mark.parametrize("who", rotate(2))
def test_cost_that_leaves(act, who, tmp_path):
    run = Run(tmp_path, act, who, 22).start()
    assert_one_sentence(run, f"Agent {who} ", "iteration 22", "misbehaving.py, line", LEAVES[act])
    assert_recorded_until(run, 20)


@pytest.mark.slow
@pytest.mark.parametrize("act", LEAVES)
@pytest.mark.parametrize("who", range(1, AGENTS))  # agent 0's leaves the command
def test_factory_that_leaves(act, who, tmp_path):
    run = Run(tmp_path, act, who, -1).start()
    assert_one_sentence(run, "misbehaving.py, line", LEAVES[act])


@pytest.mark.parametrize("who", rotate(0))
def test_rank_that_is_killed(who, tmp_path):
    run = Run(tmp_path, "kill", who, 22).start()
    assert_one_sentence(run, "ended", "and the job with it", code=137 if OPEN_MPI else None)
    assert set(run.rows()) <= set(range(0, 21, 5))


@pytest.mark.once
@engines
@pytest.mark.parametrize("act", ["scale", *(slow(act) for act in ("truncate", "prolong"))])
@pytest.mark.parametrize("who", rotate(1))
def test_message_that_does_not_decode(act, who, engine, tmp_path):
    run = Run(tmp_path, act, who, 22)
    run.start(*run.command, *engine)
    assert_one_sentence(run, f"cannot read the message of agent {who} at iteration 22")
    assert_recorded_until(run, 20)


def assert_stopped(run):
    """Demand a clean stop: exit code 0, a checkpoint, a line that says how to go on, and that works."""
    code, lines = run.end()
    assert code == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert any(f"continue with: distopt resume {run.out}" in line for line in lines), run.stderr
    assert run.gone()
    with h5py.File(run.out / "metrics.h5", "r") as file:
        assert file["meta"].attrs["status"] == "stopped"
        assert file["meta"].attrs["stop_reason"] == "signal"
    return saved(run)


def saved(run):
    """Return the iteration of the newest complete checkpoint."""
    return max(int(p.parent.name) for p in run.out.glob("checkpoints/*/manifest.json"))


def assert_stops(run, number, iteration):
    """Send a signal after an iteration; demand a clean stop."""
    run.wait_for(iteration)
    run.process.send_signal(number)
    last = assert_stopped(run)
    assert last >= iteration
    return last


@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
@pytest.mark.parametrize("act", ["term", *(slow(act) for act in ("int", "usr1"))])
@pytest.mark.parametrize("who", rotate(2))
def test_signals_to_one_rank_and_to_the_command_stop_all(act, who, number, tmp_path):
    run = Run(tmp_path, f"{act} slow", who, 22, iterations=10**6, record_every=500).start()
    first = assert_stopped(run)
    assert first >= 22
    run.start("resume", run.out, "--quiet")
    assert_stops(run, number, first + 20)


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((signal.SIGUSR1, signal.SIGTERM), marks=pytest.mark.once),
        slow((signal.SIGTERM,)) if OPEN_MPI else (signal.SIGTERM,),
        slow((signal.SIGINT,)),
    ],
)
def test_signals_to_mpirun(numbers, tmp_path):
    """MPICH's mpirun forwards all three; Open MPI's only SIGUSR1, and kills the ranks on the others."""
    settings = {"iterations": 10**6, "record_every": 500, "checkpoint_every": 20}
    run, last = Run(tmp_path, "slow", **settings), 0
    command = run.command
    for number in numbers:
        run.start(*command, mpirun=True)
        if number == signal.SIGUSR1 or not OPEN_MPI:
            last = assert_stops(run, number, last + 50)
        else:
            run.wait_for(last + 50)
            run.process.send_signal(number)
            code, _ = run.end()
            assert code > 0
            assert run.gone()
            assert run.rows()[0] == 0
        command = ("resume", run.out, "--quiet")
    last = saved(run) + 20
    run.start(*command, "--iterations", last, "--simulate")
    code, _ = run.end()
    assert code == 0, run.stderr
    assert run.rows()[-1] == last
