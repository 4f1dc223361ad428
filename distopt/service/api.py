"""The HTTP API, version 1."""

from base64 import b64decode
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from distopt.record.reader import RECORD
from distopt.service import models
from distopt.service.curves import MEASURES
from distopt.service.models import ENDLESS
from distopt.service.schema import Job, Run, State
from distopt.service.service import Missing, Service

FAULTS: dict[int | str, dict[str, Any]] = {
    code: {"model": models.Error} for code in (400, 401, 403, 404, 409, 413, 421, 422, 429, 503)
}
router = APIRouter(prefix="/api/v1", responses=FAULTS)

TYPES = {
    "csv": "text/csv", "json": "application/json", "latex": "application/x-tex", "svg": "image/svg+xml",
    "pdf": "application/pdf", "png": "image/png", "parquet": "application/vnd.apache.parquet",
}  # fmt: skip
ENDINGS = {"latex": "tex"}
# A page or drawing made from a run brings its own style, and may do nothing.
DRAWN = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def the_service(request: Request) -> Service:
    """Return the service of an application."""
    return request.app.state.service  # type: ignore[no-any-return]


Here: TypeAlias = Annotated[Service, Depends(the_service)]
Folder: TypeAlias = Annotated[str, Query(max_length=500, description="of a run, as in /runs")]
Folders: TypeAlias = Annotated[list[str], Query(min_length=1, description="of runs, as in /runs")]
Offset: TypeAlias = Annotated[int, Query(ge=0, lt=ENDLESS)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000)]
Axis: TypeAlias = Literal["iteration", "bytes_per_agent", "bytes_on_wire", "seconds", "gradients"]
Number: TypeAlias = Annotated[int, Query(ge=0, lt=2**53)]


# Jobs


@router.post("/check", tags=["jobs"])
def check(given: models.Submission, here: Here) -> models.Checked:
    """Check a configuration or suite without running it."""
    return models.Checked(**here.check(given.config, given.name, given.engine))


@router.post("/jobs", status_code=201, tags=["jobs"])
def submit(given: models.Submission, here: Here) -> models.JobOut:
    """Put a configuration or suite into the queue."""
    job = here.submit(given.config, given.name, given.engine, given.priority)
    return models.JobOut.model_validate(job)


