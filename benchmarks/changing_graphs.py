"""Edges that fail and agents that sleep: iterations and bytes to P <= 1e-4 and 1e-10.

    python benchmarks/changing_graphs.py [--restless] [--burst 10] [--quick]

In every iteration each edge is up with probability p ("edges"), or each agent is awake with
probability sqrt(p), so that both ends of an edge are with probability p ("agents"; one that sleeps
neither computes nor sends). It is a function of (seed, iteration), so both ends know it; --burst draws
anew only every so many iterations. The weight of an edge that is down goes to its two ends: W_k is
symmetric and its rows sum to one. An agent without any edge waits; with --restless it goes on alone.

The algorithms are the package's own, on a topology that changes. Uncompressed methods need no more than
that. Where messages are differences, both ends of an edge need the same memories and coder states,
although the edge has missed messages:

* late: what an edge misses is delivered once it is up again.
* lost: what an edge misses is lost.

Problems and steps are those of the suites zoom_pl and zoom_logistic (docs/zooming.md), the step times
0.7 or 0.5 where that takes fewer iterations on problem seeds 100 and 101. A cell: medians over problem
seeds 1 to 5 of iterations, bytes per agent with a broadcast counted once, and over all copies.
"""

import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from shared import EXPERIMENTS, options, show

from distopt.algorithms.agent import Agent
from distopt.algorithms.hosted import Hosted
from distopt.algorithms.zed import Zed
from distopt.core.errors import DivergedError, MessageError
from distopt.core.randomness import make_key, uniform
from distopt.core.streams import Stream
from distopt.engine.driver import iterate
from distopt.problems.topology import Links, Topology
from distopt.studies.results import Column, write_count
from distopt.studies.suite import load_suite
from distopt.transport.local import LocalTransport

SUITES = {"PL, ring of 10, d = 50": "zoom_pl", "logistic, 20 agents, d = 50": "zoom_logistic"}
METHODS = {
    "edges": ("gt", "exact diffusion", "lead norm_sign, late", "zed, late", "zed, lost"),
    "agents": ("gt", "exact diffusion", "lead norm_sign, late", "zed, late"),
}
PROBABILITIES = (1.0, 0.9, 0.7, 0.5, 0.2)
FACTORS, TUNING_SEEDS, SEEDS = (1.0, 0.7, 0.5), (100, 101), (1, 2, 3, 4, 5)
ACCURACIES = (1e-4, 1e-10)
LIMIT, EVERY = 2000, 5
NOTHING = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Failing:
    """What fails, how rarely, for how many iterations, and what an agent does that has no edge."""

    what: str
    p: float
    burst: int
    restless: bool


class Unreliable(Topology):
    """A graph of which an iteration has only a part."""

    def __init__(self, whole, failing, seed):
        super().__init__(whole.agents, whole.edges)
        self.failing, self.seed = failing, seed
        self.drawn, self.present = None, None

    def at(self, k):
        number = k // self.failing.burst
        if number != self.drawn:
            self.drawn, self.present = number, Part(self, number)
        return self.present


class Part:
    """The edges that are up, with the weights that they have in the whole graph."""

    def __init__(self, whole, number):
        n, f = whole.agents, whole.failing
        key = make_key(whole.seed, 0, Stream.EXPERIMENT, number)
        edges, awake = np.array(whole.edges), np.ones(n, bool)
        if f.what == "edges":
            up = uniform(key, len(edges)) < f.p
        else:
            awake = uniform(key, n) < np.sqrt(f.p)
            up = awake[edges].all(axis=1)
        up = set(map(tuple, edges[up].tolist()))
        self._links = [left_of(whole.links(i), i, up) for i in range(n)]
        self.active = [i for i in range(n) if (awake[i] if f.restless else self._links[i].hears)]

    def links(self, i):
        return self._links[i]


def left_of(links, i, up):
    """Return the links of agent i over the edges that are up."""
    pairs = zip(links.hears, links.weights, strict=True)
    heard = {j: w for j, w in pairs if (min(i, j), max(i, j)) in up}
    return Links(tuple(heard), tuple(heard.values()), tuple(heard))


