"""Carry out a job: in this process, or by starting ranks and listening to them."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from distopt.cli.here import run_here, told, work_in_turn
from distopt.cli.options import How
from distopt.core.errors import ConfigError
from distopt.core.rank import this_rank
from distopt.mpirun.environment import THREADS
from distopt.mpirun.failing import debugging
from distopt.mpirun.launcher import Mpirun
from distopt.mpirun.relay import pass_on

if TYPE_CHECKING:
    from distopt.mpirun.jobfile import AnyJob, ResumeJob, RunJob, SuiteJob, TimingJob
    from distopt.show.console import ProgressView
    from distopt.studies.batch import Part
    from distopt.transport.opening import Engine

Starter: TypeAlias = "Callable[[AnyJob, Path], list[str]]"


def carry_out(job: "RunJob | ResumeJob", engine: "Engine | None", how: How) -> None:
    """Run one case and print its result."""
    from distopt.show.console import make_view

    if engine is None:
        start(job, job.cases[0].folder, how)
        return
    with make_view(how.quiet) as view:
        mode = job.cases[0].config.run.on_failure
        if mode != "stop" and this_rank() in {None, 0}:
            view.say(
                f'warning: run.on_failure = "{mode}" needs `distopt {job.kind}` outside of mpirun and '
                "without --simulate; nobody restarts this run, but `distopt resume` continues it."
            )
        view.begin("")
        result = run_here(job, engine, view)
    if result.root:
        present(told(result), how)


def start(job: "AnyJob", folder: Path, how: How) -> None:
    """Start the ranks of a job, show their progress and their result; fail as they fail.

    A run whose job dies is restarted as ``run.on_failure`` says.
    """
    from distopt.mpirun.process import JobProcess
    from distopt.mpirun.supervisor import Supervisor
    from distopt.show import console

    results: list[dict[str, Any]] = []
    command = starter(how)
    with console.ProgressView(how.quiet) as view:
        watch = None if job.kind == "threshold" else Supervisor(job.cases[0], view.say)
        if watch:
            view.begin("")

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "result":
                results.append(event)
                return
            if watch and event["event"] == "report":
                watch.report(event["iteration"])
            pass_on(event, view)

        while True:
            outcome = JobProcess(command(job, folder), hear, view.pass_on).wait()
            case = watch.after(outcome) if watch else None
            if case is None:
                break
            anew = {"overwrite": True} if job.kind == "run" else {}
            job = job.model_copy(update={"cases": (case,), **anew})
    for sentence in outcome.sentences:
        console.say(sentence)
    if results and not outcome.code:
        present(results[-1], how)
    if outcome.code:
        raise typer.Exit(outcome.code)


def starter(how: How, place: "Callable[[Mpirun], Mpirun] | None" = None) -> Starter:
    """Return what writes a job into a folder and makes the mpirun command of its ranks.

    `place` may put mpirun somewhere else, such as on a test bed.
    """
    try:
        extra = shlex.split(how.mpirun_args)
    except ValueError as error:
        raise ConfigError(f"--mpirun-args cannot be split into flags: {error}.") from None
    mpirun = how.mpirun.result()
    if place is not None:
        mpirun = place(mpirun)

    def command(job: "AnyJob", folder: Path) -> list[str]:
        threads = [f"{name}={job.threads}" for name in THREADS]
        path = job.write(folder)
        rank = [sys.executable, "-m", "distopt.cli.rank", str(path), job.digest]
        line = mpirun.start(job.ranks, ["env", *threads, *rank], extra)
        if debugging():
            sys.stderr.write(f"distopt: {shlex.join(line)}\n")
        return line

    return command


def carry_parts(
    parts: "Sequence[Part]",
    job_of: "Callable[[Sequence[Part]], SuiteJob | TimingJob]",
    folder: Path,
    how: How,
    view: "ProgressView",
    place: "Callable[[Mpirun], Mpirun] | None" = None,
) -> dict[str, str]:
    """Do one part of a study after the other; return the failures by name.

    `job_of` makes the job of some parts. A part that brings its job down is left out of the next.
    """
    from distopt.studies.batch import run_in_jobs

    if this_rank() is not None:
        return work_in_turn(job_of(parts), view)
    if not parts:
        return {}
    how.require_ranks(job_of(parts).ranks)
    command = starter(how, place)
    return run_in_jobs(parts, lambda some: command(job_of(some), folder), view)


def present(result: dict[str, Any], how: How) -> None:
    """Print a result."""
    from distopt.show import console

    if how.as_json or how.quiet:
        console.show_warnings(result["warnings"], result["hint"])
    else:
        console.show_summary(result["summary"], result["warnings"], result["hint"])
    if how.as_json:
        console.write_json(result["summary"])
