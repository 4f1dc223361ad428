"""Stop a process at its n-th file operation, or make that operation fail: faults from the kernel's side.

A seccomp filter sends every system call that changes a file (also those inside of HDF5) to the process
that watches, which counts those below one folder and lets them happen, fail, happen by half, or be the
last. It needs Linux 5.5 and no privileges.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
# Numbers of system calls: x86_64, aarch64 (None: not there), and where their paths are: (folder, name).
CALLS: dict[str, tuple[int | None, int | None, tuple[tuple[int | None, int], ...]]] = {
    "write": (1, 64, ()),
    "pwrite64": (18, 68, ()),
    "writev": (20, 66, ()),
    "pwritev": (296, 70, ()),
    "fsync": (74, 82, ()),
    "fdatasync": (75, 83, ()),
    "ftruncate": (77, 46, ()),
    "fallocate": (285, 47, ()),
    "open": (2, None, ((None, 0),)),
    "openat": (257, 56, ((0, 1),)),
    "rename": (82, None, ((None, 0), (None, 1))),
    "renameat": (264, 38, ((0, 1), (2, 3))),
    "renameat2": (316, 276, ((0, 1), (2, 3))),
    "link": (86, None, ((None, 0), (None, 1))),
    "linkat": (265, 37, ((0, 1), (2, 3))),
    "mkdir": (83, None, ((None, 0),)),
    "mkdirat": (258, 34, ((0, 1),)),
    "rmdir": (84, None, ((None, 0),)),
    "unlink": (87, None, ((None, 0),)),
    "unlinkat": (263, 35, ((0, 1),)),
}
WRITES = {"write", "pwrite64", "writev", "pwritev"}
NEEDS_SPACE = WRITES | {"open", "openat", "fallocate", "link", "linkat", "mkdir", "mkdirat"}
OPENS = {"open": 1, "openat": 2}  # which argument holds the flags
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MACHINE = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}.get(platform.machine())
ALLOW, NOTIFY, CONTINUE = 0x7FFF0000, 0x7FC00000, 1
RECEIVE, SEND = 0xC0502100, 0xC0182101  # ioctl of struct seccomp_notif and seccomp_notif_resp
NEW_LISTENER, NO_NEW_PRIVILEGES, ANY_TRACER = 8, 38, 0x59616D61
AT_FDCWD, LOW = -100, 0xFFFFFFFF
LETHAL = {"kill", "torn", "power"}
PAUSE_SECONDS = 0.05


def numbers() -> dict[int, str]:
    """Return the names of the calls by their numbers on this machine."""
    column = MACHINE[0] if MACHINE else 0
    return {call[column]: name for name, call in CALLS.items() if call[column] is not None}


def program() -> bytes:
    """Write the filter in BPF: notify of the calls that change files, allow all others."""
    load = lambda offset: (0x20, 0, 0, offset)  # noqa: E731
    lines = [load(4), (0x15, 1, 0, MACHINE[1]), (0x06, 0, 0, ALLOW), load(0)]
    for number, name in numbers().items():
        if name in OPENS:  # only those that may write
            flags = load(16 + 8 * OPENS[name])
            lines += [
                (0x15, 0, 4, number), flags, (0x45, 0, 1, CHANGING), (0x06, 0, 0, NOTIFY),
                (0x06, 0, 0, ALLOW),
            ]  # fmt: skip
        else:
            lines += [(0x15, 0, 1, number), (0x06, 0, 0, NOTIFY)]
    return b"".join(struct.pack("HBBI", *line) for line in [*lines, (0x06, 0, 0, ALLOW)])


def available() -> bool:
    """Whether this system can do it."""
    place = Path("/proc/sys/kernel/seccomp/actions_avail")
    return MACHINE is not None and place.is_file() and "user_notif" in place.read_text()


def be_watched(to: socket.socket) -> None:
    """Install the filter in this process, for good, and hand its listener to the watching process."""
    LIBC.prctl(ANY_TRACER, ctypes.c_ulong(-1), 0, 0, 0)  # the watcher reads our names of files
    LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    text = program()
    held = ctypes.create_string_buffer(text)
    described = struct.pack("HxxxxxxQ", len(text) // 8, ctypes.addressof(held))
    listener = LIBC.syscall(MACHINE[2], 1, NEW_LISTENER, described)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    socket.send_fds(to, [b"l"], [listener])
    os.close(listener)
    to.close()


@dataclass(frozen=True)
class Fault:
    """What happens at the at-th file operation (0: never), or after some milliseconds.

    kind: "kill": die before it. "torn": do half of a write (not of
    HDF5's small ones at a place, which the kernel does not tear), then die. "power": as kill, and what was
    not fsynced is lost. "full": no space from here on. "readonly": nothing can be changed from here on.
    "broken": an input/output error, once. "pause": stand still for a moment. "SIGTERM" and the like.
    who: of a job, "rank2", "all" ranks, "mpirun" or the "command" that started it.
    """

    kind: str = "none"
    at: int = 0
    after: float | None = None
    who: str = ""


def read_memory(pid: int, place: int, size: int) -> bytes:
    """Read from another process."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(place)
        return memory.read(size) or b""


@dataclass
class Watch:
    """Watches one process, until it ends.

    Attributes
    ----------
    trace : list of (call, path)
        The operations in the folder before the fault.
    hit : bool
        Whether the fault has happened.
    where : str
        At which operation.
    unsynced : set of str
        Files that a loss of power would change.
    """

    pid: int
    folder: str
    fault: Fault
    trace: list[tuple[str, str]] = field(default_factory=list)
    hit: bool = False
    where: str = ""
    unsynced: set[str] = field(default_factory=set)
    due: float | None = None  # when to strike, or to go on after a pause

    def __post_init__(self) -> None:
        self.names = numbers()

    def serve(self, listener: int, ended: int, seconds: float) -> bool:
        """Answer until the process has ended, which makes `ended` readable; kill it after some seconds.

        Return whether it ended by itself.
        """
        last = time.monotonic() + seconds
        if self.fault.after is not None:
            self.due = time.monotonic() + self.fault.after / 1e3
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while True:
            wait = max(min(last, self.due or last) - time.monotonic(), 0.0)
            ready = [fd for fd, _ in poll.poll(1000 * wait + 0.5)]
            if ended in ready:
                return True
            now = time.monotonic()
            if now >= last:
                os.kill(self.pid, signal.SIGKILL)
                return False
            if self.due and now >= self.due:
                self.strike()
            if listener in ready:
                self.answer(listener)

    def answer(self, listener: int) -> None:
        """Decide about one call."""
        asked = bytearray(80)
        with suppress(FileNotFoundError):  # the call was interrupted, or its process killed
            fcntl.ioctl(listener, RECEIVE, asked)
            identity, pid, _, number, _, _, *given = struct.unpack("QIIiIQ6Q", asked)
            error = self.decide(pid, self.names[number], given)
            answer = struct.pack("QqiI", identity, 0, -error, 0 if error else CONTINUE)
            fcntl.ioctl(listener, SEND, answer)

    def strike(self) -> None:
        """Do what does not concern a call: kill, pause and go on, send a signal."""
        kind, self.due = self.fault.kind, None
        if kind == "pause" and self.hit:
            os.kill(self.pid, signal.SIGCONT)
        elif kind == "pause":
            os.kill(self.pid, signal.SIGSTOP)
            self.due = time.monotonic() + PAUSE_SECONDS
        elif kind in LETHAL:
            os.kill(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.Signals[kind])
        self.hit = True

    def decide(self, pid: int, call: str, given: list[int]) -> int:
        """Return the error of one system call, 0 to let it happen."""
        paths = self.paths(pid, call, given)
        if not paths or not paths[-1].startswith(self.folder):
            return 0
        kind = self.fault.kind
        if self.hit:
            return self.later(kind, call)
        if kind != "none" and len(self.trace) + 1 == self.fault.at:
            self.where = f"{call} {Path(paths[-1]).name}"
            if kind in {"full", "readonly"}:
                self.hit = True
                return self.later(kind, call)
            if kind == "broken":
                self.hit = True
                return errno.EIO
            if kind == "torn" and call == "write":
                self.half(pid, given)
            self.strike()
            if kind in LETHAL:
                return errno.EINTR
        self.note(call, paths, given)
        return 0

    @staticmethod
    def later(kind: str, call: str) -> int:
        """Return the error of calls from the fault on."""
        if kind == "readonly":
            return errno.EROFS
        return errno.ENOSPC if kind == "full" and call in NEEDS_SPACE else 0

    def note(self, call: str, paths: list[str], given: list[int]) -> None:
        """Remember an operation, and which files a loss of power would change."""
        path = paths[-1]
        self.trace.append((call, path))
        truncates = call in OPENS and given[OPENS[call]] & os.O_TRUNC
        if truncates or call in WRITES | {"ftruncate", "fallocate"}:
            self.unsynced.add(path)
        elif call in {"fsync", "fdatasync"}:
            self.unsynced.discard(path)
        elif call.startswith("rename"):
            moved = paths[0] in self.unsynced
            self.unsynced.difference_update(paths)
            if moved:
                self.unsynced.add(path)
        elif call.startswith("unlink"):
            self.unsynced.discard(path)

    def paths(self, pid: int, call: str, given: list[int]) -> list[str]:
        """Return what a call works on."""
        process = Path(f"/proc/{pid}")
        with suppress(OSError):
            if not CALLS[call][2]:
                return [str((process / f"fd/{given[0]}").readlink())]
            found = []
            for folder, name in CALLS[call][2]:
                text = os.fsdecode(read_memory(pid, given[name], 4096).split(b"\0")[0])
                at_cwd = folder is None or given[folder] & LOW == AT_FDCWD & LOW
                base = process / ("cwd" if at_cwd else f"fd/{given[folder] & LOW}")
                found.append(text if text.startswith("/") else f"{base.readlink()}/{text}")
            return found
        return []

    def half(self, pid: int, given: list[int]) -> None:
        """Write the first half of what a call was about to write."""
        told = Path(f"/proc/{pid}/fdinfo/{given[0]}").read_text()
        file = os.open(f"/proc/{pid}/fd/{given[0]}", os.O_WRONLY)
        content = read_memory(pid, given[1], given[2] // 2)
        os.pwrite(file, content, int(told.split("pos:")[1].split()[0]))
        os.close(file)

    def lose_power(self, choose: Callable[[], float]) -> None:
        """Truncate each file that was not fsynced, to nothing or to a part, or leave it."""
        for path in sorted(self.unsynced):
            with suppress(FileNotFoundError):
                kept = min(max(2 * choose() - 0.5, 0.0), 1.0)
                os.truncate(path, int(kept * Path(path).stat().st_size))
