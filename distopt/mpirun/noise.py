"""mpirun's own messages when a job ends early, separated from those that a user must read."""

import re
import signal
import sys
from collections.abc import Mapping

NONE: Mapping[tuple[str, int], int] = {}


class Noise:
    """Withholds mpirun's standard complaints about a job that ended early."""

    LONGEST = 40  # lines of a block; a longer one is not mpirun's
    RULE = re.compile(r"^[-=]{60,}\s*$")
    KNOWN = re.compile(
        r"MPI_ABORT was invoked|exited due to process rank|exited with non-zero status"
        r"|noticed that process rank|BAD TERMINATION OF ONE OF YOUR|detected that one or more"
        r"|Primary job  terminated normally|There are not enough slots available"
        r"|A daemon failed to report back after being spawned"
    )
    LINE = re.compile(
        r"^Abort\(\d+\) on node|^YOUR APPLICATION TERMINATED WITH|^This typically refers to a problem"
        r"|^Please see the FAQ page for|^\[warn\] Epoll|^\[mpiexec@[^]]*\] (Sending Ctrl-C|Press Ctrl-C)"
        r"|^\d+ more process(es)? ha(s|ve) sent help message "
        r"|^\[[^]]*\] (plm:ssh: Warning: setpgid|P(MIX|RTE) ERROR: |\*\*\* )"
        r"|^\[(proxy:|mpiexec@)[^]]*\] \w+ \(\S+\.c:\d+\): "
    )

    def __init__(self) -> None:
        self.block: list[str] | None = None
        self.withheld: list[str] = []
        self.warnings: set[str] = set()  # of the ranks, which mostly have the same

    def filter(self, line: str) -> list[str]:
        """Return the lines that may be shown now that this one has come."""
        if self.block is not None:
            self.block.append(line)
            return self.end() if self.RULE.match(line) or len(self.block) > self.LONGEST else []
        if self.RULE.match(line):
            self.block = [line]
            return []
        if self.LINE.match(line) or not line.strip():
            self.withheld.append(line)
            return []
        if line.startswith("warning: "):
            again = line in self.warnings
            self.warnings.add(line)
            return [] if again else [line]
        return [line]

    def end(self) -> list[str]:
        """Close a block; return it unless it is a known one."""
        block, self.block = self.block or [], None
        if any(self.KNOWN.search(line) for line in block):
            self.withheld += block
            return []
        return block

    def victim(
        self, ranks: Mapping[tuple[str, int], int] = NONE, first: int | None = None
    ) -> int | None:
        """Return the rank that was ended by a signal, where that is known; arguments as in `reason`."""
        text = "\n".join(self.withheld)
        if found := re.search(r"noticed that process rank (\d+) ", text):
            return int(found[1])
        found = re.search(r"PID (\d+) RUNNING AT (\S+)", text)
        if first is not None or not found:
            return first
        # With signal 9 MPICH's mpirun ends all others, and then names any.
        named = "(signal 9)" not in self._ended
        return ranks.get((found[2], int(found[1]))) if named else None

    @property
    def _ended(self) -> str:
        """Return how MPICH's mpirun says that a signal has ended ranks, "" if it does not.

        Where it fails itself while it ends others, there is only its first block.
        """
        text = "\n".join(self.withheld)
        if found := re.search(r"EXIT STRING: (.*)", text):
            return found[1].strip()
        found = re.search(r"BAD TERMINATION[^\0]*EXIT CODE: (\d+)", text)
        return f"{signal.strsignal(int(found[1]))} (signal {found[1]})" if found else ""

    @property
    def killed(self) -> bool:
        """Whether mpirun says that a signal has ended a rank."""
        text = "\n".join(self.withheld)
        return bool(re.search(r"exited on\s+signal", text)) or "(signal " in self._ended

    def reason(self, ranks: Mapping[tuple[str, int], int] = NONE, first: int | None = None) -> str:
        """Say why the job ended, if mpirun did: a rank killed, too few slots, a host out of reach.

        `ranks` gives those that have told where they are by host and pid, and `first` the one that ended
        first, if that is known.
        """
        text = "\n".join(self.withheld)
        found = re.search(
            r"rank (\d+) .*?on node (\S+) exited on\s+signal (\d+ \([^)]*\))", text, re.DOTALL
        )
        if found:
            rank, host, name = found.groups()
            return f"Rank {rank} (host {host}) was ended by signal {name}, and the job with it."
        found = re.search(r"process rank (\d+) with .*?on node (\S+) exiting\s+improperly", text)
        if found:
            return f"Rank {found[1]} (host {found[2]}) ended without a word, and the job with it."
        if self._ended:
            rank = self.victim(ranks, first)
            host = next((host for (host, _), r in ranks.items() if r == rank), "")
            who = "A rank" if rank is None else f"Rank {rank} (host {host})"
            return f"{who} was ended ({self._ended}), and the job with it."
        found = re.search(r"not enough slots available in the system to satisfy the (\d+)", text)
        if found:
            return (
                f"The hosts have fewer slots than the {found[1]} ranks, one for each agent. Ask Slurm for "
                f"--ntasks={found[1]}, or write more slots into the hostfile (`host slots=2`); "
                '--mpirun-args "--oversubscribe" lets ranks share cores.'
            )
        found = re.search(r"Local host:\s+(\S+)\s+Remote host:\s+(\S+)", text)
        if found:
            here, there = found.groups()
            return (
                f"mpirun on host {here} cannot start ranks on host {there}: `ssh {there} true` must work "
                f"from there without a password, and {sys.executable} must be on that host as well."
            )
        found = re.search(r"\*\*\* An error occurred in (.*)", text)
        return (
            f"MPI has failed and ended the job: an error occurred in {found[1]}." if found else ""
        )
