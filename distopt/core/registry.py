"""Names of algorithms, compressors, costs and topologies, imported only when they are used.

A package lists its members in one table, ``REGISTRY = Registry(kind, {...})``, whose values are
``"module:Name"``. Other distributions add theirs through the entry-point group
``distopt.<kind>`` (``distopt.compressors``, ...); they cannot replace a name of ours. The name
``"python"`` stands for a class of the user's own file (docs: python, own parts).
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any

from distopt.core.errors import ConfigError
from distopt.core.parameters import nearest, show
from distopt.core.usercode import file_of, own_class

OWN = "python"  # the name of a class in a file of the user


class Registry:
    """A table of names and the places where they are defined.

    Parameters
    ----------
    kind : str
        Plural noun, as in the command ``distopt list KIND``.
    section : str
        The configuration section whose ``name`` is looked up here; used in error messages.
    members : dict[str, str]
        ``{"top_k": "distopt.compressors.top_k:TopK", ...}``.
    key : str
        The key of that section which holds the name.
    default : str, optional
        The name where the section has none.
    """

    def __init__(
        self,
        kind: str,
        section: str,
        members: dict[str, str],
        key: str = "name",
        default: str | None = None,
    ) -> None:
        self.kind = kind
        self.default = default
        self.section = section
        self.key = key
        self._members = members

    def members(self) -> dict[str, str]:
        """Map every name to its ``module:Name``, plugins included."""
        return {p.name: p.value for p in plugins(self.kind)} | self._members

    def names(self) -> list[str]:
        """List the known names, sorted."""
        return sorted(self.members())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the known names."""
        return iter(self.names())

    def get(self, name: str) -> Any:
        """Import and return what a name stands for.

        Raises
        ------
        ConfigError
            If the name is not known; the message suggests the nearest one.
        """
        value = self._members.get(name) or self.members().get(name)
        if value is None:
            hint = nearest(name, self) or "."
            known = ", ".join(self)
            raise ConfigError(
                f'{self.section}.{self.key} = "{name}" is not known{hint} Known: {known}.'
            )
        module, _, attribute = value.partition(":")
        return getattr(import_module(module), attribute)

    def select(self, table: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the class that a section's table names, and the keys that are its arguments.

        With the name ``"python"`` it is one of the file `file`, an absolute path; `class` says which.
        """
        arguments = dict(table)
        name = arguments.pop(self.key, self.default)
        if not isinstance(name, str):
            given = "is missing" if name is None else f"= {show(name)} is not a string in quotes"
            known = ", ".join(self)
            raise ConfigError(f"{self.section}.{self.key} {given}. Known: {known}.")
        if self.takes_file(name):
            file, cls = arguments.pop("file", None), arguments.pop("class", None)
            return own_class(self.section, file, cls), arguments
        return self.get(name), arguments

    def takes_file(self, name: object) -> bool:
        """Whether a name stands for a class of the user's file."""
        return name == OWN and OWN not in self._members

    def name_of(self, cls: type) -> str:
        """Return the name under which a class is registered (its class name where it is not).

        A class may be a form of a registered one, which makes it; it then has that one's name as `form_of`.
        """
        if "form_of" in vars(cls):
            return str(vars(cls)["form_of"])
        place = f"{cls.__module__}:{cls.__qualname__}"
        ours = [name for name, value in self._members.items() if value == place]
        return (ours or [p.name for p in plugins(self.kind) if p.value == place] or [cls.__name__])[
            0
        ]

    def describe(self, member: object) -> dict[str, Any]:
        """Return the table of the configuration that would make a member again."""
        cls = type(member)
        file = file_of(cls)
        named = {self.key: OWN, "file": file, "class": cls.__name__} if file else {}
        return {self.key: self.name_of(cls)} | named | as_table(member, self)


@cache
def plugins(kind: str) -> EntryPoints:
    """Return what other distributions have registered; looked for once, as it takes 15 ms."""
    return entry_points(group=f"distopt.{kind}")


def as_table(item: object, registry: Registry | None = None) -> dict[str, Any]:
    """Return the fields of a parameter object that are not None, as TOML values.

    Parameter objects within it become tables, those of the registry's section with their names.
    """
    table: dict[str, Any] = {}
    for field in fields(item) if is_dataclass(item) else ():
        value = getattr(item, field.name)
        if value is None:
            continue
        if registry and getattr(value, "__section__", None) == registry.section:
            value = registry.describe(value)
        elif is_dataclass(value):
            value = as_table(value, registry)
        elif isinstance(value, Path):
            value = str(value)
        table[field.name] = list(value) if isinstance(value, tuple) else value
    return table
