"""One run as this process sees it: its agents, their records and checkpoints, when to stop."""

import platform
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1, Signals
from signal import signal as handle
from time import perf_counter
from types import FrameType
from typing import Any

import numpy as np

from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.algorithms.agent import Agent
from distopt.algorithms.base import AUTO, Algorithm
from distopt.compressors import REGISTRY as COMPRESSORS
from distopt.compressors.base import Compressor
from distopt.config.build import Parts
from distopt.config.run import RunConfig
from distopt.core.arrays import F64
from distopt.core.errors import ConfigError, DataError, DistoptError, DivergedError
from distopt.core.files import write_whole
from distopt.core.workspace import Workspace
from distopt.engine.agreement import SharedError, together
from distopt.engine.audit import audit, checksum
from distopt.engine.diagnostics import Diagnostics
from distopt.engine.driver import Hosted, iterate, run_to_end
from distopt.problems.batches import require_batches
from distopt.problems.costs.base import Cost
from distopt.problems.given import GivenProblem
from distopt.problems.problem import Problem
from distopt.problems.topology import Topology
from distopt.record import checkpoint
from distopt.record.hdf5 import run_refused
from distopt.record.recorder import Recorder
from distopt.theory.facts import Facts
from distopt.theory.lyapunov import lyapunov
from distopt.theory.rules import estimate_flattest, estimate_smoothness
from distopt.transport.base import Transport
from distopt.transport.local import LocalTransport

AGREE_SECONDS = 0.5  # about how often the processes ask each other whether to stop
FLUSH_SECONDS = 0.5  # records wait at most about this long for the disk
PROGRESS_SECONDS = 0.2
GROWN = 100.0  # a run that ends with P this many times its first value is called diverging


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    iteration: int
    iterations: int
    stationarity: float  # of the latest record
    seconds: float  # spent in iterations


@dataclass
class Result:
    """What a run came to.

    Attributes
    ----------
    summary : dict
        The object that ``--json`` prints.
    run_dir : Path or None
    root : bool
        Whether this process speaks to the user.
    rows : list of dict
        The records of this part of the run, one dict per record (on the root only).
    x : list of float64[d]
        The final models of the agents that live in this process.
    warnings : list of str
        Sentences to be shown once.
    resume_hint : str or None
        How to go on, where a signal or a time limit stopped the run.
    signal : Signals or None
        The signal that this process got, where one stopped the run.
    """

    summary: dict[str, Any]
    run_dir: Path | None
    root: bool
    rows: list[dict[str, float]]
    x: list[F64]
    warnings: list[str] = field(default_factory=list)
    resume_hint: str | None = None
    signal: Signals | None = None


