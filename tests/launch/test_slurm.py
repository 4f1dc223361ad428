"""launch/slurm and the service on a Slurm of two nodes that this test makes here, and takes down again."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import numpy as np
import pytest
from debian import need
from machines import AGENTS, BUSY, PATIENCE, ROOT, assert_equal_runs, places, write_paced

import distopt
from distopt.mpirun.process import end_with_parent
from distopt.service.models import JobDetail
from distopt.service.runner import claim_file

# One worker takes all of them: what the fixtures make is made once.
pytestmark = pytest.mark.slow

# Slurm looks at time limits every 30 s, and warns up to 30 s early: with two minutes and 60 s the warning
# comes after 30 to 60 s, so a run of 65 s is stopped at least once. A busy machine starts it later.
MINUTES = 1 + BUSY
PACE = 0.05 * BUSY  # seconds an iteration
ITERATIONS = 1300

SLURM_CONF = """
ClusterName=distopt
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5,socket={here}/munge.socket
StateSaveLocation={here}/state
SlurmctldPidFile={here}/slurmctld.pid
SlurmdSpoolDir={here}/%n
SlurmdPidFile={here}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory):
    """Two nodes on this machine; yields the environment in which sbatch reaches them."""
    need(("slurmctld", "slurmd", "sbatch", "munged"), ("slurm-wlm", "munge"))
    if os.getuid():
        pytest.skip("slurmd can only be started by root")
    here = tmp_path_factory.mktemp("slurm")
    here.chmod(0o755)
    for name in ("state", "n1", "n2"):
        (here / name).mkdir()
    key = here / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    conf = here / "slurm.conf"
    conf.write_text(SLURM_CONF.format(host=socket.gethostname(), here=here, ports=free_ports(3)))
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    env = own | {"SLURM_CONF": str(conf), "PATH": f"{Path(sys.executable).parent}:{own['PATH']}"}
    daemons = {
        "munged": [
            "--foreground", "--force", f"--socket={here}/munge.socket", f"--key-file={key}",
            f"--pid-file={here}/munged.pid", f"--log-file={here}/munged.own.log",
            f"--seed-file={here}/seed",
        ],
        "slurmctld": ["-D"],
        "slurmd n1": ["-D", "-N", "n1"],
        "slurmd n2": ["-D", "-N", "n2"],
    }  # fmt: skip
    running = []
    try:
        for name, arguments in daemons.items():
            with (here / f"{name.replace(' ', '-')}.log").open("w") as log:
                running.append(
                    subprocess.Popen(
                        [name.split()[0], *arguments], env=env, stdout=log, stderr=log,
                        preexec_fn=end_with_parent(),
                    )
                )  # fmt: skip
            time.sleep(0.5)
        end = time.monotonic() + 600
        while ask(env, "sinfo", "-h", "-t", "idle", "-o", "%D").strip() != "2":
            assert time.monotonic() < end, "\n".join(
                p.read_text()[-800:] for p in here.glob("*.log")
            )
            time.sleep(0.5)
        yield env
        ask(env, "scancel", "--state=RUNNING")
        ask(env, "scancel", "--state=PENDING")
        end = time.monotonic() + 200
        while ask(env, "squeue", "-h").strip() and time.monotonic() < end:
            time.sleep(0.5)
    finally:
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            try:
                daemon.wait(100)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def ask(env: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    ).stdout


