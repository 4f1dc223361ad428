"""Where a service keeps its files, where it listens, and what it allows."""

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

OWN = ".service"  # folder of the service's own files, in its data folder and in that of each job


@dataclass(frozen=True)
class Limits:
    """What one server takes."""

    body: int = 1 << 20  # bytes of a request
    open_jobs: int = 2000  # jobs that have not ended
    changes_per_minute: int = 240  # requests of one client that change something
    watchers: int = 200  # open streams of events
    points: int = 20_000  # of a series in one answer
    answer: int = 1_000_000  # points of all curves in one answer
    overlay: int = 200  # runs in one comparison


@dataclass(frozen=True)
class Settings:
    """How a service was started.

    Attributes
    ----------
    data : Path
        Folder of all jobs; every run folder in it is shown.
    host, port : str, int
        Where the server listens.
    slots : int
        Ranks that may run at once.
    files : Path or None
        Folder whose files configurations may name, costs in Python among them; None: no files.
    names : tuple of str
        Host names by which browsers reach this server, besides addresses and its own.
    slurm : tuple of str or None
        Options of sbatch, if jobs run on the cluster; None: they run on this machine.
    """

    data: Path
    slots: int
    host: str = "127.0.0.1"
    port: int = 8080
    files: Path | None = None
    names: tuple[str, ...] = ()
    slurm: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def own(self) -> Path:
        """The folder of the service's own files."""
        return self.data / OWN

    @property
    def curves(self) -> Path:
        """The folder of curves that are kept."""
        return self.own / "curves"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def knows(self, host: str) -> bool:
        """Whether a request may call this server by a host name.

        An address cannot be rebound to another machine, a name can; so names must be known.
        """
        if is_address(host):
            return is_loopback(host) or not self.local
        known = {"localhost", self.host, *self.names}
        return host.lower() in known | (set() if self.local else {socket.gethostname().lower()})


def is_address(host: str) -> bool:
    """Whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as it sees itself."""
    if host == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback
