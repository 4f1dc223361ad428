"""A timed run: iterations of one variant on one link and nothing else, read at every host's interface.

The iterates are those of the run with records, to the bit. So its records (how small P was at which
iteration) hold here too, and no record disturbs the clock or the counters. After the last iteration P
is computed once and compared. Then the same is done as a run does it, with records as they are by
default, to the finest accuracy or for as many iterations.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from distopt.algorithms.seconds import Seconds
from distopt.config.build import Config
from distopt.core.arrays import F64
from distopt.core.blas import BLAS
from distopt.core.errors import TransportError
from distopt.engine.agents import release
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.team import Team, prepare
from distopt.record.reader import Reach, RunData
from distopt.studies.measure.exchange import RawExchange, meet, time_exchange
from distopt.studies.measure.interface import addresses, read_counters, towards
from distopt.studies.measure.overhead import Accounting
from distopt.studies.measure.recorded import time_recorded
from distopt.studies.measure.rounds import Rounds, Waits
from distopt.transport.base import Transport
from distopt.transport.opening import open_transport

FIRST = 2  # iterations before the window of the counters: connections, caches, the speed to expect
LEAST = 3  # iterations of the window
BARE_SECONDS = 1.0  # for the bare exchange of the same message
UNSEEN = 0.5  # an interface that saw less than this share of the bytes is not the one that MPI uses


@dataclass(frozen=True)
class Site:
    """Where a rank is: its host, the interface towards its neighbours, and who else is there."""

    host: str
    interfaces: tuple[str, ...]
    address: str  # own, towards the neighbours; "" where all of them are on this host
    far: float  # share of the neighbours that are on other hosts
    first: bool  # the first rank of its host, whose counters are taken


def find_site(
    transport: Transport, neighbours: Sequence[int], chosen: Sequence[str] | None
) -> Site:
    """Find out where this rank is and which interfaces lead to its neighbours.

    Raises
    ------
    TransportError
        If no interface leads there, or a chosen one does not exist.
    """
    (me,) = transport.hosted
    own, host = addresses(), socket.gethostname()
    told: list[list[Any]] = transport.share([host, list(own)])
    far = [j for j in neighbours if told[j][0] != host]
    ways = towards([a for j in far for a in told[j][1]], own)
    names = tuple(chosen or dict.fromkeys(own[a] for a in ways.values()))
    read_counters(names)  # complains about a name that does not exist
    if far and not ways:
        raise TransportError(
            f"Host {host} has no IPv4 address from which it reaches host {told[far[0]][0]}, so what its "
            "interfaces carry cannot be assigned; --interface NAME names the one that MPI uses."
        )
    address = next((a for a in ways.values() if own[a] in names), "")
    first = me == next(i for i, (name, _) in enumerate(told) if name == host)
    return Site(host, names, address, len(far) / max(len(neighbours), 1), first)


def time_run(
    config: Config,
    history: RunData,
    accuracies: Sequence[float],
    *,
    limit: Callable[[], None],
    seconds: float,
    interfaces: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Time iterations of a configuration; all ranks call this together and get the same result.

    The history is that of a run of the same configuration with records. `limit` is called once all is
    set up, before the clock runs, and sets the rate of the link. The iterations stop after about
    `seconds`. Given interfaces are read instead of those that lead to the neighbours. The result is what
    ``distopt measure --json`` prints for one run (docs: measured).
    """
    marks = [history.reach(a) for a in accuracies]
    wanted = int(max((m.iterations for m in marks if m), default=history.last("iteration")))
    wanted = max(wanted, FIRST + 1)
    config = timed(config, wanted)
    with (
        open_transport("mpi", config) as transport,
        BLAS.held(config.run.threads),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        team, clock = prepare(config, transport), [0.0]
        agent, rounds = team.hosted[0].agent, Rounds(transport, config.problem.topology)
        site = find_site(transport, agent.neighbours, interfaces)
        limit()
        meet(transport)

        iterate_timed(team, clock, min(FIRST, wanted))
        pace = transport.collect(np.array([[np.diff(clock).min()]])).max()
        last = int(min(max(seconds / pace, FIRST + LEAST), wanted))
        passed = len(rounds)
        before = reading(site, transport, agent.seconds)
        iterate_timed(team, clock, last)
        after = reading(site, transport, agent.seconds)

        result = measured(transport, site, before, after, np.array(clock))
        result["reached"] = [
            reached(a, m, result["clock"], result["seconds_per_iteration"]) if m else None
            for a, m in zip(accuracies, marks, strict=True)
        ]
        result |= {"iterations": last, "wanted": wanted}
        result["bare"] = bare(
            transport, site, agent.neighbours, result["window"], rounds.waits(passed)
        )
        require_same(history, last, Diagnostics(team).row()["stationarity"])
        found = [r for r in result["reached"] if r]
        finest = min(found, key=lambda r: r["accuracy"], default=None)
        result["records"] = time_recorded(config, transport, last, finest)
        del result["clock"]
        release(team.driven)
    return result


def timed(config: Config, iterations: int) -> Config:
    """Return the configuration of a run without records or checkpoints."""
    without = {"iterations": iterations, "record_every": iterations, "checkpoint_every": 0}
    return replace(config, run=config.run.model_copy(update=without))


def iterate_timed(team: Team, clock: list[float], last: int) -> None:
    """Iterate up to `last`, adding to the clock the seconds since iteration 0 after each."""
    offset = perf_counter() - clock[-1]
    for _ in range(len(clock) - 1, last):
        team.iterate()
        clock.append(perf_counter() - offset)


Reading: TypeAlias = tuple[dict[str, Any], dict[str, Any]]  # counters; traffic and seconds


def reading(site: Site, transport: Transport, seconds: Seconds) -> Reading:
    """Read counters and clocks between two meetings of all ranks.

    After the first one every message has been received: nothing of the algorithm is under way.
    """
    meet(transport)
    found = read_counters(site.interfaces), vars(transport.traffic) | vars(seconds)
    meet(transport)
    return found


def measured(
    transport: Transport, site: Site, before: Reading, after: Reading, clock: Any
) -> dict[str, Any]:
    """Put together what happened between two readings, of all ranks."""
    carried, spent = (
        {name: value - old[name] for name, value in new.items()}
        for old, new in zip(before, after, strict=True)
    )
    mine = {"site": asdict(site), "carried": carried, "clock": clock.tolist()} | spent
    told: list[dict[str, Any]] = transport.share(mine)
    slowest = np.max([t["clock"] for t in told], axis=0)
    first = min(FIRST, slowest.size - 1)
    window = slowest.size - 1 - first
    hosts = {
        t["site"]["host"]: {"interfaces": t["site"]["interfaces"]} | t["carried"]
        for t in told
        if t["site"]["first"]
    }
    accounting = Accounting(
        counted=round(sum(t["nbytes_on_wire"] * t["site"]["far"] for t in told)),
        messages=round(sum(t["messages"] * t["site"]["far"] for t in told)),
        seen=sum(h["tx_bytes"] for h in hosts.values()),
        packets=sum(h["tx_packets"] for h in hosts.values()),
    )
    return {
        "clock": slowest,
        "window": window,
        "seconds_per_iteration": float((slowest[-1] - slowest[first]) / max(window, 1)),
        "phases": phases(told, slowest[-1] - slowest[first]),
        "bytes_per_agent": sum(t["nbytes"] for t in told) / len(told),
        "bytes_on_wire": sum(t["nbytes_on_wire"] for t in told),
        "hosts": hosts,
        "accounting": account(accounting),
    }


def account(a: Accounting) -> dict[str, Any]:
    """Write an accounting as numbers with its verdict, or why there is none."""
    if not a.counted:
        return {"problem": "all ranks are on one host: nothing passes an interface"}
    if a.seen < UNSEEN * a.counted:
        return asdict(a) | {
            "problem": f"the interfaces saw {a.seen} bytes while {a.counted} were handed to MPI for other "
            "hosts: MPI uses another path; --interface NAME names it, unless it is no IP interface "
            "at all (such as InfiniBand), whose bytes cannot be read this way"
        }
    names = ("explained", "error", "overhead", "message", "ethernet", "balanced")
    return asdict(a) | {name: getattr(a, name) for name in names}


PHASES = {  # name: seconds and calls of a reading
    "gradient": ("gradient", "gradients"),
    "encoding": ("encoding", "encodings"),
    "decoding and mixing": ("mixing", "mixings"),
    "exchange, waiting": ("seconds", "encodings"),
}


def phases(told: Sequence[dict[str, Any]], total: float) -> list[dict[str, Any]]:
    """Split the time of the window by phase: calls, mean, extremes over ranks, bytes sent."""
    first, nbytes = told[0], float(np.mean([t["nbytes_on_wire"] for t in told]))
    table = [
        phase(name, first[calls], [t[key] for t in told], nbytes if key == "seconds" else 0.0)
        for name, (key, calls) in PHASES.items()
    ]
    rest = [total - sum(t[key] for key, _ in PHASES.values()) for t in told]
    return [*table, phase("updates, the rest", first["gradients"], rest, 0.0)]


def phase(name: str, calls: int, seconds: Sequence[float], nbytes: float) -> dict[str, Any]:
    """Describe one phase; calls of rank 0, bytes per rank with every copy."""
    return {
        "phase": name,
        "calls": calls,
        "seconds": float(np.mean(seconds)),
        "smallest": float(min(seconds)),
        "largest": float(max(seconds)),
        "bytes": nbytes,
    }


def reached(accuracy: float, mark: Reach, clock: F64, pace: float) -> dict[str, Any]:
    """Return what one accuracy took on this link.

    Where the timed iterations ended before, the rest is counted at their mean pace, in seconds
    ("projected").
    """
    k, last = int(mark.iterations), clock.size - 1
    seconds = clock[k] if k <= last else clock[last] + (k - last) * pace
    return {
        "accuracy": accuracy,
        "iterations": k,
        "bytes_per_agent": mark.bytes_per_agent,
        "bytes_on_wire": mark.bytes_on_wire,
        "seconds": float(seconds),
        "projected": k > last,
    }


def bare(
    transport: Transport, site: Site, neighbours: Sequence[int], window: int, waits: Waits
) -> dict[str, Any] | None:
    """Time the bare exchange of a message of the mean size, by MPI and by raw sockets.

    What an iteration consists of is beside it: its exchanges one after the other, and the copies that the
    busiest agent of each sends.
    """
    told: list[list[int]] = transport.share([len(neighbours), site.far == 1])
    if not all(alone for _, alone in told):
        return None  # raw sockets compare with networks only
    raw = RawExchange(transport, neighbours, site.address)
    try:
        found = time_exchange(transport, raw, max(round(waits.message), 1), BARE_SECONDS)
    finally:
        raw.close()
    return found | {
        "neighbours": max(count for count, _ in told),
        "exchanges": waits.exchanges / max(window, 1),
        "copies": waits.copies,
    }


def require_same(history: RunData, iteration: int, stationarity: float) -> None:
    """Raise `TransportError` unless P is to the bit what the run with records had."""
    at = np.flatnonzero(history["iteration"] == iteration)
    if at.size and history["stationarity"][at[0]] != stationarity:
        raise TransportError(
            f"P after {iteration} iterations is {stationarity!r}, but the run with records in "
            f"{history.place} had {history['stationarity'][at[0]]!r}: it is another run. Remove that "
            "folder or use --overwrite."
        )
