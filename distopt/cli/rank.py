"""One rank of a job that another process has started.

``python -m distopt.cli.rank RUN_DIR/job.json [SHA-256 of that file]``
"""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distopt.cli.here import run_here, told, work_in_turn
from distopt.core.rank import this_rank
from distopt.mpirun.environment import end_at_once, ending_threads, prepare
from distopt.mpirun.failing import failing_together
from distopt.mpirun.process import end_with_parent
from distopt.mpirun.relay import Relay, tell

if TYPE_CHECKING:
    from distopt.mpirun.jobfile import AnyJob


def main() -> None:
    """Read the job, do this rank's share, and report to the parent."""
    prepare()
    if follow := end_with_parent(signal.SIGKILL):
        follow()  # ranks that outlive their mpirun would keep the run's folder from the next
    with ending_threads(), failing_together():
        tell(
            "started", all_ranks=True, rank=this_rank(), host=socket.gethostname(), pid=os.getpid()
        )
        from distopt.mpirun.jobfile import read_job

        job = read_job(Path(sys.argv[1]), *sys.argv[2:3])
        if job.debug:
            os.environ["DISTOPT_DEBUG"] = "1"
        work(job)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # the others may still be stopping
        tell("over")
    end_at_once()


def work(job: "AnyJob") -> None:
    """Do this rank's share of a kind of job."""
    view = Relay()
    if job.kind == "run" or job.kind == "resume":
        tell("result", **told(run_here(job, "mpi", view)))
    elif job.kind == "threshold":
        from distopt.studies.farm import farm_over_ranks
        from distopt.studies.trials import Trials

        farm_over_ranks(lambda: Trials.of_job(job), view)
    else:
        work_in_turn(job, view)


if __name__ == "__main__":
    main()
