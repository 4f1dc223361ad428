"""Run the cases of a suite, one after the other or side by side; a failure ends its case only."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol, TypeVar

from distopt.config.build import UNNAMED, make_config
from distopt.core import units as q
from distopt.core.errors import CheckpointError, ConfigError, DistoptError, TransportError
from distopt.engine.failures import Failure
from distopt.engine.identity import FREE
from distopt.engine.outcome import Result
from distopt.engine.run import go_on, resumed_config, run
from distopt.engine.starts import LEFT
from distopt.mpirun.jobfile import Case
from distopt.mpirun.process import JobProcess
from distopt.mpirun.relay import View, pass_on
from distopt.mpirun.supervisor import Supervisor
from distopt.record import checkpoint
from distopt.record.reader import RunData, load
from distopt.studies.suite import NOT_RUN
from distopt.transport.opening import Engine

STOPPED = f"{NOT_RUN}, because the suite was stopped"
KILLED = "A process of --jobs was ended from outside (out of memory?)."


class Named(Protocol):
    """A part of a job, known by its name."""

    @property
    def name(self) -> str:
        """Different for every part."""
        ...


Part = TypeVar("Part", bound=Named)


def choose(cases: Sequence[Case], *, reuse: bool, overwrite: bool) -> list[Case]:
    """Return the cases that must be run.

    Raises
    ------
    ConfigError
        If a run directory exists that may be neither reused nor replaced.
    """
    needed = [case for case in cases if not (reuse and is_finished(case))]
    present = [case for case in needed if (case.folder / "config.toml").exists()]
    if present and not (overwrite or reuse):
        others = f" (and {len(present) - 1} more)" if len(present) > 1 else ""
        raise ConfigError(
            f"{present[0].folder} already holds a run{others}; --reuse keeps finished runs, "
            "--overwrite replaces them, --out takes another folder."
        )
    return needed


def is_finished(case: Case) -> bool:
    """Whether the case's directory holds a finished run of the same configuration."""
    try:
        history = load(case.folder)
    except CheckpointError:
        return False
    return bool(history.meta["status"] == "finished") and same(history, case)


def same(history: RunData, case: Case) -> bool:
    """Whether a run has the case's configuration; ``"auto"`` stands for any number.

    Keys that say how a run is kept and supervised do not count.
    """
    free = {("run", key) for key in FREE - {"iterations", "stop"}}
    return all(
        history.config.get(section, {}).get(key) == value or value == "auto"
        for section, table in case.config.resolved().items()
        for key, value in table.items()
        if (section, key) not in free
    )


def run_in_turn(cases: Sequence[Case], engine: Engine, view: View) -> dict[str, str]:
    """Run cases in this process (under MPI: as one rank of many); return the failures by name."""
    failures: dict[str, str] = {}
    for number, case in enumerate(cases):
        view.begin(case.name)
        try:
            result = run_or_go_on(case, engine, progress=view.report, signals=False)
        except DistoptError as error:
            failures[case.name] = str(error)
            view.failed(case.name, str(error))
            continue
        view.done(case.name, in_short(result))
        if result.summary["stop_reason"] == "signal":
            return failures | {c.name: STOPPED for c in cases[number + 1 :]}
    return failures


def run_or_go_on(case: Case, engine: Engine, **how: Any) -> Result:
    """Run a case, or continue one whose job died."""
    how |= {"engine": engine, "failures": case.failures}
    if case.resume:
        return go_on(resumed_config(case.folder, None, case.changes), case.folder, **how)
    return run(case.config, out=case.folder, overwrite=True, **how)


def in_short(result: Result) -> str:
    """Describe a run in one line."""
    s = result.summary
    again = f"restarted after {q.count(s['failures'], 'failure')}, " if s["failures"] else ""
    left = "; began at a seeded point, since all gradients are zero at x = 0"
    plain = "; uncompressed, since no compressor is named"
    return (
        f"{again}{q.count(s['iterations'], 'iteration')}, P = {q.small(s['stationarity'])}, "
        f"{q.nbytes(s['bytes_per_agent'])} per agent, {q.seconds(s['seconds']['algorithm'])}"
        f"{left if LEFT in result.warnings else ''}"
        f"{plain if any(w.startswith(UNNAMED) for w in result.warnings) else ''}"
    )


def run_side_by_side(cases: Sequence[Case], jobs: int, view: "Screen") -> dict[str, str]:
    """Simulate cases in `jobs` processes; return the failures by name.

    If a process is killed all end; those of cases that have saved since go on, as ``run.on_failure`` says.

    Raises
    ------
    TransportError
        If processes are killed ``run.tries`` times in a row and no case has ended meanwhile.
    """
    failures: dict[str, str] = {}
    remaining = {case.name: case for case in cases}
    began, tries = time.time(), 0
    while remaining:
        before = len(remaining)
        try:
            run_in_pool(remaining, jobs, view, failures)
        except BrokenProcessPool:
            tries = 1 if len(remaining) < before else tries + 1
            settings = [case.config.run for case in remaining.values()]
            if any(run.on_failure == "stop" or tries > run.tries for run in settings):
                raise TransportError(f"{KILLED} Fewer --jobs may help.") from None
            remaining = {name: restarted(case, began) for name, case in remaining.items()}
            going = sum(case.resume for case in remaining.values())
            view.say(f"{KILLED} {len(remaining)} runs start again, {going} from a checkpoint.")
    return failures


def restarted(case: Case, began: float) -> Case:
    """Return a case whose process was killed, to go on from a checkpoint saved since `began`, if any."""
    try:
        saved = checkpoint.latest(case.folder / "checkpoints", case.config.problem.total)
        since = (saved.place / "manifest.json").stat().st_mtime
    except (CheckpointError, OSError):
        return case
    if since < began:
        return case
    failure = Failure(KILLED, saved.iteration, saved.iteration, since)
    return case.model_copy(update={"resume": True, "failures": (*case.failures, failure)})


def run_in_pool(
    remaining: dict[str, Case], jobs: int, view: View, failures: dict[str, str]
) -> None:
    """Simulate cases in processes; take each out of `remaining` when it has ended."""
    context = multiprocessing.get_context("spawn")  # no fork: numba and BLAS have threads
    with ProcessPoolExecutor(max(1, min(jobs, len(remaining))), mp_context=context) as pool:
        waiting = {
            pool.submit(
                run_case, c.config.tables, c.config.folder, c.folder, c.resume, c.failures
            ): name
            for name, c in remaining.items()
        }
        try:
            for future in as_completed(waiting):
                line, reason = future.result()
                name = waiting[future]
                del remaining[name]
                if reason:
                    failures[name] = reason
                    view.failed(name, reason)
                else:
                    view.done(name, line)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_case(
    tables: dict[str, Any], near: Path, folder: Path, resume: bool, failures: Sequence[Failure]
) -> tuple[str, str]:
    """Run one case in a separate process; return a line about it, or why it failed."""
    try:
        config = make_config(tables, near)
        case = Case(folder=folder, config=config, resume=resume, failures=tuple(failures))
        return in_short(run_or_go_on(case, "simulate")), ""
    except DistoptError as error:
        return "", str(error)


class Screen(View, Protocol):
    """A view in the parent of ranks, which may print other lines as well."""

    def pass_on(self, line: str) -> None:
        """Print a line of a rank, or of mpirun."""

    def say(self, sentence: str) -> None:
        """Print a sentence, marked as ours."""


def of_one_size(cases: Sequence[Part]) -> list[Part]:
    """Return those that can share a job with the first: one that has lost an agent is smaller."""
    sizes = [case.config.problem.agents if isinstance(case, Case) else 0 for case in cases]
    return [case for case, size in zip(cases, sizes, strict=True) if size == sizes[0]]


def run_in_jobs(
    cases: Sequence[Part],
    command: Callable[[Sequence[Part]], list[str]],
    view: Screen,
) -> dict[str, str]:
    """Run cases in one MPI job; whenever one brings the job down, start another for the rest.

    A `Case` whose job died goes on in the next one, as ``run.on_failure`` says. `command` makes
    the mpirun command that runs some cases. Returns the failures by name.

    Raises
    ------
    TransportError
        If a job ends before any case has begun, and is not to be started again.
    """
    failures: dict[str, str] = {}
    remaining = {case.name: case for case in cases}
    present, begun = "", False
    watch: Supervisor | None = None

    def attend(name: str) -> None:
        nonlocal present, watch
        if present != name:
            case = remaining[name]
            watch = Supervisor(case, view.say) if isinstance(case, Case) else None
        present = name

    def hear(event: Mapping[str, Any]) -> None:
        nonlocal begun
        pass_on(event, view)
        if event["event"] == "begin":
            begun = True
            attend(event["label"])
        if event["event"] == "report" and watch:
            watch.report(event["iteration"])
        if event["event"] in {"done", "failed"}:
            del remaining[event["label"]]
        if event["event"] == "failed":
            failures[event["label"]] = event["reason"]

    while remaining:
        together, begun = of_one_size(list(remaining.values())), False
        attend(together[0].name)
        job = JobProcess(command(together), hear, view.pass_on)
        outcome = job.wait()
        if job.stopped:
            return failures | dict.fromkeys(remaining, f"{STOPPED} by {job.stopped}")
        if not any(case.name in remaining for case in together):
            continue
        if present not in remaining:  # it died between two cases
            attend(next(case.name for case in together if case.name in remaining))
        again = watch.after(outcome) if watch else None
        if again:
            remaining[present] = again  # type: ignore[assignment]
            continue
        reason = " ".join(outcome.sentences) or f"the job ended with exit code {outcome.code}"
        if not begun:
            raise TransportError(reason)
        failures[present] = reason
        view.failed(present, reason)
        del remaining[present]
    return failures
