"""When to record: at a distance that the user sets, or so seldom that records cost next to nothing.

The decisions rest on what was sent, not on seconds, so they are the same on all processes, under every
engine, and in a run that was resumed. A message counts as some bytes more than it has, since it takes
time whatever it carries, and what a record computes counts as an iteration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import ceil, isfinite, log
from typing import Any

import numpy as np

from distopt.engine.diagnostics import Diagnostics
from distopt.engine.sketch import WIDTH, fill_sketch, signs_for, stationarity_of
from distopt.engine.team import Team
from distopt.transport.base import RECORD

SHARE = 0.05  # of what the algorithm sends, at most, goes into records
GLANCES = 0.02  # of it into glances, where there are any
ALLOWED = 2.0**18  # bytes an agent besides, so that short runs on short vectors are seen
EVERY = 10  # iterations between two records, at least
GLANCE_EVERY = 5  # and between two glances
CHEAPER = 4  # times, at least, a glance is cheaper than a record
# Bytes that take as long as a message's latency: 0.1 ms at 100 Mbit/s, 8 us at 1 Gbit/s.
MESSAGE = 1000.0
SHORT = 2.0**16  # bytes of an agent's vectors that nobody saves


@dataclass
class Plan:
    """What a checkpoint keeps of a schedule, so that a resumed run has the records of an undisturbed one.

    Bytes are those of an agent, on average; `spent` and `rate` count messages and computing as well.
    """

    last: int = -1  # iteration of the newest record
    next: int = 0  # of the next one, unless a glance demands one earlier
    glance: int = 0  # of the next glance
    pause: int = 0  # iterations from a record made in the hope to stop to the next such, at least
    stationarity: float = 0.0  # P of the newest record
    factor: float = 1.0  # P over the guess at the newest record with both
    spent: float = 0.0  # for records so far
    extras: float = 0.0  # bytes of trackers and gradients in them
    sent: float = 0.0  # bytes that the algorithm had sent at the newest record
    nbytes: float = 0.0  # that it sends in an iteration
    rate: float = 0.0  # what an iteration costs

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> "Plan":
        """Return what `asdict` gave of a plan."""
        return cls(**{f.name: kept[f.name] for f in fields(cls) if f.name in kept})


class Schedule:
    """Decides after which iterations a team records, and how much.

    With ``run.record_every = "auto"`` records are `EVERY` iterations apart, or as many more as keep their
    cost below `SHARE` of the algorithm's and `ALLOWED`. If the run stops at some P, records are made as
    well where it may be there. Where records are dear, the agents glance: they collect sketches of their
    x_i and gradients, which are a few numbers each, and guess P from them. Where they are not, P is taken
    to go on falling as between the last two records. After a wrong guess the pause to the next doubles.

    Parameters
    ----------
    team : Team
    diagnostics : Diagnostics
    """

    def __init__(self, team: Team, diagnostics: Diagnostics) -> None:
        self.team, self.diagnostics = team, diagnostics
        self.settings = team.parts.run
        self.plan = Plan.restored(team.records)
        self.agents = team.transport.agents
        self.guess = np.nan
        glance = (self.agents - 1) * (16 * WIDTH + MESSAGE)
        self.glance_price = glance
        view = team.parts.algorithm.view(team.hosted[0].state)
        self.glancing = (
            self.settings.record_every == "auto"
            and self.settings.stop.stationarity > 0
            and view.gradient is not None
            and view.model.ndim == 1
            and self.price(trackers=False) > CHEAPER * glance
        )
        self.signs = signs_for(team.hosted[0].agent.dimension) if self.glancing else None

    def due(self) -> bool:
        """Whether to record now; all processes ask this together after every iteration."""
        done, plan = self.team.clock.iteration, self.plan
        if done == self.settings.iterations:
            return True
        if self.settings.record_every != "auto":
            return done % self.settings.record_every == 0
        if self.glancing and done >= min(plan.next, plan.glance):
            self.guess = self.look()
            bound = self.settings.stop.stationarity
            demanded = not isfinite(self.guess) or plan.factor * self.guess <= bound
            if done < plan.next:
                between = self.between_glances()
                plan.pause = max(2 * plan.pause, between) if demanded else between
                plan.glance = done + plan.pause
                return demanded
        return done >= plan.next

    def belongs(self, iteration: int) -> bool:
        """Whether a record made up to now is one of a run with these settings."""
        if iteration == self.settings.iterations:
            return True
        if self.settings.record_every == "auto":
            return iteration <= self.plan.last
        return iteration % self.settings.record_every == 0

    def newest(self) -> int:
        """Return the iteration of the newest record that a run has."""
        if self.settings.record_every == "auto":
            return self.plan.last
        return self.team.clock.iteration // self.settings.record_every * self.settings.record_every

    def trackers(self) -> bool:
        """Whether a record made now takes the means of trackers and gradients."""
        series, plan = self.settings.series, self.plan
        extra = self.diagnostics.nbytes(True) - self.diagnostics.nbytes(False)
        if series != "auto" or extra <= SHORT:
            return series != "light"
        sent = plan.sent + plan.nbytes * (self.team.clock.iteration - max(plan.last, 0))
        return plan.extras + extra <= SHARE * sent

    def made(self, row: Mapping[str, Any], trackers: bool) -> None:
        """Plan the next record after a new one, which took the trackers' means or did not."""
        done, plan = self.team.clock.iteration, self.plan
        every, last = self.settings.record_every, done == self.settings.iterations
        if last and (done < plan.next if every == "auto" else done % every):
            return  # a longer run would not have it
        before, plan.last = plan.last, done
        plan.sent = row["bytes_on_wire"] / self.agents
        plan.nbytes, messages = self.iteration(row)
        plan.rate = plan.nbytes + MESSAGE * messages
        plan.spent += self.price(trackers) + plan.rate - self.diagnostics.saved
        plan.extras += self.diagnostics.nbytes(trackers) - self.diagnostics.nbytes(False)
        factor, self.guess = row["stationarity"] / (self.guess or np.nan), np.nan
        plan.factor = factor if isfinite(factor) else plan.factor
        share = SHARE - GLANCES * self.glancing
        price = self.price(self.settings.series != "light") + plan.rate
        budget = ALLOWED + share * (plan.sent + MESSAGE * row["messages_per_agent"])
        wait = (plan.spent + price - budget) / (share * plan.rate) if plan.rate else 0.0
        wait = max(EVERY, ceil(wait))
        plan.glance = max(plan.glance, done + self.between_glances())
        if not self.glancing:
            wait = self.hope(wait, row["stationarity"], done - before)
        plan.next, plan.stationarity = done + wait, row["stationarity"]

    def hope(self, wait: int, now: float, passed: int) -> int:
        """Return the iterations until P = `now` may be where the run stops, `wait` if that is later.

        It goes on from the record `passed` iterations ago.
        """
        plan, bound = self.plan, self.settings.stop.stationarity
        if not (bound > 0 and bound < now < plan.stationarity < np.inf):
            return wait
        left = ceil(passed * log(now / bound) / log(plan.stationarity / now))
        plan.pause = max(2 * plan.pause, EVERY) if left < wait else 0
        return min(wait, max(left, plan.pause))

    def iteration(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Return bytes and messages of an agent in an iteration: so far, at first the most there can be."""
        done, problem = self.team.clock.iteration, self.team.parts.problem
        if done:
            return row["bytes_on_wire"] / self.agents / done, row["messages_per_agent"] / done
        topology = problem.topology
        degree = sum(topology.degree(i) for i in range(self.agents)) / self.agents
        most = self.team.parts.algorithm.max_nbytes(self.team.parts.compressor, problem.dimension)
        return degree * most, degree

    def price(self, trackers: bool) -> float:
        """Return what a record makes an agent send; what it computes is not in it."""
        messages = self.diagnostics.meetings(trackers) * (self.agents - 1)
        return self.diagnostics.nbytes(trackers) + MESSAGE * messages

    def between_glances(self) -> int:
        """Return the iterations between two glances."""
        wait = self.glance_price / (GLANCES * self.plan.rate) if self.plan.rate else 0.0
        return max(GLANCE_EVERY, ceil(wait))

    def look(self) -> float:
        """Guess P from sketches; all processes call this together and get the same number."""
        team = self.team
        team.transport.begin(RECORD, team.clock.iteration)
        sketches = np.empty((len(team.hosted), 2 * WIDTH))
        for h, row in zip(team.hosted, sketches, strict=True):
            view = team.parts.algorithm.view(h.state)
            assert self.signs is not None
            assert view.gradient is not None
            fill_sketch(view.model, self.signs, row[:WIDTH])
            fill_sketch(view.gradient, self.signs, row[WIDTH:])
        table = team.transport.collect(sketches)
        return stationarity_of(table[:, :WIDTH], table[:, WIDTH:])

    def table(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        return asdict(self.plan)
