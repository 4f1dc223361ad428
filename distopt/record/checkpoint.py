"""Checkpoints: one shard per agent, and a manifest that makes them valid.

    checkpoints/000500/rank-0000.h5 ... manifest.json

A shard is written to a temporary name, flushed to disk and renamed; the manifest, with the SHA-256
of every shard and of itself, comes last. A folder without a valid manifest is not a checkpoint. A
shard holds one agent, regardless of its process, so a run may resume under another engine.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from distopt.algorithms.hosted import Hosted
from distopt.core.errors import CheckpointError
from distopt.core.files import reason, replaced_together, sha256, write_whole
from distopt.record.hdf5 import UNREADABLE, attributes, run_refused, stored, write_data
from distopt.transport.base import Traffic, Transport

FORMAT = 1
NUMBERS = {*vars(Traffic()), "run_seconds", "run_diagnostics_seconds"}
TOLD = "told"  # begins the names of what an agent has sent to its neighbours (Transport.told)
OWN_FOLDER = re.compile("[0-9]{6,}")
OWN_FILE = re.compile(r"(manifest\.json|rank-[0-9]{4,}\.h5)(\.tmp)?")


class Saved(NamedTuple):
    """A valid checkpoint."""

    place: Path
    iteration: int
    damaged: list[str]  # a sentence for every newer checkpoint that was skipped
    identity: dict[str, Any] | None  # of the run; None before there were identities
    records: dict[str, float]  # the schedule of its records, by name


def save(
    folder: Path,
    iteration: int,
    hosted: Sequence[Hosted],
    numbers: Mapping[str, float],
    transport: Transport,
    keep: int,
    identity: Mapping[str, Any],
    records: Mapping[str, float],
) -> Path:
    """Write one checkpoint; all processes call this together.

    Parameters
    ----------
    folder : Path
        ``checkpoints`` of the run directory, visible to all hosts.
    iteration : int
        Iterations done.
    hosted : Sequence[Hosted]
        This process's agents.
    numbers : Mapping[str, float]
        This process's counters and clocks; stored with its first agent.
    transport : Transport
    keep : int
        How many of the newest checkpoints stay.
    identity : Mapping[str, Any]
        Of the run, for the manifest.
    records : Mapping[str, float]
        The schedule of its records, for the manifest.
    """
    place = folder / f"{iteration:06d}"
    written = {}
    told_by: dict[int, dict[str, int]] = {}
    for (i, *j), nbytes in transport.told.items():
        told_by.setdefault(i, {})["_".join([TOLD, *map(str, j)])] = nbytes
    with replaced_together(run_refused) as begin:
        for position, h in enumerate(hosted):
            name = shard_name(h.agent.index)
            attributes = dict(numbers) if position == 0 else {}
            attributes |= {f"agent_{k}": v for k, v in vars(h.agent.seconds).items()}
            attributes |= told_by.get(h.agent.index, {})
            temporary = begin(place / name)
            write_data(temporary, h.arrays(), attributes)
            written[name] = sha256(temporary)
    shards: dict[str, str] = {}
    for part in transport.share(written):
        shards |= part
    if transport.root:
        manifest = {
            "format": FORMAT,
            "iteration": iteration,
            "shards": shards,
            "identity": identity,
            "records": records,
        }
        write_whole(
            place / "manifest.json", manifest_text(manifest), durable=True, refusal=run_refused
        )
        prune(folder, iteration, keep)
    return place


def prune(folder: Path, iteration: int, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints up to `iteration`.

    Later ones belong to a run that was resumed from an earlier one (they were damaged, or will be
    made again); folders without a manifest are remains of a crash.
    """
    complete = [p for p in newest(folder) if (p / "manifest.json").is_file()]
    kept = [p for p in complete if int(p.name) <= iteration][:keep]
    for old in newest(folder):
        if old not in kept:
            remove(old)


def remove(place: Path) -> None:
    """Remove a checkpoint; files that are not of a checkpoint stay, and their folder with them."""
    if place.is_symlink():
        return
    with suppress(OSError):
        (place / "manifest.json").unlink(missing_ok=True)  # invalid first, then gone
        for path in place.iterdir():
            if OWN_FILE.fullmatch(path.name):
                path.unlink()
        place.rmdir()


def load(place: Path, hosted: Sequence[Hosted]) -> dict[str, float]:
    """Fill the states of this process's agents in place; return the sum of the saved numbers.

    Raises
    ------
    CheckpointError
        If a shard is missing, damaged, or holds other arrays than this algorithm and compressor.
    """
    numbers: dict[str, float] = {}
    for h in hosted:
        path = place / shard_name(h.agent.index)
        try:
            found = read_shard(path, arrays := h.arrays())
        except UNREADABLE as error:
            raise CheckpointError(f"{path} cannot be read: {error}.") from None
        h.state.loaded(arrays)
        for name, value in found.items():
            if name.removeprefix("agent_") in vars(h.agent.seconds):
                setattr(h.agent.seconds, name.removeprefix("agent_"), float(value))
            elif name in NUMBERS:
                numbers[name] = numbers.get(name, 0) + value
    return numbers


def told(place: Path, agents: Iterable[int]) -> dict[tuple[int, ...], int]:
    """Return what some agents have sent over each link, as `Transport.told`."""
    found = {}
    for i in agents:
        for name, value in saved_attributes(place / shard_name(i)).items():
            first, *j = name.split("_")
            if first == TOLD and all(map(str.isdecimal, j)):
                found[i, *map(int, j)] = int(value)
    return found


