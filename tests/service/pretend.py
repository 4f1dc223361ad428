"""A backend whose jobs do what a test says, and jobs for it."""

from distopt.service.backend import Seen

QUICK = """
[problem]
name = "quadratic"
agents = 2
dimension = 6
condition = 2
[run]
iterations = 40
record_every = 4
"""


class Pretend:
    """A backend without processes: `seen` says what became of each start."""

    def __init__(self):
        self.started, self.stopped = [], []
        self.seen = {}

    def start(self, folder, attempt, command, cwd, ranks):
        self.started.append((folder.parent.name, attempt, command))
        self.seen[folder.parent.name, attempt] = Seen("running")

    def look(self, folder, attempt):
        return self.seen.get((folder.parent.name, attempt), Seen("void"))

    def stop(self, folder, attempt):
        self.stopped.append((folder.parent.name, attempt))

    def end(self, name, code=0, attempt=1):
        self.seen[name, attempt] = Seen("ended", code)


class Still:
    """A catalogue that finds nothing."""

    def refresh(self, jobs=(), walk=False):
        pass


def add(dispatcher, name="a", ranks=2, priority=0, kind="run"):
    """Submit a job without checking it."""
    return dispatcher.submit(name, kind, "mpi", ranks, 1, QUICK, priority)
