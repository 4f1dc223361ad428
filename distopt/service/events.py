"""Streams of events: what has changed in the list, and new rows of a run."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from distopt.core.errors import DistoptError
from distopt.core.files import as_json
from distopt.service.api import FAULTS, Folder, Here, Number
from distopt.service.dispatcher import Refused
from distopt.service.service import Service

LOOK_SECONDS = 0.25  # between two looks at whether anything has changed
SEND_SECONDS = 30  # a client that takes nothing for so long is let go
PING_SECONDS = 15

router = APIRouter(prefix="/api/v1", responses=FAULTS, tags=["events"])


def stream(service: Service, events: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    """Answer with events."""
    return EventSourceResponse(events, ping=PING_SECONDS, send_timeout=SEND_SECONDS)


@router.get("/events", response_class=EventSourceResponse)
async def events(here: Here, since: Number | None = None) -> EventSourceResponse:
    """Tell the keys of what has changed, as it changes; `since` is a cursor of /changes."""
    admit(here)
    return stream(here, changes(here, here.store.changed if since is None else since))


async def changes(here: Service, cursor: int) -> AsyncIterator[ServerSentEvent]:
    """Watch the store."""
    with here.watchers:
        while True:
            if here.store.changed > cursor:
                jobs, runs, cursor = await run_in_threadpool(here.store.changes, cursor, 1000)
                keys = [f"job:{job.id}" for job in jobs] + [f"run:{run.folder}" for run in runs]
                # A change of a job of one run shows in the line of that run.
                keys += [f"run:{job.folder}" for job in jobs]
                if keys:
                    data = json.dumps({"cursor": cursor, "keys": keys})
                    yield ServerSentEvent(data, event="changed", id=str(cursor))
            await asyncio.sleep(LOOK_SECONDS)


@router.get("/series/stream", response_class=EventSourceResponse)
async def follow(
    here: Here,
    run: Folder,
    name: Annotated[list[str] | None, Query(max_length=60)] = None,
    cursor: Annotated[str, Query(max_length=40)] = "",
    points: Annotated[int, Query(ge=8)] = 2000,
) -> EventSourceResponse:
    """Send the rows of a run from a cursor on, and new ones as they come; ends with the run."""
    admit(here)
    await run_in_threadpool(here.run, run)
    points = min(points, here.settings.limits.points)
    return stream(here, rows(here, run, cursor, name or ["stationarity"], points))


async def rows(
    here: Service, folder: str, cursor: str, names: list[str], points: int
) -> AsyncIterator[ServerSentEvent]:
    """Watch a run."""
    seen = ""
    with here.watchers:
        while True:
            run = await run_in_threadpool(here.store.run, folder)
            if run is None:
                yield ServerSentEvent("{}", event="gone")
                return
            if run.stamp != seen:
                try:
                    new = await run_in_threadpool(here.series, folder, cursor, names, points)
                except DistoptError as error:
                    yield ServerSentEvent(json.dumps({"sentence": str(error)}), event="fault")
                    return
                if new["cursor"] != cursor:
                    cursor = new["cursor"]
                    yield ServerSentEvent(as_json(new), event="rows", id=cursor)
                seen = run.stamp
            if run.state != "running":
                yield ServerSentEvent(json.dumps({"state": run.state}), event="end")
                return
            await asyncio.sleep(LOOK_SECONDS)


def admit(here: Service) -> None:
    """Refuse one stream too many."""
    if here.watchers.count >= here.settings.limits.watchers:
        raise Refused("Too many pages watch this service; close some.")
