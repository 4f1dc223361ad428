"""A running mpirun: hear its ranks, forward signals, keep its noise from burying a sentence."""

import ctypes
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, Any

from distopt.core.errors import TransportError
from distopt.mpirun.deaths import Deaths
from distopt.mpirun.failing import debugging
from distopt.mpirun.noise import Noise
from distopt.mpirun.relay import MARK
from distopt.transport.base import LOST

START_SECONDS = 300.0  # a job none of whose ranks has spoken by then has failed to start
ASK_SECONDS = 10.0  # ranks that continue after a request to stop are asked again
SILENT = re.compile(  # one agent, as `distopt.transport.verdict` names it
    r"^Agent (\d+) \(host [^)]*\) hangs: | heard nothing from agent (\d+) \(host [^)]*\) for "
)
CUT_OFF = re.compile(r"^Agent \d+ \(host [^)]*\) lost a connection: ")  # as `MpiTransport` says it
END_SECONDS = 15.0  # mpirun may take this long to end after its ranks


@dataclass
class Outcome:
    """How a job ended; two are equal for the user if code and sentences are."""

    code: int
    sentences: list[str]  # the errors of the ranks, without "distopt: "
    # A rank or mpirun died, or a rank fell silent: another try may succeed.
    lost: bool = field(default=False, compare=False)
    # A rank has spoken, or it was killed before it could, so another job would start.
    started: bool = field(default=True, compare=False)
    root: tuple[str, int] | None = field(default=None, compare=False)  # host and pid of rank 0
    victim: int | None = field(default=None, compare=False)  # the rank that died, if mpirun knows


