"""A running mpirun: hear its ranks, forward signals, keep its noise from burying a sentence."""

import ctypes
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from distopt.engine.launcher import MARK, PARENT, debugging
from distopt.errors import TransportError

START_SECONDS = 300.0  # a job none of whose ranks has spoken by then has failed to start
END_SECONDS = 15.0  # mpirun may take so long to end after its ranks have


@dataclass
class Outcome:
    """How a job ended."""

    code: int
    sentences: list[str]  # what the ranks complained of, without "distopt: "


class Job:
    """A running mpirun and what comes out of it.

    Parameters
    ----------
    command : Sequence[str]
    on_event : callable
        Called with every message that rank 0 sends by `tell`.
    on_line : callable
        Called with every other line of the ranks' standard error, except mpirun's own noise.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_event: Callable[[dict[str, Any]], None],
        on_line: Callable[[str], None],
    ) -> None:
        self.on_event, self.on_line = on_event, on_line
        self.noise = Noise()
        self.sentences: list[str] = []
        self.spoken = False  # a rank has
        self.over: float | None = None  # when the ranks had nothing more to do
        self.stopped = False  # by a signal
        self.heard = False  # something else than our own messages
        # A session of its own: Ctrl-C in the terminal must reach this process only, which asks the
        # ranks to stop in an orderly way; mpirun itself would kill them.
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {PARENT: "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )

    def wait(self) -> Outcome:
        """Listen until the job ends; SIGINT, SIGTERM and SIGHUP ask the ranks to save and stop."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self.stop) for number in handled}
        try:
            self.listen()
            code = self.end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self.process.poll() is None:
                self.kill()
        return Outcome(code, self.sentences)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Forward a signal: first as a request to save and stop, then as an order."""
        if self.process.poll() is not None:
            return
        if self.spoken and not self.stopped:
            # Every MPI forwards SIGUSR1 to the ranks, which take it like SIGTERM.
            self.process.send_signal(signal.SIGUSR1)
        else:
            self.process.terminate()
        self.stopped = True

    def listen(self) -> None:
        """Read the ranks' standard error to its end, or for a while after their last word."""
        assert self.process.stderr is not None
        descriptor, rest = self.process.stderr.fileno(), b""
        began = time.monotonic()
        while True:
            ready, _, _ = select.select([descriptor], [], [], 0.5)
            if ready:
                chunk = os.read(descriptor, 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for raw in lines:
                    self.take(raw.decode(errors="replace"))
            elif self.process.poll() is not None:
                break  # a grandchild may still hold the pipe
            now = time.monotonic()
            if not self.spoken and now - began > START_SECONDS:
                self.kill()
                raise TransportError(
                    f"No rank has started within {START_SECONDS:.0f} s, so mpirun was stopped; "
                    "`distopt doctor` checks the MPI installation."
                )
            if self.over is not None and now - self.over > END_SECONDS:
                break
        self.take(rest.decode(errors="replace"))
        for line in self.noise.end():
            self.pass_on(line)

    def take(self, line: str) -> None:
        """Handle one line of standard error."""
        # Open MPI puts a zero byte behind its banner, where another rank's line goes on.
        line, mark, message = line.replace("\0", "").partition(MARK)
        if mark:
            self.spoken = True
            event = json.loads(message)
            if event["event"] == "over":
                self.over = time.monotonic()
            else:
                self.on_event(event)
        if line.startswith("distopt: "):
            self.spoken = True
            self.over = time.monotonic()  # a rank that complains ends the job
            self.sentences.append(line.removeprefix("distopt: "))
        elif line or not mark:
            for kept in [line] if debugging() else self.noise.filter(line):
                self.pass_on(kept)

    def pass_on(self, line: str) -> None:
        """Hand over a line that is not ours to read."""
        if line.strip():
            self.heard = True
        self.on_line(line)

    def end(self) -> int:
        """Wait for mpirun itself; one that hangs after its ranks are done is ended."""
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = 1 if self.sentences else 0
        self.sentences = list(dict.fromkeys(self.sentences))
        if code and not self.sentences:
            self.sentences += self.explain(code)
        return 1 if code < 0 else code

    def explain(self, code: int) -> list[str]:
        """Say why a job failed none of whose ranks gave a reason."""
        if self.stopped:
            return ["Stopped by a signal before there was anything to save."]
        killed = self.noise.killed()
        if killed:
            return [killed]
        return (
            [] if self.heard else [f"The MPI job ended with exit code {code} and without a word."]
        )

    def kill(self) -> None:
        """End mpirun and, through it, its ranks; by force if it does not obey."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def end_with_parent() -> Callable[[], None] | None:
    """Return what makes a child get SIGTERM when its parent dies, even by SIGKILL (on Linux)."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    return lambda: prctl(1, signal.SIGTERM)


class Noise:
    """Tells mpirun's standard complaints about a job that ended early from what a user must read."""

    RULE = re.compile(r"^[-=]{60,}\s*$")
    KNOWN = re.compile(
        r"MPI_ABORT was invoked|exited due to process rank|exited with non-zero status"
        r"|noticed that process rank|BAD TERMINATION OF ONE OF YOUR|detected that one or more"
        r"|Primary job  terminated normally"
    )
    LINE = re.compile(
        r"^Abort\(\d+\) on node|^YOUR APPLICATION TERMINATED WITH|^This typically refers to a problem"
        r"|^Please see the FAQ page for|^\[mpiexec@[^]]*\] (Sending Ctrl-C|Press Ctrl-C)"
    )

    def __init__(self) -> None:
        self.block: list[str] | None = None
        self.withheld: list[str] = []

    def filter(self, line: str) -> list[str]:
        """Return the lines that may be shown now that this one has come."""
        if self.block is not None:
            self.block.append(line)
            return self.end() if self.RULE.match(line) else []
        if self.RULE.match(line):
            self.block = [line]
            return []
        if self.LINE.match(line) or not line.strip():
            self.withheld.append(line)
            return []
        return [line]

    def end(self) -> list[str]:
        """Close a block; return it unless it is a known one."""
        block, self.block = self.block or [], None
        if any(self.KNOWN.search(line) for line in block):
            self.withheld += block
            return []
        return block

    def killed(self) -> str:
        """Say which rank was ended by which signal, if mpirun told so."""
        text = "\n".join(self.withheld)
        found = re.search(
            r"rank (\d+) .*?on node (\S+) exited on\s+signal (\d+ \([^)]*\))", text, re.DOTALL
        )
        if found:
            rank, host, name = found.groups()
            return f"Rank {rank} (host {host}) was ended by signal {name}, and the job with it."
        found = re.search(r"EXIT STRING: (.*)", text)
        return f"A rank was ended ({found[1].strip()}), and the job with it." if found else ""
