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

from distopt.core.errors import ConfigError

__all__ = ["Field", "accepted", "defaults", "explain", "nearest", "parameters"]

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
                raise ConfigError(explain(error, section, field_names(made))) from None

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
    """Raise `ConfigError` for the first key of a section's table that is not one of the known ones.

    `where` says, for the sentence, with what they are accepted.
    """
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{section}.{key} is not known{nearest(key, known) or '.'} "
                f"Accepted{where}: {', '.join(known)}."
            )


def validated(model: type[M], section: str, table: Any, *, strict: bool | None = None) -> M:
    """Make a model of a section's table; `strict`: without converting values to other types."""
    try:
        return model.model_validate(table, strict=strict)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, section, model.model_fields)) from None


def explain(error: pydantic.ValidationError, section: str, known: Iterable[str]) -> str:
    """Turn the first complaint of pydantic into one sentence about ``section.key``."""
    first = error.errors()[0]
    known = list(known)
    path = [  # a positional argument is located by its number
        known[part] if isinstance(part, int) and part < len(known) else str(part)
        for part in first["loc"][:1]
    ]
    path += [str(part) for part in first["loc"][1:]]
    kind, given, context = first["type"], first.get("input"), first.get("ctx", {})
    key = ".".join(filter(None, [section, path[0] if path else ""]))
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        hint = nearest(path[-1], known)
        listed = ", ".join(sorted(known)) if known else "none"
        return f"{key} is not known{hint or '.'} Accepted: {listed}."
    if kind in {"missing", "missing_argument"}:
        return f"{key} is missing; it has no default."
    complaints = [e for e in error.errors() if e["loc"][:1] == first["loc"][:1]]
    wants = " or ".join(
        dict.fromkeys(accepted(e["type"], e["msg"], e.get("ctx", {})) for e in complaints)
    )
    if kind == "value_error":
        return f"{key} = {show(given)}: {context.get('error', first['msg'])}"
    return f"{key} = {show(given)} is not acceptable; accepted: {wants}."


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
    "bool": "true or false",
    "string": "a string in quotes",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
}
