"""Programs that slow tests need, installed where that is possible."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest


def need(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Skip unless these programs are here or can be installed.

    One process at a time installs: a second `apt-get update` does not wait for the first, it fails.
    """
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    what = f"{', '.join(missing)} missing (Debian: apt-get install {' '.join(packages)})"
    if os.getuid() or shutil.which("apt-get") is None:
        pytest.skip(f"{what}, and only root can install it with apt-get")
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=200"]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "distopt-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "--no-install-recommends", *packages]):
            done = subprocess.run(
                [*apt, *command], env=env, capture_output=True, text=True, timeout=3600, check=False
            )
            if done.returncode:
                pytest.skip(f"{what}, and apt-get {command[0]} failed: {done.stderr[-300:]}")
