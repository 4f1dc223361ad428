"""Errors as answers: the sentence of the command line, and the key that it is about."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from distopt.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DistoptError,
    DivergedError,
    MessageError,
)
from distopt.core.parameters import sentence as explanation
from distopt.service.dispatcher import Refused
from distopt.service.pages import render
from distopt.service.service import Missing

STATUS: tuple[tuple[type[DistoptError], int], ...] = (
    (Missing, 404),
    (Refused, 409),
    (CheckpointError, 409),
    (ConfigError, 422),
    (DataError, 422),
    (MessageError, 422),
    (DivergedError, 422),
    (DistoptError, 503),
)
KEY = re.compile(r"^(?:Variant .*?: )?\[?([a-z_]+(?:\.\w+)+|(?<=\[)[\w.]+(?=\]))")


def key_of(sentence: str) -> str | None:
    r"""Return the key of the configuration that a sentence begins with; of several lines, the first.

    >>> key_of("algorithm.eta = -1 is not acceptable; accepted: a number > 0.")
    'algorithm.eta'
    >>> key_of("[algoritm] is not a section.")
    'algoritm'
    >>> key_of("The configuration has 2 mistakes:\n  run.sed is not known.\n  run.keep = 0 is")
    'run.sed'
    >>> key_of("There is no job 3.")
    """
    found = (KEY.match(line.strip()) for line in sentence.splitlines())
    return next((match[1] for match in found if match), None)


def body(sentence: str, kind: str, key: str | None = None) -> dict[str, Any]:
    """Return the body of an answer to a request that is refused."""
    return {"error": {"sentence": sentence, "key": key, "kind": kind}}


def told(
    request: Request,
    status: int,
    sentence: str,
    kind: str,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a sentence: as a page to a browser that asked for one, else as JSON."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith("/api/"):
        return render(request, "error.html", {"status": status, "sentence": sentence}, status)
    return JSONResponse(body(sentence, kind, key), status, headers=headers)


def misfit(complaints: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the first key of a request that does not fit ("" for the whole request), and a sentence."""
    first = complaints[0]
    if first["type"] == "json_invalid":
        return "", f"The request is not JSON: {first['ctx']['error']}."
    if len(first["loc"]) < 2:
        return "", "The request must be a JSON object."
    key = str(first["loc"][1])
    if first["type"] == "extra_forbidden":
        return key, f"{key} is not known; /api lists what is."
    same = [{**c, "loc": (key,)} for c in complaints if c["loc"][1:2] == first["loc"][1:2]]
    return key, explanation(same, "", (), "")


def answer_errors(app: FastAPI) -> None:
    """Turn the errors of an application's routes into answers."""

    @app.exception_handler(DistoptError)
    def known(request: Request, error: DistoptError) -> Response:
        status = next(status for kind, status in STATUS if isinstance(error, kind))
        text = str(error)
        return told(request, status, text, type(error).__name__, key_of(text))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        complaints = jsonable_encoder(error.errors())
        key, text = misfit(complaints)
        return told(request, 422, text, "Malformed", key)

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> Response:
        text = {404: "There is nothing here.", 405: "This is not possible here."}.get(
            error.status_code, f"{error.detail}."
        )
        return told(request, error.status_code, text, "Refused", headers=error.headers)
