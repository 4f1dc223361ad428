"""What the first page lists: runs, suites, and jobs that have no run yet."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Integer, Select, case, cast, func, literal, null, or_, select, union_all
from sqlalchemy.orm import Session

from distopt.service.schema import Job, Run, State
from distopt.service.store import Store

SORTS = ("written", "name", "state", "algorithm", "compressor", "problem", "progress",
         "stationarity", "bytes_per_agent", "seconds")  # fmt: skip


class Entry(NamedTuple):
    """One line of the list."""

    key: str  # "run:FOLDER" or "job:NUMBER"
    job: int | None
    kind: str  # "run" or "suite"
    name: str
    folder: str
    state: str
    algorithm: str
    compressor: str
    problem: str
    agents: int | None
    iteration: int | None
    iterations: int | None
    progress: float  # 0 to 1
    stationarity: float | None
    objective: float | None
    bytes_per_agent: float | None
    seconds: float | None
    written: float
    message: str
    changed: int


def of_runs() -> Select[*tuple[Any, ...]]:
    """Select the runs; that of a job of one run has the job's name, and its state until it is finished."""
    own = Job.kind == "run"
    state = case((own & (Job.state != State.finished), Job.state), else_=Run.state)
    inside = func.substr(Run.folder, func.length(Job.folder) + 2)
    other = (Job.id.is_not(None), Job.name + ": " + inside)
    name = case((own, Job.name), other, else_=Run.folder)
    progress = func.coalesce(1.0 * Run.iteration / func.nullif(Run.iterations, 0), 0.0)
    message = case((own & (Job.message != ""), Job.message), else_=Run.message)
    changed = func.max(Run.changed, func.coalesce(Job.changed, 0))
    return (
        select(
            literal("run:").concat(Run.folder).label("key"), Run.job.label("job"),
            literal("run").label("kind"), name.label("name"), Run.folder.label("folder"),
            state.label("state"), Run.algorithm.label("algorithm"),
            Run.compressor.label("compressor"), Run.problem.label("problem"),
            Run.agents.label("agents"), Run.iteration.label("iteration"),
            Run.iterations.label("iterations"),
            case((Run.state == "finished", 1.0), else_=progress).label("progress"),
            Run.stationarity.label("stationarity"), Run.objective.label("objective"),
            Run.bytes_per_agent.label("bytes_per_agent"), Run.seconds.label("seconds"),
            Run.written.label("written"), message.label("message"), changed.label("changed"),
        )
        .outerjoin(Job, Job.id == Run.job)
        .where(Run.state != State.deleted)
    )  # fmt: skip


def of_jobs() -> Select[*tuple[Any, ...]]:
    """Select the suites, and the jobs that have no run yet."""
    there = Run.state != State.deleted
    runs = select(func.count()).where(Run.job == Job.id, there).scalar_subquery()
    done = select(func.count()).where(Run.job == Job.id, Run.state == "finished").scalar_subquery()
    written = func.coalesce(Job.ended, Job.started, Job.submitted)
    nothing = cast(null(), Integer)
    progress = 1.0 * done / func.max(Job.cases, 1)
    return select(
        literal("job:").concat(Job.id).label("key"), Job.id.label("job"), Job.kind.label("kind"),
        Job.name.label("name"), Job.folder.label("folder"), Job.state.label("state"),
        literal("").label("algorithm"), literal("").label("compressor"),
        literal("").label("problem"), nothing.label("agents"), nothing.label("iteration"),
        nothing.label("iterations"), progress.label("progress"), nothing.label("stationarity"),
        nothing.label("objective"), nothing.label("bytes_per_agent"), nothing.label("seconds"),
        written.label("written"), Job.message.label("message"), Job.changed.label("changed"),
    ).where(Job.state != State.deleted, or_(Job.kind == "suite", runs == 0))  # fmt: skip


def list_entries(
    store: Store,
    q: str = "",
    states: Collection[str] = (),
    sort: str = "written",
    descending: bool = True,
    offset: int = 0,
    limit: int = 100,
    keys: Collection[str] = (),
) -> tuple[int, Sequence[Entry]]:
    """Return how many entries match, and some of them.

    `q` are words, each of which must occur in name, algorithm, compressor or problem; `keys` picks single
    entries.
    """
    both = union_all(of_runs(), of_jobs()).subquery()
    c = both.c
    wanted = select(both)
    text = c.name + " " + c.algorithm + " " + c.compressor + " " + c.problem + " " + c.folder
    for word in q.split():
        wanted = wanted.where(text.icontains(word, autoescape=True))
    if states:
        wanted = wanted.where(c.state.in_(states))
    if keys:
        wanted = wanted.where(c.key.in_(keys))
    column = c[sort]
    order = column.desc() if descending else column.asc()
    page = wanted.order_by(column.is_(None), order, c.key).offset(offset).limit(limit)
    with Session(store.engine) as session:
        count = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        return count, [Entry(*row) for row in session.execute(page)]
