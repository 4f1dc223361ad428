"""The page: HTML for browsers. Everything that it shows is also in the API."""

import time
import tomllib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from distopt.core import units
from distopt.core.errors import DistoptError
from distopt.service.api import Folder, Folders, Here, bounded, few
from distopt.service.entries import SORTS, list_entries
from distopt.service.schema import Job, Run, State
from distopt.service.security import cookie_name
from distopt.service.service import Missing, Service, read_text
from distopt.show.page import CSS

PAGE = 100  # entries at a time
YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


# How templates write things


def dom(key: str) -> str:
    """Make an id of HTML from a key."""
    return f"e{sha256(key.encode()).hexdigest()[:16]}"


def moment(seconds: float) -> str:
    """Write a time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def query(values: Mapping[str, Any]) -> str:
    """Write the query of an address."""
    return urlencode(values, doseq=True)


def kind(schema: Mapping[str, Any]) -> str:
    """Say in a word or two what a JSON schema accepts."""
    if inner := schema.get("anyOf"):
        return " or ".join(kind(each) for each in inner)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    return str(schema.get("type", "value")).replace("null", "nothing")


TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
TEMPLATES.env.filters.update(
    nbytes=units.nbytes, seconds=units.seconds, small=units.small, dom=dom, moment=moment, query=query,
    kind=kind,
)  # fmt: skip


def render(
    request: Request, template: str, values: Mapping[str, Any], status: int = 200
) -> HTMLResponse:
    """Render a template."""
    return TEMPLATES.TemplateResponse(request, template, {**values}, status_code=status)


def htmx(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into a page that is there."""
    return request.headers.get("hx-request") == "true"


# Pages


@router.get("/base.css")
def base_style() -> Response:
    """Return the style that the service's pages share with those of `distopt report`."""
    return Response(CSS, media_type="text/css")


@router.get("/")
def runs(
    request: Request,
    here: Here,
    q: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    sort: Annotated[str, Query(max_length=20)] = "written",
    order: Annotated[str, Query(max_length=4)] = "desc",
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> HTMLResponse:
    """Show the list of runs; only its lines where htmx asks for them."""
    sort = sort if sort in SORTS else "written"
    cursor = here.store.changed
    states = [state] if state else []
    total, found = list_entries(here.store, q, states, sort, order != "asc", offset, PAGE)
    more = {"q": q, "state": state, "sort": sort, "order": order, "offset": offset + PAGE}
    values = {
        "entries": found, "total": total, "q": q, "state": state, "sort": sort, "order": order,
        "cursor": cursor, "states": [s for s in State if s != State.deleted], "offset": offset,
        "more": urlencode(more) if offset + PAGE < total else "", "here": "runs",
    }  # fmt: skip
    return render(request, "lines.html" if htmx(request) else "runs.html", values)


@router.get("/lines")
def lines(
    request: Request, here: Here, key: Annotated[list[str], Query(max_length=500)]
) -> HTMLResponse:
    """Show single lines of the list anew."""
    _, found = list_entries(here.store, keys=key, limit=1000)
    return render(request, "fresh.html", {"entries": found})


@router.get("/jobs/{number}")
def job(request: Request, number: int, here: Here) -> HTMLResponse:
    """Show a job; only its state where htmx asks for it."""
    cursor = here.store.changed
    found = here.job(bounded(number))
    known = here.store.runs(found.id)
    values = shown(known, found.folder) | {
        "job": found, "name": found.name, "folder": found.folder, "cursor": cursor,
        "address": f"/jobs/{found.id}", "log": here.log(found, 0)[0],
        "keys": [f"job:{found.id}", *(f"run:{run.folder}" for run in known)],
        "config": "" if found.kind == "suite" else resolved(here, found.folder),
    }  # fmt: skip
    return render(request, "status.html" if htmx(request) else "job.html", values)


@router.get("/run")
def run(request: Request, here: Here, folder: Folder) -> Response:
    """Show a run folder; that of a job of one run on the page of its job."""
    cursor = here.store.changed
    found, _ = here.run(folder)
    mine: Job | None = here.store.job(found.job) if found.job else None
    if mine is not None and mine.kind == "run":
        return RedirectResponse(f"/jobs/{mine.id}")
    values = shown([found], "") | {
        "job": None, "name": found.folder, "folder": found.folder, "cursor": cursor, "log": "",
        "address": f"/run?{query({'folder': folder})}", "keys": [f"run:{found.folder}"],
        "config": resolved(here, found.folder),
    }  # fmt: skip
    return render(request, "status.html" if htmx(request) else "job.html", values)


def resolved(here: Service, folder: str) -> str:
    """Return the configuration of a run folder with all defaults, "" where there is none yet."""
    try:
        return read_text(here.settings.data / folder / "config.toml")
    except Missing:
        return ""


def shown(runs: Sequence[Run], parent: str) -> dict[str, Any]:
    """Return what pages with runs need: the runs, and what to call each."""
    labels = {run.folder: run.folder.removeprefix(parent).strip("/") for run in runs}
    return {
        "runs": runs,
        "labels": {f: label or PurePosixPath(f).name for f, label in labels.items()},
    }


@router.get("/graph")
def graph(request: Request, here: Here, folder: Folder) -> HTMLResponse:
    """Show the graph of a run, as a part of its page."""
    found, fault = None, ""
    try:
        found = here.graph(folder)
    except DistoptError as error:
        fault = str(error)
    return render(request, "graph.html", {"found": found, "fault": fault, "folder": folder})


@router.get("/compare")
def compare(request: Request, here: Here, run: Folders) -> HTMLResponse:
    """Show several runs in the same figures; the table of their comparison comes when these are drawn."""
    cursor = here.store.changed
    known = [here.run(folder)[0] for folder in few(here, list(dict.fromkeys(run)))]
    return render(request, "compare.html", shown(known, "") | {"cursor": cursor, "alone": True})


@router.get("/tables")
def tables(request: Request, here: Here, run: Folders) -> HTMLResponse:
    """Show the tables of a comparison, as a part of its page."""
    found, fault = [], ""
    try:
        found = here.compare(few(here, list(dict.fromkeys(run))), None)["tables"]
    except DistoptError as error:
        fault = str(error)
    return render(request, "tables.html", {"tables": found, "fault": fault})


@router.get("/new")
def new(
    request: Request,
    here: Here,
    run: Annotated[str, Query(max_length=500)] = "",
    job: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    example: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """Show the form, empty or filled in from a run, a job or an example."""
    known = here.examples()
    title, text = "", ""
    if run:
        text = here.given(run)
    elif job:
        text = read_text(here.dispatcher.source(here.job(job)))
    elif example in known:
        title, text = example, read_text(known[example])
    elif example:
        raise Missing(f"There is no example {example!r}.")
    given = {"text": text, "tables": tables_of(text)}
    values = {"given": given, "title": title, "examples": [*known], "here": "new"}
    return render(request, "new.html", values)


def tables_of(text: str) -> dict[str, Any] | None:
    """Return the tables of a configuration; None for a suite or what is none, which stay texts."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if {"suite", "variant"} & found.keys() else found


@router.get("/api")
def docs(request: Request) -> HTMLResponse:
    """Show what the API can do."""
    return render(request, "api.html", {"schema": request.app.openapi(), "here": "api"})


@router.get("/login")
def ask(request: Request, token: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Ask for a token, or take the one of the printed link."""
    return enter(request, token) if token else render(request, "login.html", {"wrong": False})


@router.post("/login")
async def login(request: Request) -> Response:
    """Take a token."""
    form = parse_qs((await request.body()).decode(errors="replace"))
    return enter(request, form.get("token", [""])[0].strip())


def enter(request: Request, token: str) -> Response:
    """Let a browser in that knows a token."""
    service = request.app.state.service
    if not service.keys.allows(token, "GET"):
        return render(request, "login.html", {"wrong": True}, 401)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        cookie_name(service.settings), token, max_age=YEAR, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer
