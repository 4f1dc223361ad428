"""`distopt threshold`: networks against width and number of samples, as a farm of independent jobs.

The file has ``[threshold]``, one ``[[network]]`` table for each network, and ``[problem]`` with the keys
that all of them share. For each network, width and seed the number of samples climbs the grid until a
trial fails. The HDF5 file keeps every finished job, so the same command continues where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from distopt.config.tables import apply_settings, read_toml, require_sections
from distopt.core.errors import ConfigError, Mistakes
from distopt.core.parameters import field_names, nearest, show, validated
from distopt.problems.costs import REGISTRY
from distopt.problems.costs.networks.family import Network

SECTIONS = ("threshold", "problem", "network")
# Keys of a network, and which key of [threshold] sets each.
SET_BY_SWEEP = {"m": "widths", "n": "measurements", "samples": "samples", "seed": "seeds"}
Grid = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class ThresholdConfig(BaseModel):
    """The section [threshold]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(description="of the figure")] = ""
    widths: Annotated[Grid, Field(description="m of the networks that are trained")] = (20, 50)
    measured: Annotated[
        Grid | None, Field(description="m of those measured at the start; `widths` by default")
    ] = None
    samples: Annotated[Grid, Field(description="T, the grid that is climbed")] = (5, 10, 20, 40, 80)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**64)], ...], Field(min_length=1)] = (
        0,
        1,
    )
    measurements: Annotated[float, Field(gt=0, le=1, description="n / m, rounded")] = 0.2
    target: Annotated[float, Field(gt=0, lt=1, description="NMSE that a pass is below")] = 1e-3
    epochs: Annotated[int, Field(ge=1, description="steps of gradient descent at most")] = 20_000
    first: Annotated[float, Field(gt=0, description="first step size, in units of 1 / beta0")] = 0.5
    halvings: Annotated[int, Field(ge=0, description="how often it is halved at most")] = 14


@dataclass(frozen=True)
class Sweep:
    """A validated file."""

    section: ThresholdConfig
    networks: dict[str, Network]  # by label; m, n and samples are set by the sweep
    text: str  # all that decides the numbers, as TOML; a file of results belongs to it

    def family(self, label: str, m: int) -> Network:
        """Return the network of this width."""
        n = max(1, round(self.section.measurements * m))
        return replace(self.networks[label], m=m, n=n)

    def tables(self) -> dict[str, Any]:
        """Write the sweep with every default, as the tables that `make_sweep` takes."""
        networks = [
            {"label": label, "name": REGISTRY.name_of(type(family))}
            | {key: value for key, value in vars(family).items() if key not in SET_BY_SWEEP}
            for label, family in self.networks.items()
        ]
        return {"threshold": self.section.model_dump(exclude_none=True), "network": networks}

    @property
    def measured(self) -> tuple[int, ...]:
        """Widths at which the start is measured."""
        return self.section.measured or self.section.widths


def load_sweep(path: Path, settings: Sequence[str] = ()) -> Sweep:
    """Read the file of a sweep.

    Raises
    ------
    ConfigError
        With the key's full name, what was given and what is accepted.
    """
    tables = read_toml(path)
    networks = tables.pop("network", [])
    if not networks:
        raise ConfigError(f"{path} has no [[network]]; one table is needed for each network.")
    return make_sweep(apply_settings(tables, settings) | {"network": networks})


def make_sweep(tables: dict[str, Any]) -> Sweep:
    """Validate the tables of a sweep."""
    mistakes = Mistakes("The configuration")
    with mistakes.noted():
        require_sections(tables, SECTIONS)
    with mistakes.noted():
        chosen = validated(ThresholdConfig, "threshold", tables.get("threshold", {}))
    with mistakes.noted():
        known = make_networks(tables["network"], tables.get("problem", {}))
    mistakes.tell()
    ordered = chosen.model_copy(update={"samples": tuple(sorted(set(chosen.samples)))})
    sweep = Sweep(ordered, known, "")
    for label in known:  # widths that its data does not have are refused before the first trial
        for m in (*sweep.section.widths, *sweep.measured):
            sweep.family(label, m).dimension_for(1, 0)
    decisive = ordered.model_dump(exclude={"title", "widths", "measured", "samples", "seeds"})
    described = {label: vars(family) for label, family in known.items()}
    text = tomli_w.dumps({"threshold": decisive, "networks": described})
    return replace(sweep, text=text)


def make_networks(tables: Any, shared: dict[str, Any]) -> dict[str, Network]:
    """Make the families of all [[network]] tables, by label; `shared` are the keys of [problem]."""
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError("network must be written as [[network]] tables.")
    known: dict[str, Network] = {}
    mistakes = Mistakes("The configuration")
    for number, given in enumerate(tables, 1):
        table = dict(given)
        label = table.pop("label", table.get("name"))
        with mistakes.noted():
            if not isinstance(label, str) or not label.strip():
                raise ConfigError(f"Network {number} has neither a label nor a name in quotes.")
            if label in known:
                raise ConfigError(f'Two networks have the label "{label}"; give each its own.')
            known[label] = make_network(label, {**shared, **table})
    mistakes.tell()
    return known


def make_network(label: str, table: dict[str, Any]) -> Network:
    """Make the family of one [[network]] table."""
    name = table.pop("name", None)
    names = [key for key in REGISTRY if issubclass(REGISTRY.get(key), Network)]
    if name not in names:
        hint = nearest(name, names) if isinstance(name, str) else ""
        raise ConfigError(
            f"Network {label}: name = {show(name)} is not a network{hint or '.'} Known: {', '.join(names)}."
        )
    cls = REGISTRY.get(name)
    mistakes = Mistakes(f"Network {label}")
    for key in table:
        with mistakes.noted():
            require_key(label, key, cls)
    mistakes.tell()
    made: Network = cls(**table)
    return made


def require_key(label: str, key: str, cls: type[Network]) -> None:
    """Raise `ConfigError` for a key that a [[network]] table does not take."""
    if key == "agents":
        raise ConfigError(
            f"Network {label}: agents has no meaning here, one process trains one network."
        )
    if key in SET_BY_SWEEP:
        instead = f"threshold.{SET_BY_SWEEP[key]}"
        raise ConfigError(f"Network {label}: {key} is set by the sweep; see {instead}.")
    if key not in field_names(cls):
        hint = nearest(key, field_names(cls)) or "."
        accepted = ", ".join(k for k in field_names(cls) if k not in SET_BY_SWEEP)
        raise ConfigError(f"Network {label}: {key} is not known{hint} Accepted: {accepted}.")
