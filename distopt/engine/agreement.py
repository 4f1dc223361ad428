"""Errors that all processes know of, so that each can end by itself."""

from collections.abc import Callable
from typing import Any, TypeVar

from distopt.core.errors import DistoptError
from distopt.transport.base import Transport

T = TypeVar("T")


class SharedError(Exception):
    """Carries an error that all processes know of, so each can end by itself."""

    def __init__(self, cause: DistoptError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def together(transport: Transport, work: Callable[[], T], *, root_only: bool = False) -> T:
    """Do something that may fail on any process; where it did, all raise the first one's error."""
    result: Any = None
    failure: DistoptError | None = None
    try:
        if transport.root or not root_only:
            result = work()
    except DistoptError as error:
        failure = error
    failures = [f for f in transport.share(failure) if f is not None]
    if failures:
        raise SharedError(failures[0])
    return result  # type: ignore[no-any-return]
