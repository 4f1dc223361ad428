"""What the service costs: lists, curves, news, idling, memory.

    python benchmarks/service.py [--runs 1000] [--long 50] [--rows 100000] [--queued 200] [--watchers 8]

Makes a folder of finished runs, serves it in a process of its own and prints, beside each number, the one
that is aimed at. Wall times hold on a machine that does nothing else; processor times are those of the
server and its helpers.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

import distopt
from distopt.record.metrics import read_metrics
from distopt.record.writer import Writer

NAMES = ("stationarity", "consensus_error", "lyapunov", "objective")
IDLE_SECONDS = 30.0
TABLES = {
    "problem": {"name": "quadratic", "agents": 4, "dimension": 5},
    "algorithm": {"name": "cgt1"},
    "compressor": {"name": "quantize"},
    "run": {"iterations": 20},
}
CHANGES = 20


def prepare(data: Path, runs: int, long: int, rows: int) -> None:
    """Make run folders: many short ones, and some with many rows."""
    first = data / "run0000"
    distopt.run(distopt.make_config(TABLES, data), engine="simulate", out=first)
    shutil.rmtree(first / "checkpoints")
    for i in range(1, runs):
        shutil.copytree(first, data / f"run{i:04d}")
    found = read_metrics(first / "metrics.h5")
    meta = {k: v for k, v in found.meta.items() if k not in {"format", "status", "stop_reason"}}
    at, random = np.arange(rows), np.random.default_rng(0)
    for i in range(long):
        series = {
            name: (
                at
                if column.dtype.kind == "i" or name in {"bytes_per_agent", "seconds", "gradients"}
                else np.exp(-at / (rows / 5)) * (1 + 0.5 * random.random(rows))
            ).astype(column.dtype)
            for name, column in found.series.items()
        }
        place = data / f"long{i:02d}"
        place.mkdir()
        writer = Writer(place / "metrics.h5", [*series], meta, found.matrix, series)
        writer.finish("finished", "iterations")
        shutil.copy(first / "config.toml", place)


class Server:
    """`distopt serve` of a folder."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "distopt", "serve", "--data", str(data), "--slots", "4"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, "--port", str(port)], **quiet)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600)
        while True:
            try:
                if self.http.get("/health").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)

    def family(self) -> list[psutil.Process]:
        """The server and its helpers; jobs are no children of it."""
        own = psutil.Process(self.process.pid)
        return [own, *(p for p in own.children() if "distopt.service.work" in p.cmdline())]

    def processor(self) -> float:
        """Seconds of processor time so far."""
        return sum(p.cpu_times().user + p.cpu_times().system for p in self.family())

    def memory(self) -> float:
        """Bytes in memory, shared pages in shares."""
        return sum(p.memory_full_info().pss for p in self.family())

    def timed(self, *asked: tuple[str, object]) -> tuple[float, float, int]:
        """Ask; return wall and processor seconds, and bytes."""
        before, began, size = self.processor(), time.perf_counter(), 0
        for path, params in asked:
            answer = self.http.get(path, params=params)
            answer.raise_for_status()
            size += len(answer.content)
        return time.perf_counter() - began, self.processor() - before, size


def show(what: str, aim: str, found: list[tuple[float, float, int]]) -> None:
    """Print medians and the least."""
    walls, works, sizes = zip(*found, strict=True)
    print(
        f"{what:34} wall {statistics.median(walls):7.3f} s (least {min(walls):.3f}), processor "
        f"{statistics.median(works):6.3f} s, {sizes[0]:9d} bytes; aim {aim}"
    )


def watch(server: Server, watchers: int, queued: int) -> list[float]:
    """Change single jobs of a long queue; return how long each watcher took to hear of each change."""
    blocker = TABLES | {"run": {"iterations": 10**7}}
    client = distopt.Client(http=server.http)
    first = client.submit(blocker, "blocker", priority=10)
    numbers = [submit(client, f"queued {i}") for i in range(queued)]
    heard: list[dict[str, float]] = [{} for _ in range(watchers)]
    since = server.http.get("/api/v1/changes").json()["cursor"]
    over, listening = threading.Event(), threading.Semaphore(0)

    def listen(told: dict[str, float]) -> None:
        address = f"{server.http.base_url}/api/v1/events?since={since}"
        with httpx.stream("GET", address, timeout=60) as answer:
            listening.release()
            for line in answer.iter_lines():
                if over.is_set():
                    return
                if line.startswith("data: {"):
                    for key in json.loads(line[6:])["keys"]:
                        told[key] = time.perf_counter()

    threads = [threading.Thread(target=listen, args=(told,), daemon=True) for told in heard]
    for thread in threads:
        thread.start()
    for _ in threads:
        listening.acquire()
    delays = []
    for number in numbers[-CHANGES:]:
        time.sleep(0.5)
        began = time.perf_counter()
        server.http.post(f"/api/v1/jobs/{number}/cancel").raise_for_status()
        while any(told.get(f"job:{number}", 0) < began for told in heard):
            time.sleep(0.005)
        delays += [told[f"job:{number}"] - began for told in heard]
    over.set()
    for number in numbers[:-CHANGES]:
        again(lambda n=number: client.cancel(n))
    client.cancel(first)
    client.wait(first)
    return delays


def submit(client: distopt.Client, name: str) -> int:
    """Submit a job, as soon as the limit of rates lets it."""
    return again(lambda: client.submit(TABLES, name))


def again(call):
    """Call until the limit of rates lets it."""
    while True:
        try:
            return call()
        except distopt.DistoptError as error:
            if "too many requests" not in str(error):
                raise
            time.sleep(2)


def main() -> None:
    """Measure everything."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, usual in {
        "runs": 1000,
        "long": 50,
        "rows": 100_000,
        "queued": 200,
        "watchers": 8,
    }.items():
        options.add_argument(f"--{name}", type=int, default=usual)
    given = options.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="distopt-service-") as place:
        data = Path(place)
        prepare(data, given.runs, given.long, given.rows)
        server = Server(data)
        try:
            total = given.runs + given.long
            while server.http.get("/api/v1/runs?limit=1").json()["total"] < total:
                time.sleep(0.5)
            asked = [("name", name) for name in NAMES] + [("measures", "true")]
            series = [
                ("/api/v1/curves", [*asked, *(("run", f"long{i:02d}") for i in range(at, upto))])
                for at in range(0, given.long, 10)
                for upto in [min(at + 10, given.long)]
            ]
            show("first page of the list", "0.5 s", [server.timed(("/", {})) for _ in range(9)])
            whole = [server.timed(("/api/v1/runs", {"limit": 1000})) for _ in range(9)]
            show(f"{given.runs} runs over HTTP", "0.5 s", whole)
            curves = [server.timed(*series) for _ in range(5)]
            show(f"{given.long} curves of {given.rows} rows", "2 s", curves)
            time.sleep(5)
            before = server.processor()
            time.sleep(IDLE_SECONDS)
            share = (server.processor() - before) / IDLE_SECONDS
            print(f"{'idle':34} {share:.2%} of a core; aim 5 %")
            print(f"{'memory':34} {server.memory() / 1e6:.0f} MB; aim 300 MB")
            delays = watch(server, given.watchers, given.queued)
            what = f"news to {given.watchers} watchers"
            print(
                f"{what:34} median {statistics.median(delays):.2f} s, "
                f"largest {max(delays):.2f} s of {len(delays)}; aim 1 s"
            )
        finally:
            server.process.terminate()
            server.process.wait()


if __name__ == "__main__":
    main()
