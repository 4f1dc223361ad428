"""The user's own cost, from a Python file."""

import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, Self

import numpy as np

from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.core.files import locate
from distopt.core.parameters import Field, nearest, parameters
from distopt.problems.costs.base import Cost, Family


@parameters("problem")
class Python(Family):
    """Costs that `factory` in `file` makes, called as ``factory(agent, agents, **options)``.

    A factory with a parameter named ``seed`` gets ``problem.seed`` in it, unless the options have one.

    What it returns needs ``dimension``, ``value(x)`` and ``gradient(x, out)``; see
    `distopt.problems.costs.base.Cost` for what else is used where it exists (docs: costs, python).
    """

    file: str
    factory: str = "make_cost"
    options: dict[str, Any] = Field(default_factory=dict)

    def cost(self, agent: int, agents: int, seed: int) -> Cost:
        place = f"{self.factory} of {self.file}"
        make, options = self._make(seed)
        try:
            cost = make(agent, agents, **options)
        except Exception as error:
            blame(error, Path(self.file), f"{self.factory}({agent}, {agents}, ...)")
        check_shape(cost, place)
        guarded = Guarded(cost, Path(self.file))
        check_behaviour(cost, guarded, place)
        return guarded

    def located(self, folder: Path) -> Self:
        path = locate(self.file, folder)
        if not path.is_file():
            raise ConfigError(f'problem.file = "{self.file}" is not a file; looked for {path}.')
        return replace(self, file=str(path))

    def _make(self, seed: int) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Find the factory and its keywords, and see that it takes the arguments it will get."""
        path = Path(self.file).absolute()
        module = load(path, path.stat().st_mtime_ns if path.exists() else 0)
        make: Callable[..., Any] | None = getattr(module, self.factory, None)
        if not callable(make):
            known = [name for name, value in vars(module).items() if callable(value)]
            raise ConfigError(
                f'problem.factory = "{self.factory}" is not a function in '
                f"{self.file}{nearest(self.factory, known) or '.'}"
            )
        options = self.options
        try:
            signature = inspect.signature(make)
            if "seed" in signature.parameters:
                options = {"seed": seed} | options
            signature.bind(0, 1, **options)
        except TypeError as error:
            raise ConfigError(
                f"{self.file}: {self.factory} must take (agent, agents) and the keys of "
                f"[problem.options]; {error}."
            ) from None
        except ValueError:
            pass  # a compiled function without a signature; the call will show
        return make, options


@lru_cache(maxsize=16)
def load(path: Path, changed: int) -> ModuleType:
    """Run a Python file once per process and version, as a separate module."""
    spec = spec_from_file_location(f"distopt_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f'problem.file = "{path}" is not a Python file; accepted: a name in .py.')
    module = module_from_spec(spec)
    # Dataclasses and pickles look their module up by name; siblings are imported from its folder.
    sys.modules[spec.name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        blame(error, path, "the import")
    return module


def blame(error: Exception, path: Path, during: str) -> NoReturn:
    """Turn an exception of the user's code into a sentence with file and line."""
    if isinstance(error, DistoptError):
        raise error
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line: int | None = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
    where = f"{path}, line {line}" if line else str(path)
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    raise DataError(
        f"{where}: {during} failed with {type(error).__name__}{': ' if text else ''}{text}."
    ) from error


def check_shape(cost: object, place: str) -> None:
    """Refuse what cannot be a cost, before anything of it is called."""
    if cost is None:
        raise DataError(f"{place} returned nothing; it must return a cost.")
    for name in ("dimension", "value", "gradient"):
        if not hasattr(cost, name):
            raise DataError(
                f'{place} returned a {type(cost).__name__} without "{name}"; a cost has dimension, '
                "value(x) and gradient(x, out)."
            )
    dimension = cost.dimension  # type: ignore[attr-defined]
    whole = isinstance(dimension, int | np.integer) and not isinstance(dimension, bool)
    if not whole or dimension < 1:
        raise DataError(
            f"{place}: dimension = {dimension!r} is not acceptable; accepted: a whole number >= 1."
        )
    for name, arguments in (("value", ("x",)), ("gradient", ("x", "out"))):
        method = getattr(cost, name)
        wanted = f"{name}({', '.join(arguments)})"
        if not callable(method):
            raise DataError(f"{place}: {name} is not a function; accepted: {wanted}.")
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError:
            raise DataError(
                f"{place}: {name}{inspect.signature(method)} cannot be called as {wanted}."
            ) from None
        except ValueError:
            continue


def check_behaviour(cost: Any, guarded: "Guarded", place: str) -> None:
    """Call value and gradient once at the start point and check what they did."""
    d = guarded.dimension
    x = np.zeros(d)
    start = getattr(cost, "start", None)
    if start is not None:
        if np.shape(start) != (d,):
            raise DataError(f"{place}: start has shape {np.shape(start)}; accepted: ({d},).")
        x[:] = start
    before = x.copy()
    guarded.value(x)
    out = np.full(d, np.nan)
    returned = guarded.call(cost.gradient, x, out)
    missing = np.isnan(out)
    if missing.any():
        if returned is not None and np.shape(returned) == (d,):
            raise DataError(
                f"{place}: gradient(x, out) returned an array; it must write into out instead "
                "(out[:] = ...)."
            )
        raise DataError(
            f"{place}: gradient(x, out) at the start point left out[{int(missing.argmax())}] "
            "unwritten or made it nan; it must write all entries of out (out[:] = ...)."
        )
    if not np.array_equal(x, before):
        raise DataError(f"{place}: value or gradient changed x; they must not.")


class Guarded:
    """A user's cost whose exceptions become sentences; everything else is passed through."""

    def __init__(self, cost: Any, path: Path) -> None:
        self._cost = cost
        self._path = path
        self.dimension = int(cost.dimension)

    def value(self, x: F64) -> float:
        """Return the user's value, as a float."""
        value = self.call(self._cost.value, x)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"{self._path}: value(x) returned {type(value).__name__}, not a number."
            ) from None

    def gradient(self, x: F64, out: F64) -> None:
        """Let the user's gradient write `out`."""
        self.call(self._cost.gradient, x, out)

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code; its exceptions name file, line and method."""
        try:
            return method(*arguments)
        except Exception as error:
            blame(error, self._path, getattr(method, "__name__", "a call"))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cost, name)
        return partial(self.call, found) if name == "batch_gradient" else found
