"""A user's cost, held so that its mistakes end in sentences and cannot spoil a run."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distopt.core.arrays import F64, require_room
from distopt.core.errors import DataError
from distopt.core.usercode import blame
from distopt.problems.costs.base import Cost
from distopt.problems.costs.model import ModelCost

OURS = "distopt."
WRITING = {"batch_gradient", "values", "gradients", "hvp"}  # their last argument is written


def guard(cost: Any, place: str, path: Path | None = None, x: F64 | None = None) -> Cost:
    """Check a cost and return it guarded; the costs of this package are returned as they are.

    Parameters
    ----------
    cost : object
    place : str
        What the sentences call it, its agent included.
    path : Path, optional
        The file that sentences name; by default that of its class.
    x : float64[d], optional
        Where it is tried; by default its own start, else 0.
    """
    if ours(cost):
        return cost  # type: ignore[no-any-return]
    check_shape(cost, place)
    guarded = Guarded(cost, path or source(cost))
    with naming(place):
        if isinstance(cost, ModelCost):
            guarded.check(cost.start if x is None else x)
        else:
            check_behaviour(guarded, x)
    return guarded


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put whose cost it is before the sentences of its mistakes."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{place}: {error}") from error.__cause__


def ours(cost: object) -> bool:
    """Whether a cost is one of this package, or guarded already; models run code of the user's."""
    return type(cost).__module__.startswith(OURS) and not isinstance(cost, ModelCost)


def source(cost: object) -> Path:
    """Return the file of an object's class, as far as it has one."""
    if isinstance(cost, ModelCost):
        return Path(cost.source)
    try:
        return Path(inspect.getfile(type(cost)))
    except (TypeError, OSError):
        return Path(f"<{type(cost).__name__}>")


def read_only(x: Any) -> Any:
    """Return a view of an array that cannot be written, anything else as it is."""
    if isinstance(x, np.ndarray):
        x = x.view()
        x.setflags(write=False)
    return x


def check_shape(cost: object, place: str) -> None:
    """Refuse what cannot be a cost, before anything of it is called."""
    wanted = "a cost has dimension, value(x) and gradient(x, out)."
    if cost is None:
        raise DataError(f"{place} is None; {wanted}")
    if isinstance(cost, type):
        raise DataError(f"{place} is the class {cost.__name__}; accepted: an object of it.")
    if isinstance(cost, ModelCost):
        with naming(place):
            _ = cost.dimension  # builds the parameters, which may show what is wrong with them
    for name in ("dimension", "value", "gradient"):
        if not hasattr(cost, name):
            raise DataError(
                f'{place} is of type {type(cost).__name__} and has no "{name}"; {wanted}'
            )
    dimension = cost.dimension  # type: ignore[attr-defined]
    whole = isinstance(dimension, int | np.integer) and not isinstance(dimension, bool)
    if not whole or dimension < 1:
        raise DataError(
            f"{place}: dimension = {dimension!r} is not acceptable; accepted: a whole number >= 1."
        )
    require_room(int(dimension))
    for name, arguments in (("value", ("x",)), ("gradient", ("x", "out"))):
        method = getattr(cost, name)
        wanted = f"{name}({', '.join(arguments)})"
        if not callable(method):
            raise DataError(f"{place}: {name} is not a function; accepted: {wanted}.")
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError:
            where = ", which writes the gradient into out" if name == "gradient" else ""
            raise DataError(
                f"{place}: {name}{inspect.signature(method)} cannot be called as {wanted}{where}."
            ) from None
        except ValueError:
            continue


def check_behaviour(guarded: "Guarded", x: F64 | None) -> None:
    """Call value and gradient once, at x or else the cost's own start, and check what they did."""
    d, start = guarded.dimension, getattr(guarded, "start", None)
    if start is not None and np.shape(start) != (d,):
        raise DataError(f"start has shape {np.shape(start)}; accepted: ({d},).")
    if x is None:
        x = np.zeros(d) if start is None else np.array(start, dtype=np.float64)
    guarded.value(x)
    out = np.full(d, np.nan)
    returned = guarded.gradient(x, out)
    missing = np.isnan(out)
    if missing.any():
        if returned is not None and np.shape(returned) == (d,):
            raise DataError(
                "gradient(x, out) returned an array; it must write into out instead (out[:] = ...)."
            )
        raise DataError(
            f"gradient(x, out) at the start point left out[{int(missing.argmax())}] unwritten or "
            "made it nan; it must write all entries of out (out[:] = ...)."
        )


class Guarded:
    """A user's cost that gets x read-only, and whose exceptions become sentences.

    All else is passed through.
    """

    def __init__(self, cost: Any, path: Path) -> None:
        self._cost = cost
        self._path = path
        self.dimension = int(cost.dimension)

    def value(self, x: F64) -> float:
        """Return the user's value, as a float."""
        return self.number(self.call(self._cost.value, read_only(x)), "value(x) returned")

    def number(self, value: Any, told: str) -> float:
        """Return a number that the user's code has told, as a float."""
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DataError(f"{self._path}: {told} {type(value).__name__}, not a number.") from None

    def gradient(self, x: F64, out: F64) -> Any:
        """Let the user's gradient write `out`; return what it returns."""
        return self.call(self._cost.gradient, read_only(x), out)

    def check(self, x: F64) -> None:
        """Check a model at x (`ModelCost.check`)."""
        self.call(self._cost.check, read_only(x))

    def measures(self, x: F64) -> dict[str, float]:
        """Return the user's further numbers at x by name, none where the cost has none."""
        own = getattr(self._cost, "measures", None)
        told = {} if own is None else self.call(own, read_only(x))
        if not isinstance(told, dict):
            raise DataError(
                f"{self._path}: measures(x) returned {type(told).__name__}, not a dict of numbers."
            )
        for name in told:
            if not (isinstance(name, str) and name.isidentifier()):
                raise DataError(
                    f"{self._path}: measures(x) returned the name {name!r}; accepted: letters, digits "
                    'and underscores, such as "accuracy".'
                )
        return {
            name: self.number(value, f"measures(x) gave {name} =") for name, value in told.items()
        }

    def write(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method that may write its last argument only."""
        return self.call(method, *map(read_only, arguments[:-1]), arguments[-1])

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code; its exceptions name file, line and method."""
        try:
            return method(*arguments)
        except BaseException as error:
            blame(error, self._path, getattr(method, "__name__", "a call"))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cost, name)
        return partial(self.write, found) if name in WRITING else found