def saved_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a shard."""
    try:
        with h5py.File(path, "r") as file:
            return attributes(file)
    except UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None


def totals(place: Path, agents: int) -> dict[str, float]:
    """Return the sums of the saved numbers over the shards of all agents, for clocks the largest."""
    found: dict[str, float] = {}
    for i in range(agents):
        saved = saved_attributes(place / shard_name(i))
        for name in NUMBERS & saved.keys():
            value, before = saved[name].item(), found.get(name, 0)
            found[name] = max(before, value) if name.startswith("run_") else before + value
    return found


def read_shard(path: Path, targets: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Fill arrays from a shard that holds just these; return its attributes."""
    with h5py.File(path, "r") as file:
        if set(file) != set(targets):
            raise CheckpointError(
                f"{path} holds {sorted(file)}, but this run needs {sorted(targets)}; it belongs "
                "to another configuration."
            )
        for name, target in targets.items():
            data = stored(file, name)
            if data.shape != target.shape or data.dtype != target.dtype:
                raise CheckpointError(
                    f"{path}: {name} is {data.dtype}{list(data.shape)}, expected "
                    f"{target.dtype}{list(target.shape)}; it belongs to another configuration."
                )
            data.read_direct(target)
        found = {name: value.item() for name, value in attributes(file).items()}
    if not np.isfinite(list(found.values())).all():
        raise ValueError("a counter or a clock is not finite")
    return found


def latest(folder: Path, agents: int) -> Saved:
    """Find the newest valid checkpoint of a run of so many agents, lost ones included.

    Raises
    ------
    CheckpointError
        If there is none; the message says what is wrong with those that exist.
    """
    damaged: list[str] = []
    for place in newest(folder):
        fault = invalid(place, agents)
        if fault is None:
            manifest = read_manifest(place)
            identity, records = manifest.get("identity"), manifest.get("records", {})
            return Saved(place, int(place.name), damaged, identity, dict(records))
        damaged.append(f"Checkpoint {place} is not usable: {fault}.")
    raise CheckpointError(" ".join([f"There is no valid checkpoint in {folder}.", *damaged]))


def invalid(place: Path, agents: int) -> str | None:
    """Say why a checkpoint cannot be used, None if it can."""
    try:
        manifest = read_manifest(place)
    except CheckpointError as error:
        return str(error)
    shards = manifest["shards"]
    agents -= len(lost_in(manifest.get("identity")))
    if set(shards) != {shard_name(i) for i in range(agents)}:
        return f"it holds {len(shards)} agents, the run has {agents}"
    for name, digest in shards.items():
        path = place / name
        if not path.is_file():
            return f"{name} is missing"
        try:
            if sha256(path) != digest:
                return f"{name} does not match its checksum"
        except OSError as error:
            return f"{name} cannot be read: {reason(error)}"
    return None


def read_manifest(place: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint.

    Raises
    ------
    CheckpointError
        If it is not whole; the message completes "Checkpoint ... is not usable: ".
    """
    try:
        content = (place / "manifest.json").read_bytes()
        manifest = json.loads(content)
        found, iteration, shards = manifest["format"], manifest["iteration"], manifest["shards"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        found = iteration = shards = None
    if not (isinstance(iteration, int) and isinstance(shards, dict)):
        raise CheckpointError("its manifest.json is missing or damaged")
    if found != FORMAT:
        raise CheckpointError(f"it has format {found}, this version reads {FORMAT}")
    # Manifests of the first version have no checksum of their own, and else the same keys.
    checked = manifest.keys() != {"format", "iteration", "shards"}
    if checked and content != manifest_text(manifest):
        raise CheckpointError("its manifest.json does not match its own checksum")
    if place.name != f"{iteration:06}":
        raise CheckpointError(f"its manifest.json is of iteration {iteration}")
    return dict(manifest)


def lost_in(identity: Any) -> tuple[int, ...]:
    """Return the agents that a run had lost when its identity was written."""
    try:
        return tuple(map(int, identity["facts"].get("problem.lost", ())))
    except (TypeError, LookupError, AttributeError, ValueError):
        return ()


def manifest_text(manifest: Mapping[str, Any]) -> bytes:
    """Write a manifest as text, with the SHA-256 of all the rest as its last key."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps(content | {"sha256": digest}, indent=1).encode()


def newest(folder: Path) -> list[Path]:
    """List the checkpoint folders, newest first, valid or not."""
    if not folder.is_dir():
        return []
    own = (p for p in folder.iterdir() if OWN_FOLDER.fullmatch(p.name) and p.is_dir())
    return sorted(own, key=lambda p: -int(p.name))


def shard_name(agent: int) -> str:
    """Name the file of one agent."""
    return f"rank-{agent:04d}.h5"


def read_array(place: Path, agent: int, name: str) -> np.ndarray:
    """Read one array of an agent, such as its model "x".

    Raises
    ------
    CheckpointError
        If the checkpoint does not hold it.
    """
    path = place / shard_name(agent)
    try:
        with h5py.File(path, "r") as file:
            names = list(file)
            if name in names:
                array: np.ndarray = stored(file, name)[()]
                return array
    except UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None
    raise CheckpointError(f"{place} holds no array {name}; it holds {', '.join(names)}.")
