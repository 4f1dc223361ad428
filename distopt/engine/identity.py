"""The identity of a run: what must be the same for a checkpoint to continue it (docs: running)."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from math import isclose, isnan
from pathlib import Path
from typing import Any

from distopt.config.build import Parts
from distopt.core.errors import CheckpointError
from distopt.core.files import sha256
from distopt.engine.agreement import first_difference

FREE = {  # of [run]
    "iterations", "timeout", "setup_timeout", "keep", "checkpoint_every", "checkpoint_seconds",
    "on_failure", "tries", "threads", "workers", "checked", "overlap",
    "stop",
}  # fmt: skip
# What earlier versions did, which did not say it.
UNSAID = {"run.dtype": "float64"}
TOLERANCE = 1e-9  # relative; machines may round what is measured or follows from "auto" differently
NAMED = 5  # differences in a sentence


class Identity:
    """What makes a run this run and no other.

    Parameters
    ----------
    parts : Parts
    measured : Mapping, optional
        As in `Survey.measured`.
    force : bool
        Whether differences are noted in `forced` instead of refused.

    Attributes
    ----------
    facts : dict
        By name: the keys of the configuration, ``"graph"``, ``"dimension"``, and what was measured. A file
        is a table of its path and its SHA-256.
    forced : list of str
        The differences that were ignored, a sentence for each file compared.
    """

    def __init__(
        self, parts: Parts, measured: Mapping[str, Any] | None = None, force: bool = False
    ) -> None:
        self.measured = dict(measured or {})
        self.facts = facts_of(parts) | self.measured
        self.force = force
        self.forced: list[str] = []

    @property
    def hash(self) -> str:
        """SHA-256 of all facts that were not measured, regardless of where files are."""
        return self.hash_without()

    def hash_without(self, *names: str) -> str:
        """Return the hash of all these facts but some."""
        plain = {k: v["sha256"] if isinstance(v, dict) else v for k, v in self.facts.items()}
        exact = {k: v for k, v in plain.items() if k not in {*self.measured, *names}}
        return hashlib.sha256(json.dumps(exact, sort_keys=True).encode()).hexdigest()

    def table(self) -> dict[str, Any]:
        """Return what checkpoints and records keep."""
        return {"hash": self.hash, "facts": self.facts}

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
        except (TypeError, KeyError, ValueError):
            facts, found = {}, ["its identity cannot be read"]
        for key, value in facts.items():
            if self.facts.get(key) == "auto":  # the number that its rule gave at the start
                self.facts[key] = value
        if not found:
            return
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        sentence = f"{what} belongs to another configuration: {'; '.join(found[:NAMED])}{more}."
        if not self.force:
            raise CheckpointError(f"{sentence} Start a new run, or continue this one with --force.")
        self.forced.append(sentence)


def facts_of(parts: Parts) -> dict[str, Any]:
    """Return the facts of a configuration (see `Identity`)."""
    tables = parts.resolved()
    tables["run"] = {key: value for key, value in tables["run"].items() if key not in FREE}
    facts = flat(tables)
    if not str(facts.get("topology.file")).endswith(".py"):  # of data only edges and weights matter
        facts.pop("topology.file", None)
    facts.pop("topology.schedule", None)  # and which edges are up when
    for key, value in facts.items():
        # Files of data and of the user's own code: their content counts, not their place.
        if str(value).startswith("/") and Path(value).is_file():
            state = Path(value).stat()
            digest = digest_of(Path(value), state.st_size, state.st_mtime_ns)
            facts[key] = {"file": value, "sha256": digest}
    facts["graph"] = hashlib.sha256(parts.problem.whole.described().encode()).hexdigest()
    facts["dimension"] = int(parts.problem.dimension)
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]  # as it comes from a file


@lru_cache(maxsize=64)
def digest_of(path: Path, size: int, changed: int) -> str:
    """Return the SHA-256 of a file, computed once as long as the file stays as it is."""
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
    lost = dropped(old, new)
    changed = {"problem.lost", "smoothness", *(f"cost {i}" for i in lost)} if lost else set()
    was, now = old.get("parameters"), new.get("parameters")
    if was and now and was != now:
        found.append(first_difference(was, now, "the run"))
        changed |= {"parameters", "others", "dimension", "smoothness"}
        changed |= {key for key in new if key.startswith("cost ")}
    for key in dict.fromkeys([*new, *old]):
        if key in changed:
            continue
        was, now = (facts.get(key, UNSAID.get(key)) for facts in (old, new))
        # A rule gives the number at the start, but for the records, which a run plans as it goes.
        ruled = now == "auto" and (was is None or not key.startswith("run."))
        if ruled or same(was, now):
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            found.append(f"the file {now['file']} ({key}) has changed")
        elif key == "graph":
            found.append("the graph has changed")
        elif not (key.startswith("topology.") and old.get("graph") == new.get("graph")):
            agent = key.removeprefix("cost ")
            what = key if agent == key else f"the cost of agent {agent} at its start"
            shown = [v["file"] if isinstance(v, dict) else v for v in (was, now)]
            found.append(f"{what} ({shown[0]!r} in the run, {shown[1]!r} wanted)")
    return found


def dropped(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[int]:
    """Return the agents that a run is to go on without from here; every other change of them counts."""
    before, now = (set(facts.get("problem.lost") or ()) for facts in (old, new))
    return sorted(now - before) if before < now else []


def same(was: Any, now: Any) -> bool:
    """Whether two facts are equal; numbers up to rounding, files by content."""
    if isinstance(was, float) and isinstance(now, float):
        return isclose(was, now, rel_tol=TOLERANCE) or (isnan(was) and isnan(now))
    if isinstance(was, dict) and isinstance(now, dict):
        return bool(was["sha256"] == now["sha256"])
    return bool(was == now)
