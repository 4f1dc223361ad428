"""The application: all routes, behind the guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from distopt import __version__
from distopt.service import api, events, observe, pages
from distopt.service.errors import answer_errors
from distopt.service.security import Guard
from distopt.service.service import Service

STATIC = Path(__file__).parent / "static"


def create_app(service: Service) -> FastAPI:
    """Make the application of a service, which begins and ends with it."""

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        service.begin()
        yield
        service.close()

    app = FastAPI(
        title="distopt",
        version=__version__,
        description="Decentralized optimization with really compressed messages, as a service.",
        docs_url=None,  # FastAPI's own pages load their scripts from other hosts
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=working,
    )
    app.state.service = service
    for router in (events.router, api.router, observe.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    answer_errors(app)
    app.add_middleware(Guard, settings=service.settings, keys=service.keys)
    return app