@router.get("/jobs", tags=["jobs"])
def jobs(
    here: Here,
    state: Annotated[list[str] | None, Query(description="only these states")] = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> models.Jobs:
    """List the jobs, the newest first."""
    wanted = select(Job).where(Job.state != State.deleted)
    if state:
        wanted = wanted.where(Job.state.in_(state))
    with here.store.reading() as session:
        total = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        found = session.scalars(wanted.order_by(Job.id.desc()).offset(offset).limit(limit)).all()
    return models.Jobs(total=total, jobs=[models.JobOut.model_validate(job) for job in found])


@router.get("/jobs/{number}", tags=["jobs"])
def job(number: int, here: Here) -> models.JobDetail:
    """Return a job and its runs."""
    return detail(here, number)


def detail(here: Service, number: int) -> models.JobDetail:
    """Return a job and its runs."""
    found = here.job(bounded(number))
    runs = [models.RunOut.model_validate(run) for run in here.store.runs(found.id)]
    return models.JobDetail(**models.JobOut.model_validate(found).model_dump(), runs=runs)


def bounded(number: int) -> int:
    """Return a number that a job may have."""
    if not 0 < number < 2**53:
        raise Missing(f"There is no job {number}.")
    return number


@router.post("/jobs/{number}/cancel", tags=["jobs"])
def cancel(number: int, here: Here) -> models.JobDetail:
    """Take a job out of the queue, or ask it to save and stop."""
    here.dispatcher.cancel(here.job(bounded(number)))
    return detail(here, number)


@router.post("/jobs/{number}/resume", tags=["jobs"])
def resume(number: int, here: Here) -> models.JobDetail:
    """Queue a job again that ended early; it goes on from its newest checkpoint."""
    here.dispatcher.resume(here.job(bounded(number)))
    return detail(here, number)


@router.patch("/jobs/{number}", tags=["jobs"])
def reprioritize(number: int, given: models.Priority, here: Here) -> models.JobDetail:
    """Change the priority of a job."""
    here.dispatcher.reprioritize(here.job(bounded(number)), given.priority)
    return detail(here, number)


@router.delete("/jobs/{number}", status_code=204, tags=["jobs"])
def delete(number: int, here: Here) -> None:
    """Delete a job that does not run, with its folder."""
    here.dispatcher.delete(here.job(bounded(number)))


@router.get("/jobs/{number}/log", tags=["jobs"])
def log(number: int, here: Here, since: Number = 0) -> models.Log:
    """Return what a job has printed, from a byte on; at most 64 KiB at a time."""
    text, cursor = here.log(here.job(bounded(number)), since)
    return models.Log(text=text, cursor=cursor)


@router.get("/jobs/{number}/config", tags=["jobs"], response_class=Response)
def submitted(number: int, here: Here) -> Response:
    """Return the TOML that was submitted."""
    from distopt.service.service import read_text

    text = read_text(here.dispatcher.source(here.job(bounded(number))))
    return Response(text, media_type="application/toml")


@router.get("/changes", tags=["jobs"])
def changes(here: Here, since: Number = 0, limit: Limit = 1000) -> models.Changes:
    """Return jobs and runs that have changed since a cursor."""
    jobs, runs, cursor = here.store.changes(since, limit)
    return models.Changes(
        since=since,
        cursor=cursor,
        jobs=[models.JobOut.model_validate(job) for job in jobs],
        runs=[models.RunOut.model_validate(run) for run in runs],
    )


# Runs


@router.get("/runs", tags=["runs"])
def runs(
    here: Here,
    job: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> models.Runs:
    """List the run folders, those that were written last first."""
    wanted = select(Run).where(Run.state != State.deleted)
    if job is not None:
        wanted = wanted.where(Run.job == job)
    order = (Run.written.desc(), Run.folder)
    with here.store.reading() as session:
        total = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        found = session.scalars(wanted.order_by(*order).offset(offset).limit(limit)).all()
    return models.Runs(total=total, runs=[models.RunOut.model_validate(run) for run in found])


@router.get("/run", tags=["runs"])
def one_run(here: Here, run: Folder) -> models.RunOut:
    """Return what is known of a run."""
    return models.RunOut.model_validate(here.run(run)[0])


@router.get("/series", tags=["runs"])
def series(
    here: Here,
    run: Folder,
    name: Annotated[list[str] | None, Query(max_length=60)] = None,
    cursor: Annotated[str, Query(max_length=40, description="of the last answer")] = "",
    points: Annotated[int, Query(ge=8, description="rows at most, about")] = 2000,
    skip: Annotated[bool, Query(description="leave out series that the run lacks")] = False,
) -> models.Series:
    """Return the rows of a run's record that are new since a cursor.

    Of many rows, first, last, smallest and largest value of each of the named series within each of equal
    parts are kept.
    """
    points = min(points, here.settings.limits.points)
    return models.Series(**here.series(run, cursor, name or ["stationarity"], points, skip))


@router.get("/curves", tags=["runs"], response_model=list[models.RunCurves])
def curves(
    here: Here,
    run: Folders,
    name: Annotated[list[str] | None, Query(max_length=60, description="of series")] = None,
    x: Annotated[Axis, Query(description="the series to draw them over")] = "iteration",
    cursor: Annotated[
        list[str] | None, Query(description="of the last answer, one for each run, or none")
    ] = None,
    points: Annotated[int, Query(ge=8, description="of a curve at most, about")] = 1000,
    log: Annotated[bool, Query(description="x is logarithmic")] = False,
    low: Annotated[float | None, Query(allow_inf_nan=False, description="smallest x")] = None,
    high: Annotated[float | None, Query(allow_inf_nan=False, description="largest x")] = None,
    measures: Annotated[bool, Query(description="also what the costs measure")] = False,
) -> Response:
    """Return the curves of several runs for one figure, each from its cursor on.

    The axis is divided into equal parts, and of each curve first, last, smallest and largest value within
    each part are kept. Between `low` and `high`, it is divided more finely.
    """
    names = name or ["stationarity"]
    most = max(8, here.settings.limits.answer // (len(run) * (len(names) + MEASURES)))
    figure = {"names": names, "x": x, "points": min(points, most), "log": log, "low": low,
              "high": high, "measures": measures}  # fmt: skip
    found = here.curves(few(here, run), cursor or [], figure)
    return Response(found, media_type="application/json")


@router.get("/record", tags=["runs"], response_class=FileResponse)
def record(here: Here, run: Folder) -> FileResponse:
    """Return the whole record of a run, metrics.h5."""
    _, place = here.run(run)
    path = place / RECORD
    if path.is_symlink() or not path.is_file():
        raise Missing("The record of this run is gone.")
    return FileResponse(path, media_type="application/x-hdf5", filename=f"{place.name}.h5")


@router.get("/config", tags=["runs"], response_class=Response)
def config(here: Here, run: Folder) -> Response:
    """Return the TOML with which a run was started."""
    return Response(here.given(run), media_type="application/toml")


@router.get("/compare", tags=["runs"])
def compare(
    here: Here,
    run: Folders,
    accuracy: Annotated[list[float] | None, Query()] = None,
) -> dict[str, Any]:
    """Compare runs: iterations, bytes and seconds to each accuracy."""
    return here.compare(few(here, run), accuracy)


def few(here: Service, folders: list[str]) -> list[str]:
    """Return folders if they are not too many for one picture."""
    most = here.settings.limits.overlay
    if len(folders) > most:
        raise Missing(f"{len(folders)} runs are too many for one comparison; accepted: {most}.")
    return folders


@router.get("/export", tags=["runs"], response_class=Response)
async def export(
    here: Here,
    run: Folders,
    format: Literal["csv", "json", "parquet", "latex", "svg", "pdf", "png"] = "csv",
    x: Annotated[list[str] | None, Query(max_length=4)] = None,
    y: Annotated[str, Query(max_length=60)] = "stationarity",
) -> Response:
    """Return runs as data, as a LaTeX table, or as a figure."""
    folders = [str(here.run(folder)[1]) for folder in few(here, run)]
    found = await run_in_threadpool(
        here.maker.do, "export", 120.0, folders=folders, format=format, x=x or ["bytes"], y=y
    )
    name = f"distopt.{ENDINGS.get(format, format)}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(b64decode(found), media_type=TYPES[format], headers=headers)


@router.get(
    "/graph",
    tags=["runs"],
    response_model=models.Graph,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def graph(here: Here, run: Folder, format: Literal["json", "svg"] = "json") -> Any:
    """Return the graph of a run, with the bytes that each agent sent to each neighbour; drawn as SVG."""
    if format == "json":
        return here.graph(run, drawn=False)
    headers = {
        "Content-Security-Policy": DRAWN,
        "Content-Disposition": 'inline; filename="graph.svg"',
    }
    svg = here.graph(run, alone=True)["svg"]
    return Response(svg, media_type=TYPES["svg"], headers=headers)


@router.get("/report", tags=["runs"], response_class=Response)
def report(here: Here, run: Folder) -> Response:
    """Return the page of a run, as `distopt report` writes it."""
    _, place = here.run(run)
    text = here.maker.do("report", 120.0, folder=str(place))
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": DRAWN})


# What there is


@router.get("/registry", tags=["registry"])
def registry(here: Here) -> dict[str, Any]:
    """Return every algorithm, compressor, cost and topology, with JSON schemas of their parameters."""
    return here.maker.do("registry")  # type: ignore[no-any-return]
