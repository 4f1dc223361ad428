"""The user's own Python files: run them, find a part in them, and say where their code goes wrong."""

import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn
from zlib import crc32

from distopt.core.errors import ConfigError, DataError, DistoptError
from distopt.core.parameters import nearest
from distopt.core.rank import this_rank

PREFIX = "distopt_user_"  # begins the names of their modules
LONGEST = 1e8  # seconds of a timer; run.setup_timeout may be infinite
AGAIN_SECONDS = 1.0  # between two looks whether the user's code is at work, once its time is up
READ_ONLY = (
    "assignment destination is read-only",
    "output array is read-only",
    "readonly array",  # as numba says it of a kernel that was compiled for arrays that can be written
)


def load(path: Path, key: str) -> ModuleType:
    """Run a Python file, once per process and version; `key` names it in sentences."""
    if not path.is_file():
        raise ConfigError(f'{key} = "{path}" is not a file.')
    if path.suffix != ".py":
        raise ConfigError(f'{key} = "{path}" is not a Python file; accepted: a name in .py.')
    return _run(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _run(path: Path, changed: int) -> ModuleType:
    name = f"{PREFIX}{path.stem}_{crc32(str(path).encode()):08x}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses and pickles look their module up by name; siblings are imported from its folder.
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        blame(error, path, "the import")
    return module


def own_class(section: str, file: object, name: object) -> type:
    """Return the class that a user's file has for a section of the configuration.

    Parameters
    ----------
    section : str
        Such as ``"compressor"``; the class is decorated with ``parameters(section)``.
    file, name : object
        The section's keys `file` and `class`; without the second the file must have one such class.
    """
    for key, value, example in (("file", file, "mine.py"), ("class", name, "Mine")):
        if not isinstance(value, str) and not (key == "class" and value is None):
            given = "is missing" if value is None else f"= {value!r} is not a string in quotes"
            raise ConfigError(f'{section}.{key} {given}; accepted: such as "{example}".')
    path = Path(str(file)).absolute()
    module = load(path, f"{section}.file")
    made = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    fit = {k: v for k, v in made.items() if getattr(v, "__section__", None) == section}
    if name is not None and name not in fit:
        why = (
            f'is not decorated with @parameters("{section}")'
            if name in made
            else f"is not a class of {file}{nearest(str(name), fit)}"
        )
        raise ConfigError(f'{section}.class = "{name}" {why.rstrip("?.")}.')
    if name is None:
        whole = {key: value for key, value in fit.items() if not inspect.isabstract(value)}
        if len(fit) != 1 and len(whole) != 1:
            found = f"several classes ({', '.join(fit)})" if fit else "no class"
            advice = (
                f"{section}.class says which"
                if fit
                else f'decorate one with @parameters("{section}"), of distopt.core.parameters'
            )
            raise ConfigError(f"{file} has {found} for [{section}]; {advice}.")
        name = next(iter(whole or fit))
    cls = fit[str(name)]
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise DataError(f"{file}: the class {name} has no {' and no '.join(missing)}.")
    return cls


def file_of(cls: type) -> str | None:
    """Return the user's file that defines a class, if one does."""
    module = sys.modules.get(cls.__module__)
    own = module is not None and cls.__module__.startswith(PREFIX)
    return str(module.__file__) if own else None  # type: ignore[union-attr]


@contextmanager
def blaming() -> Iterator[None]:
    """Turn what a user's part lets escape from the block into a sentence with file and line.

    So does the exception of a thread that it started, which nobody else would notice, once the block is
    over; and a lack of memory.
    """
    try:
        with noticing_threads():
            yield
    except DistoptError:
        raise
    except MemoryError as error:
        raise DistoptError(
            f"The memory of this machine does not suffice: {error or 'an array cannot be allocated'}. A "
            "smaller dimension or fewer agents need less."
        ) from error
    except BaseException as error:
        if (last := own_frame(error)) is None:
            raise
        blame(error, Path(last.filename), last.name)


class Overtime(BaseException):
    """Ends code of the user's that goes on for too long, past its own ``except Exception``."""


@contextmanager
def within(seconds: float, agent: int) -> Iterator[None]:
    """End code of the user's that takes longer in the block, where it sets up an agent.

    Only in the main thread of a process that is no rank: those watch each other. A call into C that never
    returns cannot be ended so.

    Raises
    ------
    DataError
        A sentence with agent, file and line.
    """
    free = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    main = threading.current_thread() is threading.main_thread()
    if this_rank() is not None or not main or not free:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        files = own_files()
        while frame is not None and frame.f_code.co_filename not in files:
            frame = frame.f_back
        if frame is not None:  # else our own code is at work, and compiling, say, may take long
            raise Overtime(
                f"Agent {agent} hangs: %s has not ended within {seconds:g} s; run.setup_timeout sets how "
                "long to wait."
            )

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST), AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def own_files() -> set[str | None]:
    """Return the user's files that run in this process."""
    return {m.__file__ for n, m in list(sys.modules.items()) if n.startswith(PREFIX)}


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of an error that is code of the user's files."""
    files = own_files()
    frames = traceback.extract_tb(error.__traceback__)
    return next((f for f in reversed(frames) if f.filename in files), None)


@contextmanager
def noticing_threads() -> Iterator[None]:
    """Raise at the end of the block what threads of the user's files have not caught.

    Only in the main thread: the hook belongs to the process, and runs in other threads share it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, failures = threading.excepthook, list[BaseException]()

    def note(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or own_frame(args.exc_value) is None:
            before(args)
        else:
            failures.append(args.exc_value)

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
    if failures and (last := own_frame(failures[0])):
        blame(failures[0], Path(last.filename), f"a thread in {last.name}")


def blame(error: BaseException, path: Path, during: str) -> NoReturn:
    """Turn an exception of the user's code into a sentence with file and line.

    A Ctrl-C of the user passes, as far as it can be told from the code's own ``KeyboardInterrupt``:
    during a run the signal does not raise one.
    """
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(error, DistoptError | GeneratorExit) or (
        asked and isinstance(error, KeyboardInterrupt)
    ):
        raise error
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line: int | None = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
    where = f"{path}, line {line}" if line else str(path)
    if isinstance(error, Overtime):
        raise DataError(str(error) % f"{where}: {during}") from error
    if isinstance(error, SystemExit):
        raise DataError(
            f"{where}: {during} called sys.exit({'' if error.code is None else repr(error.code)}), which "
            "would end one agent and leave the others waiting; raise an exception instead."
        ) from error
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())
    advice = ""
    if any(words in text for words in READ_ONLY):
        advice = " The vector x belongs to the run and cannot be changed; work on a copy of it."
    raise DataError(
        f"{where}: {during} failed with {type(error).__name__}{': ' if text else ''}{text}.{advice}"
    ) from error
