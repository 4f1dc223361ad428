"""Serve a service over HTTP until a signal ends it."""

import sys

import uvicorn

from distopt.core.errors import ConfigError, DistoptError
from distopt.service.app import create_app
from distopt.service.observe import log_to_stderr
from distopt.service.security import SCOPES, Keys
from distopt.service.service import Service
from distopt.service.settings import Settings
from distopt.service.store import Store

GRACE_SECONDS = 3  # for open streams at the end
KEEP_SECONDS = (
    120  # an idle connection is kept; one that ends while its client asks again is an error
)


def make_token(settings: Settings, scope: str) -> str:
    """Make a token for a service, which may be running."""
    if scope not in SCOPES:
        raise ConfigError(f"--new-token {scope} is not known. Accepted: {', '.join(SCOPES)}.")
    store = Store(settings)
    try:
        return Keys(store, True).make(scope)
    finally:
        store.close()


def serve_until_stopped(settings: Settings, token: bool) -> None:
    """Serve until Ctrl-C or SIGTERM; jobs go on.

    Raises
    ------
    DistoptError
        If the data folder or the port cannot be had.
    """
    log_to_stderr()
    service = Service.open(settings, token)
    config = uvicorn.Config(
        create_app(service),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_SECONDS,
    )
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise DistoptError(
            f"{settings.host}:{settings.port} cannot be listened at; another program may have it. Choose "
            "another --port."
        ) from None
    greet(settings, service.keys.first(), service.keys.required)
    uvicorn.Server(config).run(sockets=[listening])


def greet(settings: Settings, token: str | None, required: bool) -> None:
    """Say where the page is, and the first token, which is never shown again."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"
    lines = [f"distopt: {address}  (data in {settings.data}; Ctrl-C ends it, jobs go on)"]
    if token:
        lines.append(f"distopt: token, shown only now: {token}")
        lines.append(f"distopt: with it already: {address}login?token={token}")
    elif required:
        lines.append(
            "distopt: a token is needed; `distopt serve --new-token run` with this --data makes another."
        )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
