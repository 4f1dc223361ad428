"""The page: HTML for browsers. Everything that it shows is also in the API."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from distopt.core import units
from distopt.service.api import Here
from distopt.service.entries import SORTS, list_entries
from distopt.service.schema import State
from distopt.service.security import cookie_name

TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")
TEMPLATES.env.filters |= {
    "nbytes": units.nbytes,
    "seconds": units.seconds,
    "small": units.small,
}
PAGE = 100  # entries at a time
YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


def render(request: Request, template: str, **values: Any) -> HTMLResponse:
    """Render a template."""
    return TEMPLATES.TemplateResponse(request, template, values)


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
        "more": urlencode(more) if offset + PAGE < total else "",
    }  # fmt: skip
    part = request.headers.get("hx-request") == "true"
    return render(request, "lines.html" if part else "runs.html", **values)


@router.get("/lines")
def lines(
    request: Request, here: Here, key: Annotated[list[str], Query(max_length=500)]
) -> HTMLResponse:
    """Show single lines of the list anew."""
    _, found = list_entries(here.store, keys=key, limit=1000)
    return render(request, "fresh.html", entries=found)


@router.get("/api")
def docs(request: Request) -> HTMLResponse:
    """Show what the API can do."""
    return render(request, "api.html", schema=request.app.openapi())


@router.get("/login")
def ask(request: Request, token: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Ask for a token, or take the one of the printed link."""
    return enter(request, token) if token else render(request, "login.html", wrong=False)


@router.post("/login")
async def login(request: Request) -> Response:
    """Take a token."""
    form = parse_qs((await request.body()).decode(errors="replace"))
    return enter(request, form.get("token", [""])[0].strip())


def enter(request: Request, token: str) -> Response:
    """Let a browser in that knows a token."""
    service = request.app.state.service
    if not service.keys.allows(token, "GET"):
        page = render(request, "login.html", wrong=True)
        page.status_code = 401
        return page
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        cookie_name(service.settings), token, max_age=YEAR, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer
