"""Every failure that a user can cause, one class per audience.

A message is a full sentence: which key or agent, what value, what is accepted, what to do.
Anything else that escapes is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class DistoptError(Exception):
    """Base of all errors that distopt raises on purpose; printed as a sentence, exit code 1."""

    several: "Sequence[DistoptError]" = ()  # those that it tells, a line each, if more than one


class ConfigError(DistoptError):
    """A key, name or value in a configuration (or a constructor argument) is not acceptable."""


class DataError(DistoptError):
    """A data set, edge list or cost file is missing, malformed or inconsistent."""


class MessageError(DistoptError):
    """A payload does not decode. The compressor says what is wrong, the agent adds from whom."""


class AuditError(DistoptError):
    """The two ends of an edge hold different numbers where they must hold the same."""


class CheckpointError(DistoptError):
    """A checkpoint or run directory is missing, damaged or belongs to another configuration."""


class DivergedError(DistoptError):
    """An agent's vector, cost or gradient stopped being finite."""


class TransportError(DistoptError):
    """A neighbour stayed silent for longer than the timeout, or MPI cannot be used."""


class DistoptWarning(UserWarning):
    """What the caller of `distopt.simulate` or `minimize` should know of a run that went its way."""


class Mistakes:
    """Mistakes of one input that do not hang on each other, told together.

    >>> mistakes = Mistakes("The configuration")
    >>> for key in ("a", "b"):
    ...     with mistakes.noted():
    ...         raise ConfigError(f"{key} is not known.")
    >>> mistakes.tell()
    Traceback (most recent call last):
    distopt.core.errors.ConfigError: The configuration has 2 mistakes:
      a is not known.
      b is not known.
    """

    def __init__(self, whose: str) -> None:
        self.whose = whose
        self.errors: list[DistoptError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the mistake that ends the block, and go on after it."""
        try:
            yield
        except DistoptError as error:
            self.errors.append(error)

    def tell(self) -> None:
        """Raise what was noted: a single mistake as it was, several as one error."""
        if self.errors:
            raise together(self.whose, self.errors)


def together(whose: str, errors: Sequence[DistoptError]) -> DistoptError:
    """Make one error of several, a line each; a single one stays what it is."""
    errors = [single for error in errors for single in error.several or [error]]
    if len(sentences := list(dict.fromkeys(map(str, errors)))) == 1:
        return errors[0]
    error = ConfigError("\n  ".join([f"{whose} has {len(sentences)} mistakes:", *sentences]))
    error.several = errors
    return error


def optional(module: str, what: str, extra: str = "tables") -> Any:
    """Import a package that is not always there; `DistoptError` says how to get it."""
    try:
        return import_module(module)
    except ImportError:
        raise DistoptError(
            f'{what} needs {module}; `pip install "distopt-mpi[{extra}]"` installs it.'
        ) from None


def name_of(error: DistoptError) -> str:
    """Return the name of the nearest class of this module that an error belongs to."""
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == __name__)


def named(name: str, sentence: str) -> DistoptError:
    """Make an error that another process has named; an unknown name stands for the base class."""
    found = globals().get(name)
    known = isinstance(found, type) and issubclass(found, DistoptError)
    return found(sentence) if known else DistoptError(sentence)  # type: ignore[misc]
