"""What a configuration can name, read from the classes themselves."""

import inspect
import sys
import types
from collections import Counter
from collections.abc import Iterable
from dataclasses import MISSING, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic.fields import FieldInfo

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.algorithms.base import Algorithm
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor, Guarantee
from distopt.core.errors import ConfigError
from distopt.core.parameters import BOUNDS, defaults, field_names, show
from distopt.core.registry import OWN, Registry
from distopt.problems.costs import REGISTRY as COSTS
from distopt.problems.topologies import REGISTRY as TOPOLOGIES

REGISTRIES = {r.kind: r for r in (COMPRESSORS, ALGORITHMS, COSTS, TOPOLOGIES)}
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "table"}


def contents(kinds: list[str], dimension: int) -> dict[str, dict[str, Any]]:
    """Describe some registries: how a configuration names their members, and each of these."""
    return {
        kind: {
            "named by": f"[{registry.section}] {registry.key} = ...",
            "own": OWN if registry.takes_file(OWN) else None,
            "members": describe(registry, dimension),
        }
        for kind, registry in ((kind, REGISTRIES[kind]) for kind in kinds)
    }


def describe(registry: Registry, dimension: int) -> list[dict[str, Any]]:
    """Describe all members of a registry."""
    places = Counter(place.partition(":")[0] for place in registry.members().values())
    found = []
    for name in registry:
        cls = registry.get(name)
        alone = places[cls.__module__] == 1
        member = {
            "name": name,
            "default": name == registry.default,
            "summary": summary(sys.modules[cls.__module__] if alone else cls),
            "parameters": parameters(cls),
        }
        if issubclass(cls, Compressor):
            member["properties"] = guarantees(cls, dimension)
        if issubclass(cls, Algorithm):
            member["properties"] = [messages(cls)]
        found.append(member)
    return found


def summary(documented: Any) -> str:
    """Return the first sentence of a docstring."""
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split())


def parameters(cls: type) -> list[dict[str, str]]:
    """List the parameters of a class: name, default and what is accepted."""
    values = defaults(cls)
    fields: dict[str, FieldInfo] = getattr(cls, "__pydantic_fields__", {})
    found = []
    for name, value in values.items():
        told = fields[name]
        default = "required" if value is MISSING else "" if value is None else f"= {text(value)}"
        words = " or ".join(dict.fromkeys(accepted(told.annotation, told.metadata)))
        found.append({"name": name, "default": default, "accepted": words})
    return found


def text(value: Any) -> str:
    """Write a default; a nested compressor by its name."""
    if isinstance(value, Compressor):
        return COMPRESSORS.name_of(type(value))
    if is_dataclass(value):
        pairs = [f"{k} = {show(v)}" for k, v in vars(value).items() if v not in (None, 0.0)]
        return f"{{ {', '.join(pairs)} }}"
    return "{}" if value == {} else show(value)


def accepted(annotation: Any, metadata: Iterable[Any] = ()) -> list[str]:
    """Describe in words what an annotation accepts, one entry per alternative."""
    if isinstance(annotation, FieldInfo):
        return accepted(annotation.annotation, annotation.metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [
            m for a in arguments[1:] for m in (a.metadata if isinstance(a, FieldInfo) else [a])
        ]
        return accepted(arguments[0], [*inner, *metadata])
    if origin in (Union, types.UnionType):
        return [w for a in arguments if a is not type(None) for w in accepted(a, metadata)]
    if origin is Literal:
        return [show(a) for a in arguments]
    if annotation is Compressor:
        return ["a compressor"]
    if is_dataclass(annotation):
        return [f"table with {', '.join(field_names(annotation))}"]  # type: ignore[arg-type]
    if origin is tuple:
        return ["list"]
    bounds = [
        f"{sign} {getattr(m, name):g}"
        for m in metadata
        for name, sign in BOUNDS.items()
        if hasattr(m, name)
    ]
    word = WORDS.get(origin or annotation, "value")
    return [f"{word} {' and '.join(bounds)}".strip()]


def guarantees(cls: type[Compressor], d: int) -> list[str]:
    """Say to which classes a compressor with default parameters belongs at dimension d."""
    note = ""
    try:
        compressor = cls()
    except ConfigError:  # needs k or fraction
        compressor, note = cls(fraction=0.1), ", fraction = 0.1"  # type: ignore[call-arg]
    size = 8 * compressor.max_nbytes(d) / d
    told = [constants(g) for g in compressor.guarantees(d)]
    return [*told, f"at most {size:.4g} bits a coordinate (d = {d}{note})"]


def messages(cls: type[Algorithm]) -> str:
    """Say what an algorithm sends and which compressors it takes."""
    takes = f"{cls.needs.name} compressors" if cls.needs else "no compressor"
    vectors = "1 vector" if cls.vectors == 1 else f"{cls.vectors} vectors"
    return f"{takes}; {vectors} an iteration" + (f"; {cls.lyapunov}" if cls.lyapunov else "")


def constants(guarantee: Guarantee) -> str:
    """Write a class and its constants."""
    numbers = [
        f"{name} = {'inf' if value == np.inf else format(value, '.4g')}"
        for name, value in vars(guarantee).items()
    ]
    return f"{guarantee.name}: {', '.join(numbers)}" if numbers else guarantee.name