class StopRequest:
    """The stopping signal that this process got, if any; the next agreement acts on it."""

    signal: Signals | None = None

    @contextmanager
    def listening(self, *numbers: Signals) -> Iterator[None]:
        """Take these signals inside the block (in the main thread only)."""
        try:
            before = {number: handle(number, self.note) for number in numbers}
        except ValueError:  # not the main thread: the host program keeps its own handling
            yield
            return
        try:
            yield
        finally:
            for number, previous in before.items():
                handle(number, previous)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal."""
        self.signal = Signals(number)


class Session:
    """One run of this process's agents: set up, iterate, record, save, stop."""

    def __init__(
        self,
        problem: Problem | GivenProblem,
        algorithm: Algorithm,
        compressor: Compressor,
        settings: RunConfig,
        transport: Transport,
        out: Path | None,
        progress: Callable[[Progress], None] | None,
        stop: StopRequest | None = None,
    ) -> None:
        self.problem, self.compressor, self.settings = problem, compressor, settings
        self.transport, self.out, self.progress = transport, out, progress
        self.stop = stop or StopRequest()
        self.algorithm = algorithm
        self.costs = [problem.cost(i) for i in transport.hosted]
        for i, cost in zip(transport.hosted, self.costs, strict=True):
            require_batches(cost, settings.batch, i)
            if settings.stop.nmse and not hasattr(cost, "energy"):
                raise ConfigError(
                    f"run.stop.nmse = {settings.stop.nmse:g} needs costs that have an NMSE (an "
                    f"attribute energy, as networks have); that of agent {i} has none. Accepted: 0."
                )
        self.warnings: list[str] = []
        self.rows: list[dict[str, float]] = []
        self.workspace = Workspace()  # of all agents here, which work in turn
        self.k = 0
        self.saved_at = -1
        self.seconds = 0.0  # in iterations
        self.diagnostics_seconds = 0.0
        self.recorder: Recorder | None = None
        self._flushed = self._shown = perf_counter()

    # Setting up

    def begin(self, place: Path | None, done: int) -> None:
        """Resolve ``"auto"``, allocate the agents, agree on start values or load a checkpoint."""
        self.facts, self.lower, self.lower_kind = self.gather_facts()
        if self.algorithm.memory_start == "x0":
            self.require_one_start()
        self.transport.warm_up(self.try_rules)
        resolved = together(self.transport, lambda: self.algorithm.resolve(self.facts))
        # Eigenvalues and sums may differ in their last bits between hosts, and agents whose gamma or
        # alpha differ drift apart: all take the first process's numbers.
        self.algorithm = self.transport.share(resolved)[0]
        self.lyapunov = lyapunov(self.algorithm.steps(), self.facts)
        if self.lyapunov and self.settings.batch:  # the proofs are for exact gradients
            self.lyapunov = replace(self.lyapunov, certified=False)
        self.transport.warm_up(lambda: warm_up(self))
        self.hosted = together(self.transport, self.make_agents)
        if place is None:
            steps = [self.algorithm.start(h.agent, h.state, self.facts) for h in self.hosted]
            run_to_end(steps, self.transport)
            self.algorithm = self.algorithm.started(self.hosted[0].state)
        else:
            self.load(place, done)
        self.diagnostics = Diagnostics(
            self.algorithm, self.hosted, self.transport, self.lyapunov, self.lower
        )
        together(self.transport, lambda: self.open_record(place is not None), root_only=True)
        if place is None:
            self.record()
        else:
            # Computed together: only the root has the rows of the record.
            self.latest = self.diagnostics.row(self.k, self.seconds, self.diagnostics_seconds)

    def try_rules(self) -> None:
        """Compile what the rules of ``"auto"`` use; their complaints come when all apply them."""
        with suppress(DistoptError):
            self.algorithm.resolve(self.facts)

    def gather_facts(self) -> tuple[Facts, float, str]:
        """Ask all agents for their constants; the only numbers that auto rules may use."""
        topology = self.problem.topology
        needs_flattest = self.algorithm.pilot and AUTO in vars(self.algorithm).values()
        told = []
        for i, cost in zip(self.transport.hosted, self.costs, strict=True):
            known = getattr(cost, "smoothness", None)
            x0 = self.problem.start_point(i, cost)
            L = estimate_smoothness(cost, x0) if known is None else float(known)
            flattest = estimate_flattest(cost, x0, L) if needs_flattest else np.nan
            bound = getattr(cost, "lower_bound", None)
            bound = np.nan if bound is None else bound
            told.append([L, bound, flattest, known is None, cost.dimension])
        table = self.transport.collect(np.array(told, dtype=float))
        self.require_one_dimension(table[:, 4])
        smoothness = float(table[:, 0].max())
        if table[:, 3].any():
            self.warnings.append(
                f"{table[:, 3].sum():.0f} costs do not tell their smoothness; {smoothness:.3g} was "
                'estimated around the start, for "auto" and the Lyapunov function.'
            )
        lower = float(sum(table[:, 1]) / self.transport.agents)
        kind = "lower bound"
        if self.problem.minimum is not None:
            lower, kind = self.problem.minimum, "exact"
        elif np.isnan(lower):
            lower, kind = 0.0, "unknown, 0 used"
        facts = Facts(
            agents=self.transport.agents,
            dimension=self.problem.dimension,
            smoothness=smoothness,
            gap=topology.gap,
            kappa=topology.kappa,
            diameter=topology.diameter,
            compressor=self.compressor,
            flattest=float(table[:, 2].min()) if needs_flattest else None,
            estimated=bool(table[:, 3].any()),
        )
        return facts, lower, kind

    def require_one_dimension(self, told: F64) -> None:
        """Raise, on all processes alike, unless every agent's cost has the same dimension."""
        other = int(np.argmax(told != told[0]))
        if other:
            raise SharedError(
                DataError(
                    f"The cost of agent {other} has dimension {told[other]:.0f}, but that of agent 0 "
                    f"has {told[0]:.0f}; all agents need the same."
                )
            )

    def require_one_start(self) -> None:
        """Raise, on all processes alike, unless all agents start from the same bits."""
        points = zip(self.transport.hosted, self.costs, strict=True)
        told = [checksum([self.problem.start_point(i, cost)]) for i, cost in points]
        table = self.transport.collect(np.array(told, dtype=float)[:, None])[:, 0]
        other = int(np.argmax(table != table[0]))
        if other:
            raise SharedError(
                ConfigError(
                    'algorithm.memory_start = "x0" needs agents that all start from the same point, but '
                    f'agent {other} starts from another than agent 0; accepted here: "zeros".'
                )
            )

    def make_agents(self) -> list[Hosted]:
        """Make this process's agents and their states at iteration 0."""
        pairs = zip(self.transport.hosted, self.costs, strict=True)
        return [
            self.host(i, cost, self.problem.topology, self.problem.start_point(i, cost))
            for i, cost in pairs
        ]

    def host(self, i: int, cost: Cost, topology: Topology, x0: F64) -> Hosted:
        """Make agent i of a graph, which starts at x0."""
        agent = Agent(
            i,
            cost,
            topology,
            self.compressor,
            self.settings.seed,
            vectors=self.algorithm.vectors,
            batch=self.settings.batch,
            remedy=self.algorithm.remedy(),
            workspace=self.workspace,
        )
        return Hosted(agent, self.algorithm.init(agent, x0))

    def load(self, place: Path, done: int) -> None:
        """Put the agents, counters and clocks where the checkpoint was made."""
        numbers = together(self.transport, lambda: checkpoint.load(place, self.hosted))
        self.k = self.saved_at = done
        self.seconds = numbers.pop("run_seconds", 0.0)
        self.diagnostics_seconds = numbers.pop("run_diagnostics_seconds", 0.0)
        for name, value in numbers.items():
            kind = type(getattr(self.transport.traffic, name))
            setattr(self.transport.traffic, name, kind(value))

    def open_record(self, resumed: bool) -> None:
        """Create (or continue) config.toml and metrics.h5."""
        if self.out is None:
            return
        path, text = self.out / "metrics.h5", self.config_text()
        if resumed:
            self.recorder = Recorder.reopen(path, self.is_due, {"config": text})
            self.rows = self.recorder.kept
        write_whole(self.out / "config.toml", text.encode(), durable=True, refusal=run_refused)
        if resumed:
            return
        matrix = self.problem.topology.matrix()
        self.recorder = Recorder(path, self.diagnostics.recorded, self.meta(text), matrix)

    def config_text(self) -> str:
        """Return the configuration with every ``"auto"`` replaced by its number, as TOML."""
        return Parts(self.problem, self.algorithm, self.compressor, self.settings).to_toml()

    def meta(self, config_text: str) -> dict[str, Any]:
        """Describe the run for /meta: all that a reader needs besides the series."""
        guarantee = self.compressor.guarantee(self.facts.dimension, self.algorithm.needs)
        constants = {"class": guarantee.name} | vars(guarantee) if guarantee else {}
        return {
            "algorithm": ALGORITHMS.name_of(type(self.algorithm)),
            "compressor": COMPRESSORS.name_of(type(self.compressor)),
            "parameters": {"algorithm": ALGORITHMS.describe(self.algorithm)},
            "config": config_text,
            "agents": self.facts.agents,
            "dimension": self.facts.dimension,
            "repeats": self.algorithm.repeats,
            "seed": np.uint64(self.settings.seed),
            "spectral_gap": self.facts.gap,
            "kappa": self.facts.kappa,
            "smoothness": np.nan if self.facts.smoothness is None else self.facts.smoothness,
            "guarantee": constants,
            "certified": self.lyapunov is not None and self.lyapunov.certified,
            "lyapunov": self.lyapunov.function if self.lyapunov else "",
            "lyapunov_weights": self.lyapunov.weights() if self.lyapunov else {},
            "lyapunov_rho": self.lyapunov.rho if self.lyapunov else 0.0,
            "minimum": self.lower,
            "minimum_kind": self.lower_kind,
            "engine": "simulate" if len(self.transport.hosted) > 1 else "mpi",
            "host": socket.gethostname(),
            "versions": versions(),
        }

    # Iterating

    def iterate(self) -> Result:
        """Iterate to the end, the stopping test, a time limit or a signal."""
        try:
            with self.stop.listening(SIGTERM, SIGINT, SIGUSR1):
                reason = self.loop()
        except BaseException:
            if self.recorder:
                self.recorder.close()
            raise
        stopped = reason in {"signal", "stop.seconds"}
        if self.out is not None:
            self.save()
        if self.recorder:
            self.recorder.finish("stopped" if stopped else "finished", reason)
        if self.latest["iteration"] != self.k:  # for the summary only: it belongs to no series
            self.latest = self.diagnostics.row(self.k, self.seconds, self.diagnostics_seconds)
        if self.latest.get("saturations"):
            self.warnings.append(
                f"{self.latest['saturations']:.0f} values did not fit their fixed-point format and became "
                "its nearest end; the theory assumes that none do. More integer bits hold larger values."
            )
        if self.latest.get("ball_violations"):
            self.warnings.append(
                f"{self.latest['ball_violations']:.0f} compressed arguments were outside the unit "
                "ball, so this run has left the theory of cgt3; larger s0x, s0y or mu keep it inside."
            )
        # Of a network P may grow while the loss falls: its gradient is small at the start as well.
        if self.rows and all(
            self.latest[name] > factor * self.rows[0][name]
            for name, factor in (("stationarity", GROWN), ("objective", 1))
        ):
            self.warnings.append(
                f"P grew from {self.rows[0]['stationarity']:.3g} to "
                f"{self.latest['stationarity']:.3g}: the run is diverging; "
                f"{self.algorithm.remedy()}."
            )
        hint = None
        if stopped and self.out is not None:
            hint = f"Stopped after iteration {self.k}; go on with: distopt resume {self.out}"
        return Result(
            summary=self.summary(reason),
            run_dir=self.out,
            root=self.transport.root,
            rows=self.rows,
            x=[self.algorithm.view(h.state).model.copy() for h in self.hosted],
            warnings=self.warnings,
            resume_hint=hint,
            signal=self.stop.signal,
        )

    def loop(self) -> str:
        """Do iterations until there is a reason to stop; return the reason."""
        settings, last = self.settings, self.settings.iterations
        agree_at = self.k + 1
        if self.is_due(self.k) and (reason := self.is_good_enough()):
            return reason
        while self.k < last:
            began = perf_counter()
            iterate(self.algorithm, self.hosted, self.transport, self.k)
            self.seconds += (spent := perf_counter() - began)
            self.k += 1
            if self.is_due(self.k):
                self.record()
                if reason := self.is_good_enough():
                    return reason
            if settings.checkpoint_every and self.k % settings.checkpoint_every == 0:
                self.save()
            if self.k == agree_at:
                stop, agree_at = self.agree(spent)
                if stop:
                    return stop
            if self.progress and self.transport.root:
                self.show()
        return "iterations"

    def is_due(self, iteration: int) -> bool:
        """Whether this run, never interrupted, would have recorded this iteration by now."""
        settings = self.settings
        regular = iteration % settings.record_every == 0 or iteration == settings.iterations
        return regular and iteration <= self.k

    def is_good_enough(self) -> str:
        """Apply the stopping tests to the latest record; return the reason to stop, "" for none."""
        stop = self.settings.stop
        if self.latest["stationarity"] <= stop.stationarity:
            return "stop.stationarity"
        return "stop.nmse" if self.latest.get("nmse", np.inf) <= stop.nmse else ""

    def agree(self, spent: float) -> tuple[str, int]:
        """Ask all processes whether one was told to stop; also settle when to ask next."""
        began = perf_counter()
        row = [float(self.stop.signal is not None), self.seconds, spent]
        table = self.transport.collect(np.tile(row, (len(self.transport.hosted), 1)))
        signalled, seconds, slowest = table.max(axis=0)
        self.diagnostics_seconds += perf_counter() - began
        if signalled:
            return "signal", 0
        if seconds >= self.settings.stop.seconds:
            return "stop.seconds", 0
        pause = int(min(max(AGREE_SECONDS / max(slowest, 1e-6), 1), 10_000))
        return "", self.k + pause

    def record(self) -> None:
        """Compute and keep one row; compare the ends of every edge where they adapt."""
        began = perf_counter()
        if self.hosted[0].agent.codec_arrays():
            audit(self.algorithm, self.hosted, self.transport, self.k)
        row = self.diagnostics.row(self.k, self.seconds, self.diagnostics_seconds)
        if not np.isfinite(row["stationarity"]):
            raise SharedError(  # every process has computed this row
                DivergedError(
                    f"The run diverged: at iteration {self.k} the stationarity P is "
                    f"{row['stationarity']}; {self.algorithm.remedy()}."
                )
            )
        self.latest = row
        if self.transport.root:
            self.rows.append(row)
        if self.recorder:
            self.recorder.append(row)
            if perf_counter() - self._flushed > FLUSH_SECONDS:
                self.recorder.flush()
                self._flushed = perf_counter()
        self.diagnostics_seconds += perf_counter() - began

    def save(self) -> None:
        """Write a checkpoint of all agents, unless there is one of this iteration."""
        if self.out is None or self.saved_at == self.k:
            return
        began = perf_counter()
        audit(self.algorithm, self.hosted, self.transport, self.k)
        if self.recorder:
            self.recorder.flush()
        numbers = dict(vars(self.transport.traffic)) | {
            "run_seconds": self.seconds,
            "run_diagnostics_seconds": self.diagnostics_seconds,
        }
        checkpoint.save(
            self.out / "checkpoints", self.k, self.hosted, numbers, self.transport,
            self.settings.keep,
        )  # fmt: skip
        self.saved_at = self.k
        self.diagnostics_seconds += perf_counter() - began

    def show(self) -> None:
        """Report progress, not too often."""
        now = perf_counter()
        if now - self._shown < PROGRESS_SECONDS and self.k < self.settings.iterations:
            return
        self._shown = now
        assert self.progress is not None
        self.progress(
            Progress(self.k, self.settings.iterations, self.latest["stationarity"], self.seconds)
        )

    def summary(self, reason: str) -> dict[str, Any]:
        """Put together what ``--json`` prints."""
        row, n, d = self.latest, self.facts.agents, self.facts.dimension
        vectors = max(self.k, 1) * self.algorithm.vectors * d * self.algorithm.repeats
        return {
            "algorithm": ALGORITHMS.name_of(type(self.algorithm)),
            "compressor": COMPRESSORS.name_of(type(self.compressor)),
            "agents": n,
            "dimension": d,
            "iterations": self.k,
            "stop_reason": reason,
            "stationarity": row["stationarity"],
            "consensus_error": row["consensus_error"],
            "gradient_norm": row["gradient_norm"],
            "objective": row["objective"],
            "nmse": row.get("nmse"),
            "lyapunov": row.get("lyapunov"),
            "certified": self.lyapunov is not None and self.lyapunov.certified,
            "bytes_per_agent": row["bytes_per_agent"],
            "bytes_on_wire": row["bytes_on_wire"],
            "messages_per_agent": row["messages_per_agent"],
            "bits_per_coordinate": 8 * row["bytes_per_agent"] / vectors,
            "diagnostics_bytes": row["diagnostics_bytes"],
            "ball_violations": row.get("ball_violations", 0),
            "seconds": {
                "algorithm": self.seconds,
                "communication": row["seconds_communication"],
                "diagnostics": self.diagnostics_seconds,
            },
            "parameters": ALGORITHMS.describe(self.algorithm),
            "run_dir": None if self.out is None else str(self.out),
        }


def warm_up(session: Session) -> None:
    """Compile every kernel of the run (into the cache on disk) by one iteration of two agents.

    Both have this process's own cost: no other agent's data is needed to compile.
    """
    topology = Topology(2, [(0, 1)])
    transport = LocalTransport(topology)
    cost = session.costs[0]
    x0 = session.problem.start_point(session.transport.hosted[0], cost)
    hosted = [session.host(i, cost, topology, x0) for i in (0, 1)]
    run_to_end(
        [session.algorithm.start(h.agent, h.state, session.facts) for h in hosted], transport
    )
    iterate(session.algorithm, hosted, transport, 0)


def versions() -> dict[str, str]:
    """List the versions of what a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("distopt-mpi", "numpy", "numba", "scipy", "h5py", "mpi4py"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