class LateAgent(Agent):
    """An agent that first takes in what its links have missed."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.late = []  # (member, message)

    def mix(self, received, *memories, scales=None, alpha=1.0):
        for member, message in self.late:
            for stream, memory in enumerate(memories):
                weight, acc = memory.target(member, 1.0, alpha)
                message = message[self._decode_add(member, stream, message, weight, acc) :]
                if alpha != 1:
                    memory.h[member] += alpha * acc
        self.late.clear()
        super().mix(received, *memories, scales=scales, alpha=alpha)


class UnreliableTransport(LocalTransport):
    """Carries the messages of the active agents over the edges that are up, late ones first."""

    def __init__(self, topology, receivers, late):
        super().__init__(topology)
        self.topology, self.receivers, self.late = topology, receivers, late
        self.part, self.missed = topology.at(0), defaultdict(list)

    def exchange(self, payloads):
        sent = dict(zip(self.part.active, payloads, strict=True))
        for i, payload in sent.items():
            up = self.part.links(i).tells
            if up or self.late:
                self.count(payload, len(up))
            if self.late:
                for j in set(self.topology.neighbours(i)) - set(up):
                    self.missed[i, j].append(payload.copy())
        return [self.received(j, sent) for j in sent]

    def received(self, j, sent):
        hears, messages = self.part.links(j).hears, []
        for member, i in enumerate(self.topology.neighbours(j), start=1):
            messages.append(sent[i] if i in hears else NOTHING)
            for missed in self.missed.pop((i, j), []) if i in hears else []:
                self.traffic.nbytes_on_wire += missed.size
                self.receivers[j].late.append((member, missed))
        return messages


def stationarity(agents, models):
    """Return P of the models of all agents."""
    xbar, g = np.mean(models, axis=0), np.empty_like(models)
    for agent, row in zip(agents, g, strict=True):
        agent.cost.gradient(xbar, row)
    return (g.mean(axis=0) ** 2).sum() + ((models - xbar) ** 2).sum() / len(models)


def run(case, seed, way, failing, factor):
    """Return {accuracy: (iterations, bytes, bytes of all copies)}, without those not reached."""
    config = case.config
    algorithm, compressor = config.algorithm, config.compressor
    algorithm = replace(algorithm, eta=factor * algorithm.eta)
    if isinstance(algorithm, Zed):
        algorithm = algorithm.with_numbers(**Zed.constants)
        compressor = replace(compressor, activity=0.5)  # zoom's own when the tables were made
    problem = replace(config.problem, seed=seed)
    topology = Unreliable(problem.topology, failing, seed)
    agents = [
        LateAgent(i, problem.cost(i), topology, compressor, seed=0, vectors=algorithm.vectors)
        for i in range(problem.agents)
    ]
    hosted = [Hosted(a, algorithm.init(a, problem.start_point(a.index, a.cost))) for a in agents]
    transport, found = UnreliableTransport(topology, agents, way == "late"), {}

    def accuracy_now():
        return stationarity(agents, np.array([algorithm.view(h.state).model for h in hosted]))

    start = accuracy_now()
    for k in range(1, LIMIT + 1):
        transport.part = topology.at(k)
        try:
            iterate(algorithm, [hosted[i] for i in transport.part.active], transport, k)
        except (DivergedError, MessageError):
            break
        if k % EVERY:
            continue
        P = accuracy_now()
        for accuracy in ACCURACIES:
            if accuracy >= P and accuracy not in found:
                traffic, n = transport.traffic, len(agents)
                found[accuracy] = (k, traffic.nbytes / n, traffic.nbytes_on_wire / n)
        if len(found) == len(ACCURACIES) or not np.isfinite(P) or start < P / 1e6:
            break
    return found


def best_factor(case, way, failing):
    """Choose the factor that takes the fewest iterations on the tuning seeds."""

    def effort(factor):
        runs = [run(case, seed, way, failing, factor) for seed in TUNING_SEEDS]
        return sum(found.get(ACCURACIES[-1], (2 * LIMIT,))[0] for found in runs)

    return min(FACTORS, key=effort)


def summary(runs, accuracy, factor, p):
    """Return medians of one method at one p, by the keys of `columns`."""
    reached = [found[accuracy] for found in runs if accuracy in found]
    if not reached:
        return {}
    k, once, copies = (median(column) for column in zip(*reached, strict=True))
    values = {
        "k": k, "once": once, "copies": copies,
        "slower": f"eta x {factor:g}" if factor != 1 else "",
        "some": f"({len(reached)} of {len(runs)})" if len(reached) < len(runs) else "",
    }  # fmt: skip
    return {f"{name}_{p:g}": value for name, value in values.items()}


def columns(probabilities):
    """Make the columns: iterations, bytes, bytes of all copies at every p."""
    made = [Column("what", "fail"), Column("method", "method")]
    for p in probabilities:
        marks = {f"slower_{p:g}": "{}, {}", f"some_{p:g}": "{} {}"}
        made += [
            Column(f"k_{p:g}", f"p = {p:g}", write=write_count),
            Column(f"once_{p:g}", "", write=write_count, join=", "),
            Column(f"copies_{p:g}", "", "B", "", lambda n: f"{n:.0f} B", join=" / ", marks=marks),
        ]
    return made


def main():
    given = options(
        __doc__, "restless",
        burst={"type": int, "default": 1, "help": "iterations for which a draw holds"},
    )  # fmt: skip
    warnings.simplefilter("ignore")  # runs that diverge overflow
    seeds = SEEDS[:1] if given.quick else SEEDS
    probabilities = (0.7,) if given.quick else PROBABILITIES
    for title, suite in list(SUITES.items())[: 1 if given.quick else None]:
        cases = load_suite(EXPERIMENTS / f"{suite}.toml", [], Path("unused")).cases
        cases = {case.label: case for case in reversed(cases)}
        rows = {accuracy: [] for accuracy in ACCURACIES}
        for what, method in ((w, m) for w, methods in METHODS.items() for m in methods):
            label, _, way = method.partition(", ")
            told = {accuracy: {"what": what, "method": method} for accuracy in ACCURACIES}
            for p in probabilities:
                failing = Failing(what, p, given.burst, given.restless)
                factor = 1.0 if given.quick else best_factor(cases[label], way, failing)
                runs = [run(cases[label], seed, way, failing, factor) for seed in seeds]
                for accuracy in ACCURACIES:
                    told[accuracy] |= summary(runs, accuracy, factor, p)
            for accuracy in ACCURACIES:
                rows[accuracy].append(told[accuracy])
        for accuracy in ACCURACIES:
            show(f"{title}, to P <= {accuracy:g}", columns(probabilities), rows[accuracy])


if __name__ == "__main__":
    main()
