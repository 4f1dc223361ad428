"""One start of a job: ``python -m distopt.service.runner FOLDER ATTEMPT COMMAND...``.

This process claims the attempt, carries out the command, and writes down how it ended. A claim is a file
that appears whole and once, so of a server that was killed while it started a job and of the process that
it may or may not have left, only one goes on.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from distopt.core.files import write_whole
from distopt.mpirun.process import end_with_parent
from distopt.record.lock import linked, this_process

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def claim_file(folder: Path, attempt: int) -> Path:
    """Name the file that says which process carries out an attempt."""
    return folder / f"attempt-{attempt}.json"


def end_file(folder: Path, attempt: int) -> Path:
    """Name the file that says how an attempt ended."""
    return folder / f"attempt-{attempt}-ended.json"


def claim(folder: Path, attempt: int, owner: Mapping[str, Any]) -> bool:
    """Claim an attempt; return whether nobody had."""
    path = claim_file(folder, attempt)
    mine = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        mine.write_text(json.dumps(owner), encoding="utf-8")
        return linked(mine, path)
    finally:
        with suppress(OSError):
            mine.unlink()


def main(folder: Path, attempt: int, command: list[str]) -> int:
    """Carry out an attempt; return the exit code of its command."""
    if not claim(folder, attempt, this_process()):
        return 0
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent())

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            process.send_signal(number)

    for number in FORWARDED:
        signal.signal(number, forward)
    code = process.wait()
    ended = json.dumps({"code": code, "ended": time.time()}).encode()
    write_whole(end_file(folder, attempt), ended, durable=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
