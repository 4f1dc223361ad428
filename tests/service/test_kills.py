"""The server is killed while its queue is busy: no job is lost, none runs twice, none is stuck."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import tomllib

import httpx
import numpy as np
import pytest
from pretend import QUICK

import distopt
from distopt.service.runner import claim_file

JOBS, ROUNDS = 10, 12
PATIENCE = 900.0


class Server:
    """`distopt serve` in a process of its own."""

    def __init__(self, data):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data = data
        self.client = distopt.Client(f"http://127.0.0.1:{self.port}")

    def start(self):
        command = [sys.executable, "-m", "distopt", "serve", "--data", str(self.data)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--slots", "3"], **quiet
        )

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def answers(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if self.client.http.get("/health").status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError("the server does not come up")


@pytest.mark.slow
def test_no_job_is_lost_or_run_twice_however_often_the_server_is_killed(tmp_path):
    moments = random.Random(1)
    server = Server(tmp_path / "data")
    server.start()
    server.answers()
    numbers = [server.client.submit(QUICK, f"j{n}", engine="simulate") for n in range(JOBS)]
    for _ in range(ROUNDS):
        time.sleep(moments.uniform(0, 1.5))
        server.kill()
        server.start()
        if moments.random() < 0.7:  # else it is killed before it has begun
            server.answers()
    server.answers()
    jobs = [server.client.wait(number, PATIENCE) for number in numbers]
    server.process.terminate()
    server.process.wait()
    server.client.close()
    assert [job.state for job in jobs] == ["finished"] * JOBS, [job.message for job in jobs]
    text = (tmp_path / "data" / jobs[0].folder / ".service" / "j0.toml").read_text()
    config = distopt.make_config(tomllib.loads(text), tmp_path)
    alone = distopt.run(config, engine="simulate", out=tmp_path / "alone")
    wanted = distopt.load(alone)
    for job in jobs:
        own = tmp_path / "data" / job.folder / ".service"
        claims = [json.loads(claim_file(own, n).read_bytes()) for n in range(1, job.attempt + 1)]
        assert sum(claim["pid"] > 0 for claim in claims) == 1, job  # the others were never begun
        found = distopt.load(tmp_path / "data" / job.folder)
        for name in ("iteration", "stationarity", "bytes_per_agent", "objective"):
            assert np.array_equal(found[name], wanted[name]), (job.id, name)