def submit(env: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a batch job to its end; return its exit code and its output.

    Once the job has gone back into the queue it gets all the time it wants.
    """
    out = folder / "out"
    job = subprocess.Popen(
        ["sbatch", "--wait", f"--output={out}", *arguments], cwd=folder, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + PATIENCE
    eased = False
    while job.poll() is None and time.monotonic() < end:
        time.sleep(0.5)
        queued = re.search(
            r"job (\d+) goes back into the queue", out.read_text() if out.exists() else ""
        )
        if queued and not eased:
            ask(env, "scontrol", "update", f"JobId={queued[1]}", "TimeLimit=60")
            eased = True
    if job.poll() is None:
        ask(env, "scancel", "--state=RUNNING")
        ask(env, "scancel", "--state=PENDING")
        job.kill()
    job.wait()
    return job.returncode, out.read_text()


def test_run_stopped_by_its_time_limit_resumes_to_the_bit(slurm, tmp_path: Path) -> None:
    config = write_paced(tmp_path, ITERATIONS)
    script = str(ROOT / "launch" / "slurm" / "run.sbatch")
    options = (f"--time={MINUTES}", "--signal=B:USR1@60", script, "paced.toml", "mpi")
    code, said = submit(slurm | {"PACE": str(PACE)}, tmp_path, *options)
    assert code == 0, said
    assert places(said) == {"n1", "n2"}
    stops = [int(k) for k in re.findall(r"distopt: Stopped after iteration (\d+)", said)]
    assert len(stops) == len(re.findall("goes back into the queue", said)) >= 1, said
    assert 0 < stops[0] < ITERATIONS
    assert f"{ITERATIONS} iterations, all iterations done" in said
    subprocess.run(
        [sys.executable, "-m", "distopt", "run", str(config), "--simulate", "--quiet", "--out", "sim"],
        cwd=tmp_path, check=True, timeout=PATIENCE, capture_output=True,
    )  # fmt: skip
    assert_equal_runs(tmp_path / "mpi", tmp_path / "sim", ITERATIONS)


def test_too_few_tasks_end_in_a_sentence(slurm, tmp_path: Path) -> None:
    write_paced(tmp_path, 10)
    script = str(ROOT / "launch" / "slurm" / "run.sbatch")
    code, said = submit(slurm, tmp_path, "--ntasks=2", script, "paced.toml", "mpi")
    assert code == 1
    assert f"fewer slots than the {AGENTS} ranks" in said
    assert f"--ntasks={AGENTS}" in said
    assert "There are not enough slots available" not in said


QUICK = """
[problem]
name = "quadratic"
agents = 4
dimension = 6
[algorithm]
name = "gt"
[run]
iterations = 400
checkpoint_every = 100
"""
ENDLESS = QUICK.replace("iterations = 400", "iterations = 100000000")


class Service:
    """`distopt serve` before this Slurm."""

    def __init__(self, env: dict[str, str], data: Path) -> None:
        (self.port,) = free_ports(1)
        self.env, self.data = env, data
        self.client = distopt.Client(f"http://127.0.0.1:{self.port}")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "distopt", "serve", "--data", str(self.data)]
        self.process = subprocess.Popen(
            [*command, "--slurm", "", "--port", str(self.port)],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 300
        while time.monotonic() < end:
            try:
                if self.client.http.get("/health").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError("the service does not come up")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait_for(self, number: int, *states: str) -> JobDetail:
        end = time.monotonic() + 600
        while (job := self.client.job(number)).state not in states:
            assert time.monotonic() < end, job
            time.sleep(0.3)
        return job


def test_the_service_has_its_jobs_there_and_finds_them_again(slurm, tmp_path: Path) -> None:
    service, moments = Service(slurm, tmp_path / "data"), random.Random(1)
    try:
        numbers = [service.client.submit(QUICK, f"j{i}") for i in range(5)]
        for _ in range(5):
            time.sleep(moments.uniform(0, 4))
            service.kill()
            service.start()
        jobs = [service.wait_for(number, "finished", "failed", "interrupted") for number in numbers]
        assert [job.state for job in jobs] == ["finished"] * 5, [job.message for job in jobs]
        first, second = (service.client.submit(ENDLESS, name) for name in ("first", "second"))
        service.wait_for(first, "running")
        assert service.wait_for(second, "starting").state == "starting"  # Slurm has no room for it
        service.client.cancel(second)
        assert service.wait_for(second, "cancelled").runs == []
        folder = tmp_path / "data" / service.client.job(first).folder
        end = time.monotonic() + 300
        while not list(folder.glob("checkpoints/*/manifest.json")):
            assert time.monotonic() < end
            time.sleep(0.2)
        service.client.cancel(first)
        assert service.wait_for(first, "cancelled").runs[0].state == "stopped"
    finally:
        service.kill()
        service.client.close()
    config = distopt.make_config(tomllib.loads(QUICK), tmp_path)
    alone = distopt.load(distopt.run(config, engine="simulate", out=tmp_path / "alone"))
    for job in jobs:
        own = tmp_path / "data" / job.folder / ".service"
        claims = [json.loads(claim_file(own, n).read_bytes()) for n in range(1, job.attempt + 1)]
        assert sum(claim["pid"] > 0 for claim in claims) == 1
        found = distopt.load(tmp_path / "data" / job.folder)
        assert np.array_equal(found["stationarity"], alone["stationarity"])
