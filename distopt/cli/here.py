"""Carry out a job, or this rank's share of it, in this process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distopt.engine.outcome import Result
    from distopt.mpirun.jobfile import ResumeJob, RunJob, SuiteJob, TimingJob
    from distopt.mpirun.relay import View
    from distopt.transport.opening import Engine


def run_here(job: "RunJob | ResumeJob", engine: "Engine", view: "View") -> "Result":
    """Run one case in this process, which may be one rank of many."""
    from distopt.engine.run import go_on, resumed_config, run

    (case,) = job.cases
    how: dict[str, Any] = {"engine": engine, "progress": view.report, "signals": False}
    how["failures"] = case.failures
    if job.kind == "resume":
        return go_on(case.config, case.folder, force=job.force, **how)
    if case.resume:
        return go_on(resumed_config(case.folder, None, case.changes), case.folder, **how)
    return run(case.config, out=case.folder, overwrite=job.overwrite, **how)


def work_in_turn(job: "SuiteJob | TimingJob", view: "View") -> dict[str, str]:
    """Do the parts of a job as one rank of many; return the failures by name."""
    if job.kind == "compare":
        from distopt.studies.batch import run_in_turn

        return run_in_turn(job.cases, "mpi", view)
    from distopt.studies.measure.timed import time_in_turn

    return time_in_turn(job, view)


def told(result: "Result") -> dict[str, Any]:
    """Return the parts of a result that the user sees."""
    return {"summary": result.summary, "warnings": result.warnings, "hint": result.resume_hint}
