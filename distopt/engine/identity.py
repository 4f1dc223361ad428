"""The identity of a run: what must be the same for a checkpoint to continue it (docs: running)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from distopt.config.build import Parts
from distopt.core.errors import CheckpointError
from distopt.core.files import sha256
from distopt.engine.survey import Start
from distopt.problems.given import GIVEN
from distopt.transport.base import Transport

FREE = {"iterations", "timeout", "keep", "checkpoint_every", "threads", "stop"}  # of [run]
TOLERANCE = 1e-9  # relative; machines may round measured numbers differently


class Identity:
    """What makes a run this run and no other.

    Parameters
    ----------
    parts : Parts
    measured : dict[str, float]
        As from `first_values`.
    force : bool
        Whether differences are noted in `forced` instead of refused.

    Attributes
    ----------
    facts : dict
        By name: the keys of the configuration, ``"graph"`` and ``"dimension"``. A file is a table of its
        path and its SHA-256.
    forced : list of str
        The differences that were ignored, a sentence for each file compared.
    """

    def __init__(
        self,
        parts: Parts,
        measured: Mapping[str, float],
        force: bool = False,
    ) -> None:
        self.facts, self.measured = facts_of(parts), measured
        self.force = force
        self.forced: list[str] = []

    @property
    def hash(self) -> str:
        """SHA-256 of the facts, regardless of where files are."""
        plain = {k: v["sha256"] if isinstance(v, dict) else v for k, v in self.facts.items()}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def table(self) -> dict[str, Any]:
        """Return what checkpoints and records keep."""
        return {"hash": self.hash, "facts": self.facts, "measured": self.measured}

    def require(self, stored: Any, what: str) -> None:
        """Compare with the table of a checkpoint or record, called `what` in the sentence.

        Raises
        ------
        CheckpointError
            If they differ, unless forced.
        """
        try:
            facts = dict(stored["facts"])
            found = differences(facts, self.facts)
            found += changed_costs(dict(stored["measured"]), self.measured)
        except (TypeError, KeyError, ValueError):
            facts, found = {}, ["its identity cannot be read"]
        for key, value in facts.items():
            if self.facts.get(key) == "auto":  # the number that its rule gave at the start
                self.facts[key] = value
        if not found:
            return
        sentence = f"{what} belongs to another configuration: {'; '.join(found)}."
        if not self.force:
            raise CheckpointError(f"{sentence} Start a new run, or continue this one with --force.")
        self.forced.append(sentence)


def first_values(
    parts: Parts, starts: Sequence[Start], smoothness: float | None, transport: Transport
) -> dict[str, float]:
    """Measure costs that are Python objects: their smoothness and values at the start, by name.

    No more of them can be compared. Files and keys describe all other costs, so theirs is empty. All
    processes call this together.
    """
    if parts.problem.table()["name"] not in {GIVEN, "python"}:
        return {}
    values = transport.collect(np.array([[first_value(s)] for s in starts]))
    found = {f"cost {i}": float(value) for i, (value,) in enumerate(values)}
    return found if smoothness is None else found | {"smoothness": smoothness}


def first_value(s: Start) -> float:
    """Return a cost at its start, nan where it fails (the first record then says how)."""
    try:
        return float(s.cost.value(s.x0.copy()))
    except Exception:
        return float("nan")


def facts_of(parts: Parts) -> dict[str, Any]:
    """Return the facts of a configuration (see `Identity`)."""
    tables = parts.resolved()
    tables["run"] = {key: value for key, value in tables["run"].items() if key not in FREE}
    facts = flat(tables)
    facts.pop("topology.file", None)  # only its edges matter
    for key, value in facts.items():
        if key.startswith("problem.") and isinstance(value, str) and is_file(value):
            facts[key] = {"file": value, "sha256": digest(Path(value))}
    edges = json.dumps(parts.problem.topology.edges).encode()
    facts["graph"] = hashlib.sha256(edges).hexdigest()
    facts["dimension"] = int(parts.problem.dimension)
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]  # as it comes from a file


def is_file(value: str) -> bool:
    """Whether a value of the configuration is the absolute path of a file."""
    return value.startswith("/") and Path(value).is_file()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as the file stays as it is."""
    state = path.stat()
    return digest_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def digest_of(path: Path, size: int, changed: int) -> str:
    """Return the SHA-256 of a file in a state."""
    return sha256(path)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the keys of nested tables by dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name the facts that differ, with both values where a reader can tell them apart."""
    found = []
    for key in dict.fromkeys([*new, *old]):
        was, now = old.get(key), new.get(key)
        files = [value for value in (was, now) if isinstance(value, dict) and "sha256" in value]
        if len(files) == 2 and files[0]["sha256"] != files[1]["sha256"]:
            found.append(f"the file {files[1]['file']} ({key}) has changed")
        elif len(files) == 2 or was == now or now == "auto":
            continue
        elif key == "graph":
            found.append("the graph has changed")
        elif not (key.startswith("topology.") and old.get("graph") == new.get("graph")):
            shown = [value["file"] if value in files else value for value in (was, now)]
            found.append(f"{key} ({shown[0]!r} in the run, {shown[1]!r} wanted)")
    return found


def changed_costs(old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    """Name the costs that have other values than before."""
    found = []
    for name in (name for name in new if name in old):
        was, now = old[name], new[name]
        if isclose(was, now, rel_tol=TOLERANCE) or np.isnan([was, now]).all():
            continue
        agent = name.removeprefix("cost ")
        what = f"the cost of agent {agent} has changed" if agent != name else name
        found.append(f"{what} ({was:.6g} in the run, {now:.6g} wanted)")
    return found
