"""A process beside the server, for what may hang, crash, or take much memory.

It answers one request after the other, each a line of JSON (`distopt.service.work`). One that takes too
long ends with the process, and the next request starts another.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from distopt.core.errors import DistoptError, named

CHUNK = 1 << 20
GOOD = b'{"answer":'  # with which an answer begins that is no error
START_SECONDS = 120.0  # to import what tasks need, on a busy machine


class Worker:
    """Does the tasks of `distopt.service.work`, one at a time, in a process that may end.

    Parameters
    ----------
    cwd : Path
        Where the process works: relative names of files in configurations are looked up there.
    idle : float
        Seconds without a task after which `rest` ends the process, to free its memory.
    """

    def __init__(self, cwd: Path, idle: float = float("inf")) -> None:
        self.cwd, self.idle = cwd, idle
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.used = time.monotonic()

    def do(self, task: str, seconds: float = 60.0, **arguments: Any) -> Any:
        """Do a task; return its answer.

        Raises as `ask` does.
        """
        return json.loads(self.ask(task, seconds, **arguments))

    def ask(self, task: str, seconds: float = 60.0, **arguments: Any) -> bytes:
        """Do a task; return its answer as JSON.

        Raises
        ------
        DistoptError
            As the task does, or if it takes longer than `seconds` or ends its process.
        """
        line = json.dumps({"task": task} | arguments).encode() + b"\n"
        with self.lock:
            process, fresh = self.running()
            limit = seconds + START_SECONDS * fresh
            try:
                answer = exchange(process, line, limit)
            except BaseException:
                self.end()
                raise
            finally:
                self.used = time.monotonic()
            if answer is None:
                code = self.end()
                raise DistoptError(f"The process that was to {task} ended with code {code}.")
        if answer.startswith(GOOD):
            return answer[len(GOOD) :].rstrip()[:-1]
        found = json.loads(answer)
        raise named(found["kind"], found["error"])

    def running(self) -> tuple[subprocess.Popen[bytes], bool]:
        """Return the process, and whether it was just started."""
        if self.process is not None and self.process.poll() is None:
            return self.process, False
        self.end()
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "distopt.service.work"],
            cwd=self.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C reaches the server only
        )
        return self.process, True

    def rest(self) -> None:
        """End the process if it had nothing to do for long."""
        if time.monotonic() - self.used > self.idle and self.lock.acquire(blocking=False):
            try:
                self.end()
            finally:
                self.lock.release()

    def close(self) -> None:
        """End the process."""
        with self.lock:
            self.end()

    def end(self) -> int | None:
        """End the process; return its exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        return process.wait()


def exchange(process: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes | None:
    """Send a line and wait for one; None if the process ends before.

    Raises
    ------
    DistoptError
        If it does not answer within some seconds.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except BrokenPipeError:
        return None
    until, parts = time.monotonic() + seconds, list[bytes]()
    while not (parts and parts[-1].endswith(b"\n")):
        left = max(0.0, until - time.monotonic())
        if not select.select([process.stdout], [], [], left)[0]:
            raise DistoptError(
                f"There was no answer within {seconds:.0f} s, so the task was ended."
            )
        chunk = os.read(process.stdout.fileno(), CHUNK)
        if not chunk:
            return None
        parts.append(chunk)
    return b"".join(parts)
