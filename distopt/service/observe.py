"""What operators look at: health, metrics for Prometheus, and logs of one JSON object a line."""

import json
import logging
import time
from collections.abc import Iterable
from typing import Literal

from fastapi import APIRouter, Response

from distopt import __version__
from distopt.service.api import Here
from distopt.service.models import Health
from distopt.service.service import Service

STUCK_SECONDS = 60.0  # the queue looks at everything much more often than that
STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

router = APIRouter(tags=["operation"])


def state(service: Service) -> Literal["ok", "stuck"]:
    """Whether the queue moves."""
    return "ok" if time.time() - service.dispatcher.ticked < STUCK_SECONDS else "stuck"


def busy(service: Service) -> int:
    """Count the ranks that run."""
    return sum(job.ranks for job in service.store.active())


@router.get("/health")
def health(here: Here, response: Response) -> Health:
    """Say whether the service works; needs no token."""
    found = state(here)
    response.status_code = 200 if found == "ok" else 503
    return Health(
        status=found,
        version=__version__,
        slots=here.settings.slots,
        busy=busy(here),
        jobs=here.store.counts(),
    )


@router.get("/metrics", response_class=Response)
def metrics(here: Here) -> Response:
    """Return the numbers that Prometheus collects."""
    counts = here.store.counts()
    lines = [
        *gauge("distopt_up", "Whether the queue moves.", [("", float(state(here) == "ok"))]),
        *gauge("distopt_slots", "Ranks that may run at once.", [("", here.settings.slots)]),
        *gauge("distopt_busy_ranks", "Ranks of jobs that run.", [("", busy(here))]),
        *gauge("distopt_watchers", "Open streams of events.", [("", here.watchers.count)]),
        *gauge("distopt_runs", "Run folders in the data folder.", [("", len(here.store.runs()))]),
        *gauge(
            "distopt_jobs",
            "Jobs by state.",
            [(f'{{state="{name}"}}', count) for name, count in counts.items()],
        ),
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def gauge(name: str, help: str, values: Iterable[tuple[str, float]]) -> list[str]:
    """Write one metric."""
    told = [f"{name}{labels} {value:g}" for labels, value in values]
    return [f"# HELP {name} {help}", f"# TYPE {name} gauge", *told]


class Json(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        told = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def log_to_stderr() -> None:
    """Write the service's log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json())
    for name in ("distopt.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
