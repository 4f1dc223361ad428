"""The process of a `Worker`: ``python -m distopt.service.work`` reads requests and writes answers.

Each task imports what it needs, so a process that only reads records stays small.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

from pydantic_core import to_json

from distopt.core.errors import DistoptError, name_of

TASKS = {  # each a function of that module
    "check": "validation",
    "registry": "validation",
    "summaries": "reading",
    "series": "reading",
    "curves": "curves",
    "prepare": "curves",
    "compare": "deliver",
    "export": "deliver",
    "report": "deliver",
    "graph": "deliver",
}


def answer(line: str) -> dict[str, Any]:
    """Do what a request asks for."""
    request = json.loads(line)
    task = request.pop("task")
    try:
        module = import_module(f"distopt.service.{TASKS[task]}")
        return {"answer": getattr(module, task)(**request)}
    except DistoptError as error:
        return {"error": str(error), "kind": name_of(error)}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        return {"error": f"This is a fault of distopt: {said}.", "kind": "DistoptError"}


def main() -> None:
    """Answer until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a cost prints must not look like an answer
    for line in sys.stdin:
        answers.write(to_json(answer(line), inf_nan_mode="null", fallback=str) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
