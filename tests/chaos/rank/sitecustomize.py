"""Python imports this at its start: in a rank of a chaos job it notes the process, and arms the fault."""

import importlib.abc
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
WATCHED = "distopt.engine.team"


class Listening(importlib.abc.MetaPathFinder):
    """Makes a ledger listen as soon as the engine is imported."""

    def __init__(self, place):
        self.place = place

    def find_spec(self, name, path, target=None):
        if name != WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            import numpy as np
            from ledger import Ledger

            execute(module)
            with (self.place / "ledger").open("r+b") as file:
                Ledger(file.fileno(), np.load(self.place / "wanted.npy")).listen(module)

        spec.loader.exec_module = exec_module
        return spec


def watch(place, rank, fault):
    """Fork the process that watches this one; it outlives it, and notes what it saw."""
    from operations import Fault, Watch, be_watched

    ours, theirs = socket.socketpair()
    pid, watched = os.fork(), os.getpid()
    if pid:
        ours.close()
        return be_watched(theirs)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.setsid()
    keep = ours.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
    seen = Watch(os.getppid(), str(place / "out"), Fault(**fault))
    seen.serve(listener, os.pidfd_open(seen.pid), 300.0)
    note = {"rank": rank, "hit": seen.hit, "where": seen.where, "trace": seen.trace}
    (place / "seen.tmp").write_text(json.dumps(note))
    (place / "seen.tmp").rename(place / "seen")
    os._exit(watched == 0)


def enter():
    rank = next((int(os.environ[name]) for name in RANKS if name in os.environ), None)
    if rank is None or "CHAOS_PLACE" not in os.environ:
        return
    place = Path(os.environ["CHAOS_PLACE"])
    sys.path.insert(0, str(Path(__file__).parents[1]))
    plan = json.loads((place / "plan.json").read_text())
    if plan["rank"] == rank:
        watch(place, rank, plan["fault"])
    sys.meta_path.insert(0, Listening(place))
    (place / f"pid-{rank}").write_text(str(os.getpid()))


enter()
