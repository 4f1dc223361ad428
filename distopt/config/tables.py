"""A configuration as tables: read from TOML, changed by ``section.key=value``, not yet validated."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from math import inf, isnan
from pathlib import Path
from typing import Any

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.core.errors import ConfigError, Mistakes
from distopt.core.files import not_utf8, reason
from distopt.core.parameters import field_names, nearest
from distopt.core.registry import Registry
from distopt.problems.costs import REGISTRY as COSTS
from distopt.problems.topologies import REGISTRY as TOPOLOGIES

REGISTRIES = {r.section: r for r in (ALGORITHMS, COMPRESSORS, COSTS, TOPOLOGIES)}


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; errors are sentences that name it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.") from None
    except OSError as error:
        why = reason(error)
    except UnicodeDecodeError as error:
        why = not_utf8(error)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    raise ConfigError(f"{path} cannot be read as a configuration: {why}.")


def require_sections(tables: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `ConfigError` for the sections that are not among the known ones."""
    mistakes = Mistakes("The configuration")
    for section in tables:
        with mistakes.noted():
            if section not in known:
                hint = nearest(section, known) or "."
                raise ConfigError(
                    f"[{section}] is not a section{hint} Accepted: {', '.join(known)}."
                )
    mistakes.tell()


def require_table(section: str, table: object) -> None:
    """Raise `ConfigError` for a section that is not a table."""
    if not isinstance(table, dict):
        raise ConfigError(f"{section} must be a table of keys, not {table!r}.")


def require_plain(key: str, value: object) -> None:
    """Raise `ConfigError` for a value that job files and identities cannot hold, as JSON has none."""
    if isinstance(value, dict | list | tuple):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in named:
            require_plain(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, date | time) or (
        isinstance(value, float) and (isnan(value) or value == -inf)
    ):
        shown = value if isinstance(value, float) else value.isoformat()
        raise ConfigError(
            f"{key} = {shown} is not acceptable; accepted: numbers but nan and -inf, true or false, "
            "strings in quotes, lists and tables of them."
        )


def apply_settings(tables: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return a copy of the tables with ``section.key[.key]=value`` settings applied in order.

    A setting that names another class (``algorithm.name=cgt2``) drops the keys that only the former
    class knows, but never a key that an earlier setting gave.
    """
    result = {s: (dict(t) if isinstance(t, dict) else t) for s, t in tables.items()}
    given: set[tuple[str, ...]] = set()
    mistakes = Mistakes("The configuration")
    for setting in settings:
        with mistakes.noted():
            apply(setting, result, given)
    mistakes.tell()
    return result


def apply(setting: str, result: dict[str, Any], given: set[tuple[str, ...]]) -> None:
    """Apply one setting to the tables, and note its path among the `given` ones."""
    key, equals, text = setting.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or len(path) < 2 or not all(path):
        raise ConfigError(
            f'--set "{setting}" is not understood; accepted: section.key=value, '
            "such as algorithm.eta=0.1."
        )
    table: dict[str, Any] = result
    for part in path[:-1]:
        inner = table.get(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: {part} is not a table.")
        table[part] = inner = dict(inner)
        table = inner
    value = parse_value(text)
    for name in outdated(path, table, value):
        if (*path[:-1], name) not in given:
            del table[name]
    table[path[-1]] = value
    given.add(path)


def outdated(path: tuple[str, ...], table: Mapping[str, Any], value: Any) -> list[str]:
    """List the keys of a table that lose their meaning when the key `path` gets a value."""
    registry = REGISTRIES.get(path[0])
    nested = path[0] == "compressor" and path[-1] == "name"  # compressor.values.name
    if path == ("topology", "file"):
        shape = table.get("graph", "ring")
        return [key for key in table if key == "graph" or key in known_keys(TOPOLOGIES, shape)]
    if registry is None or not (path[1:] == (registry.key,) or nested):
        return []
    name = table.get(path[-1], None if nested else registry.default)
    old, new = known_keys(registry, name), known_keys(registry, value)
    if registry.takes_file(table.get(path[-1])):  # its keys are not known before its file is read
        old = {key for key in table if key != path[-1]}
    if registry is TOPOLOGIES:
        old = {*old, "file"}
    return [key for key in table if key in old and key not in new]


def known_keys(registry: Registry, name: Any) -> set[str]:
    """Return the parameters of a registered class; none for a name that is not known."""
    return set(field_names(registry.get(name))) if name in registry.names() else set()


def parse_value(text: str) -> Any:
    """Read one value as TOML, or as a bare text if it is not TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
