"""Decentralized optimization over MPI with really compressed messages.

Everything public is listed in ``__init__.pyi``, for type checkers and for this module alike, and
imported when it is used: importing distopt starts neither MPI nor numba.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


@cache
def _places() -> dict[str, str]:
    """Map every public name to its module."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    lines = [line for line in stub.body if isinstance(line, ast.ImportFrom)]
    return {alias.name: str(line.module) for line in lines for alias in line.names}


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in _places():
        raise AttributeError(f"module 'distopt' has no attribute {name!r}")
    return getattr(import_module(_places()[name]), name)


def __dir__() -> list[str]:
    return sorted([*_places(), "__version__"])
