"""Frozen parameter classes: the one source of names, types, ranges, defaults and help texts.

A compressor, cost or algorithm is a class decorated with `parameters`; its annotated fields are the
keys of its configuration section. TOML, ``--set`` and Python constructors all pass through here, so
a wrong value gives the same sentence everywhere.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, dataclass_transform

import numpy as np
import pydantic
import pydantic.dataclasses
from pydantic import Field

from distopt.core.errors import ConfigError, DistoptError, together

__all__ = ["Field", "accepted", "defaults", "explained", "nearest", "parameters"]

T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def parameters(section: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, validated dataclass whose errors name ``section.field``.

    Parameters
    ----------
    section : str
        The configuration section that such an object is described in, such as ``"compressor"``.

    Raises
    ------
    ConfigError
        By the constructor of the decorated class: unknown, missing or unacceptable arguments.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = pydantic.dataclasses.dataclass(
            frozen=True,
            config=pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, strict=True),
        )(cls)
        validate: Callable[..., None] = made.__init__

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                validate(self, *map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
            except pydantic.ValidationError as error:
                raise explained(error, section, field_names(made)) from None

        __init__.__wrapped__ = validate  # type: ignore[attr-defined]
        made.__init__ = __init__  # type: ignore[assignment,method-assign]
        made.__section__ = section  # type: ignore[attr-defined]
        return made  # type: ignore[return-value]

    return decorate


def plain(value: Any) -> Any:
    """Take numpy's scalars as Python's and a list as the tuple that a frozen class holds."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(plain, value)) if isinstance(value, list) else value


def field_names(cls: type) -> list[str]:
    """List the parameters of a decorated class (or pydantic model), in order of declaration."""
    if issubclass(cls, pydantic.BaseModel):
        return list(cls.model_fields)
    return [field.name for field in fields(cls)]  # type: ignore[arg-type]


def defaults(cls: type) -> dict[str, Any]:
    """Map each parameter of a decorated class to its default; `MISSING` marks a required one."""
    found: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        default: Any = field.default
        factory: Any = field.default_factory
        if factory is not MISSING:
            default = factory()
        if isinstance(default, pydantic.fields.FieldInfo):
            required = default.is_required()
            default = MISSING if required else default.get_default(call_default_factory=True)
        found[field.name] = default
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """Say ``; did you mean "x"?`` where a known name resembles the given one, else nothing."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{match[0]}"?' if match else ""


def require_known(
    section: str, table: Iterable[str], known: Sequence[str], where: str = ""
) -> None:
    """Raise `ConfigError` for the keys of a section's table that are not among the known ones.

    `where` says, for the sentence, with what they are accepted.
    """
    if unknown := [key for key in table if key not in known]:
        raise together(f"[{section}]", [not_known(section, key, known, where) for key in unknown])


def not_known(section: str, key: str, known: Sequence[str], where: str = "") -> ConfigError:
    """Make the error of a key that is not one of the known ones."""
    accepted = ", ".join(known) or "none"
    full = f"{section}.{key}" if section else key
    hint = nearest(key, known)
    if not hint and "options" in known:
        hint = f"; is it an argument of your own function? Then it is {section}.options.{key}."
    return ConfigError(f"{full} is not known{hint or '.'} Accepted{where}: {accepted}.")


def make(
    cls: type[T], section: str, table: dict[str, Any], known: Sequence[str], where: str = ""
) -> T:
    """Make an object of a decorated class from a section's table.

    Raises
    ------
    ConfigError
        For all keys that are unknown, missing or unacceptable. `known` and `where` are as in
        `require_known`; of the known keys the class takes those that are its own.
    """
    arguments = {key: plain(value) for key, value in table.items()}
    made = cls.__new__(cls, **arguments)  # which may choose another form
    try:
        type(made).__init__.__wrapped__(made, **arguments)  # type: ignore[attr-defined]
    except pydantic.ValidationError as error:
        raise explained(error, section, known, where) from None
    return made


def validated(
    model: type[M],
    section: str,
    table: Any,
    known: Sequence[str] = (),
    where: str = "",
    *,
    strict: bool | None = None,
) -> M:
    """Make a model of a section's table; `strict`: without converting values to other types.

    `known` (by default the model's own) and `where` are for the sentences, as in `require_known`.
    """
    try:
        return model.model_validate(table, strict=strict)
    except pydantic.ValidationError as error:
        raise explained(error, section, known or list(model.model_fields), where) from None


UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}
MISSING_KEY = {"missing", "missing_argument"}


def explained(
    error: pydantic.ValidationError, section: str, known: Sequence[str], where: str = ""
) -> DistoptError:
    """Turn pydantic's complaints into an error with a sentence for each ``section.key``.

    What is missing is not told where an unknown key may be what is meant.
    """
    by_key: dict[Any, list[Any]] = {}
    for complaint in error.errors():
        by_key.setdefault(complaint["loc"][:1], []).append(complaint)
    unknown = [str(loc[0]) for loc, (first, *_) in by_key.items() if first["type"] in UNKNOWN]
    meant = {name for key in unknown for name in difflib.get_close_matches(key, known, n=1)}
    sentences = [
        sentence(complaints, section, known, where)
        for loc, complaints in by_key.items()
        if not (complaints[0]["type"] in MISSING_KEY and loc[0] in meant)
    ]
    whose = f"[{section}]" if section else "The table"
    return together(whose, [ConfigError(text) for text in sentences])


def sentence(complaints: list[Any], section: str, known: Sequence[str], where: str) -> str:
    """Turn what pydantic complains of at one key into a sentence."""
    first = complaints[0]
    path = [  # a positional argument is located by its number
        known[part] if isinstance(part, int) and part < len(known) else str(part)
        for part in first["loc"][:1]
    ]
    kind, given, context = first["type"], first.get("input"), first.get("ctx", {})
    key = ".".join(filter(None, [section, *path]))
    if kind in UNKNOWN:
        return str(not_known(section, path[0], sorted(known), where))
    if kind in MISSING_KEY:
        return f"{key} is missing; it has no default."
    if kind == "value_error":
        return f"{key} = {show(given)}: {context.get('error', first['msg'])}"
    wants = dict.fromkeys(accepted(e["type"], e["msg"], e.get("ctx", {})) for e in complaints)
    return f"{key} = {show(given)} is not acceptable; accepted: {' or '.join(wants)}."


def show(value: Any) -> str:
    """Write a value as it would stand in a configuration file."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def accepted(kind: str, message: str, context: dict[str, Any]) -> str:
    """Describe what one pydantic complaint would have accepted."""
    bounds = [f"{sign} {context[name]}" for name, sign in BOUNDS.items() if name in context]
    if bounds:
        return "a number " + " and ".join(bounds)
    if kind == "literal_error":
        return str(context["expected"])
    for stem, words in _TYPES.items():
        if kind.startswith(stem):
            return words
    return message


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a string in quotes",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
}
