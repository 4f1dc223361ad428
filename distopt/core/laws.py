"""What the checks of laws have in common: a failure names the law."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def law(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make the `AssertionError` of a check begin with the name of the law that it tests."""

    def decorate(check: Callable[P, R]) -> Callable[P, R]:
        @wraps(check)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return check(*args, **kwargs)
            except AssertionError as error:
                raise AssertionError(f'law "{name}": {error}') from None

        return checked

    return decorate