class JobProcess:
    """The mpirun of a job, and its output.

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
        self.noise, self.output_noise = Noise(), Noise()
        self.sentences: list[str] = []
        self.spoken = False  # a rank has
        self.over: float | None = None  # when the ranks were done
        self.stopped = ""  # by which signal
        self.asked = 0.0  # when the ranks were last asked to stop
        self.heard = False  # anything but our own messages
        self.crashed = False  # a rank has printed a traceback
        self.lost = False
        self.ranks: dict[int, tuple[str, int]] = {}  # host and pid of each
        self.deaths = Deaths()
        self.first: int | None = None  # rank that ended first, if the job failed so
        self.iteration: int | None = None  # the last that rank 0 reported
        # A separate session: Ctrl-C in the terminal must reach only this process, which asks the ranks
        # to stop in an orderly way; mpirun itself would kill them.
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )

    def wait(self) -> Outcome:
        """Listen until the job ends; the usual signals ask the ranks to save and stop."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
        before = {number: signal.signal(number, self.stop) for number in handled}
        try:
            self.listen()
            code = self.end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self.process.poll() is None:
                self.kill()
            self.deaths.close()
            for stream in (self.process.stdout, self.process.stderr):
                stream.close()  # type: ignore[union-attr]
        return Outcome(
            code, self.sentences, self.lost, self.started, self.ranks.get(0), self.victim()
        )

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Forward a signal: first as a request to save and stop, then as an order."""
        if self.process.poll() is not None:
            return
        if self.spoken and not self.stopped:
            self.ask()
        else:
            self.process.terminate()
        self.stopped = signal.Signals(number).name

    def ask(self) -> None:
        """Ask the ranks to save and stop; every MPI forwards SIGUSR1, which they take like SIGTERM."""
        self.asked = time.monotonic()
        self.process.send_signal(signal.SIGUSR1)

    def ask_again(self) -> None:
        """Repeat the request to ranks that continue: one that came while they started may be lost."""
        if self.stopped and time.monotonic() - self.asked > ASK_SECONDS:
            self.ask()

    def listen(self) -> None:
        """Read what the job writes to the end, or for a while after its ranks' last word."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        streams: dict[IO[bytes], Lines] = {
            self.process.stdout: Lines(self.take_output),
            self.process.stderr: Lines(self.take),
        }
        began = time.monotonic()
        while streams:
            waiting: list[Any] = [*streams, *self.deaths.files]
            ready, _, _ = select.select(waiting, [], [], 0.5)
            self.deaths.note([file for file in ready if file in self.deaths.files])
            for stream in [file for file in ready if file in streams]:
                chunk = os.read(stream.fileno(), 65536)
                streams[stream].feed(chunk)
                if not chunk:
                    del streams[stream]
            if not ready and self.process.poll() is not None:
                break  # a grandchild may still hold the pipes
            now = time.monotonic()
            if not self.spoken and now - began > START_SECONDS:
                self.kill()
                raise TransportError(
                    f"No rank has started within {START_SECONDS:.0f} s, so mpirun was stopped; "
                    "`distopt doctor` checks the MPI installation."
                )
            if self.over is not None and now - self.over > END_SECONDS:
                break
        for lines in streams.values():
            lines.feed(b"")
        for line in self.noise.end():
            self.pass_on(line)
        sys.stdout.writelines(line + "\n" for line in self.output_noise.end())

    def take_output(self, line: str) -> None:
        """Handle one line of standard output, where MPICH's mpirun complains."""
        kept = [line] if debugging() else self.output_noise.filter(line)
        sys.stdout.writelines(line + "\n" for line in kept)

    def take(self, line: str) -> None:
        """Handle one line of standard error."""
        # Open MPI puts a zero byte behind its banner, where another rank's line goes on.
        line, mark, message = line.replace("\0", "").partition(MARK)
        if mark:
            self.spoken = True
            event = json.loads(message)
            if event["event"] == "over":
                self.over = time.monotonic()
            elif event["event"] == "started" and "rank" in event:
                self.ranks[event["rank"]] = event["host"], event["pid"]
                self.deaths.watch(event["rank"], event["host"], event["pid"])
            else:
                if event["event"] == "report":
                    self.iteration = event["iteration"]
                    self.ask_again()
                self.on_event(event)
        if line.startswith("distopt: "):
            self.spoken = True
            self.over = time.monotonic()  # a rank that complains ends the job
            self.sentences.append(line.removeprefix("distopt: "))
        elif line or not mark:
            self.crashed |= line.startswith("Traceback (most recent call last)")
            for kept in [line] if debugging() else self.noise.filter(line):
                self.pass_on(kept)

    def pass_on(self, line: str) -> None:
        """Pass on a line that is not ours."""
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
        if not code and self.ranks and self.over is None and not self.sentences:
            code = 1  # a rank has left, which MPICH takes for a good end if its exit code is 0
        # An MPI whose connection breaks meanwhile may end its rank with another exit code.
        told = [SILENT.search(s) or CUT_OFF.search(s) for s in self.sentences]
        silent = bool(told) and (code == LOST or all(told))
        died = bool(code) and not self.sentences and not self.crashed
        self.lost = (silent or died) and not self.stopped
        self.first = self.deaths.first if died and code > 0 else None
        if silent:
            code = 1
        if code and not self.sentences:
            self.sentences += self.explain(code)
        return 1 if code < 0 else code

    @property
    def started(self) -> bool:
        """Whether ranks have run, also one that a signal ended before it spoke, or all with mpirun."""
        killed = self.noise.killed or self.output_noise.killed or (self.process.poll() or 0) < 0
        return self.spoken or killed

    def victim(self) -> int | None:
        """Return the rank that died or hangs, where that is certain."""
        for sentence in self.sentences:
            if found := SILENT.search(sentence):
                return int(found[1] or found[2])
        ranks = {place: rank for rank, place in self.ranks.items()}
        known = None if self.first is None else self.deaths.culprit
        rank = self.noise.victim(ranks, known)
        return self.output_noise.victim(ranks, known) if rank is None else rank

    def explain(self, code: int) -> list[str]:
        """Say why a job failed if none of its ranks did."""
        if self.stopped:
            return [f"Stopped by {self.stopped} before there was anything to save."]
        ranks, first = {place: rank for rank, place in self.ranks.items()}, self.first
        reason = self.noise.reason(ranks, first) or self.output_noise.reason(ranks, first)
        if not reason and code < 0:
            reason = f"mpirun was ended by signal {-code} ({signal.Signals(-code).name})."
        elif not reason and first is not None and not self.heard:
            host = self.ranks[first][0]
            reason = f"Rank {first} (host {host}) ended without a word, and the job with it."
        if reason and self.iteration is not None:
            reason += f" The last report was of iteration {self.iteration}."
        if reason or self.heard:
            return [reason] if reason else []
        return [f"The MPI job ended with exit code {code} and no message."]

    def kill(self) -> None:
        """End mpirun and, through it, its ranks; by force if it does not obey."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def end_with_parent(number: int = signal.SIGTERM) -> Callable[[], None] | None:
    """Return a function for a child that makes it get a signal when its parent dies (on Linux)."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    return lambda: prctl(1, number)


class Lines:
    """Cuts chunks of bytes into lines and passes them on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self.take = take
        self.rest = b""

    def feed(self, chunk: bytes) -> None:
        """Add a chunk; an empty one is the end."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if not chunk and self.rest:
            lines, self.rest = [self.rest], b""
        for line in lines:
            self.take(line.decode(errors="replace"))
