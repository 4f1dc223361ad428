"""What was tried with zed's messages and did not pay (docs/zooming.md, "Tried further").

    python benchmarks/zoom_tried.py              problem seeds 100 to 104, which no suite reports
    python benchmarks/zoom_tried.py --quick      one problem, one seed: only prove that it runs

Everything is the encoder's choice or a rule that both ends follow from the codes; bytes are the lengths of
what was handed to the transport.
"""

import warnings
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from shared import EXPERIMENTS, options, show
from tune import PROBLEMS

from distopt.compressors.coders.range_model import CONTEXTS, ROW, STEP, context
from distopt.compressors.zoom import CAP, HIGHEST, Zoom
from distopt.compressors.zooming import (
    UNSET,
    power_of_two,
    quantise,
    write_first_scales,
)
from distopt.config.build import make_config
from distopt.core.errors import DistoptError
from distopt.core.parameters import Field, parameters
from distopt.engine.run import run
from distopt.studies.results import Column, write_count

SEEDS = (100, 101, 102, 103, 104)
ETA = {"zoom_pl": 0.016, "zoom_logistic": 2.5, "zoom_breast_cancer": 1.26}


@parameters("compressor")
class Tried(Zoom):
    """zoom, for one block, with ideas that are off by default; then it is zoom to the byte."""

    rounding: Annotated[float, Field(ge=0.3, lt=1)] = 0.55  # below 0.5: a wider dead zone
    trigger: Annotated[float, Field(ge=0)] = 0.0  # a mean of min(|q|, 6) below it sends nothing
    price: Annotated[float, Field(ge=0)] = 0.0  # a code that costs b bits more is b price rarer

    def encode(self, x, out, key, state, work):
        bounds, level = state["bounds"], state["level"]
        codes = work.array("codes", x.size, np.int16)
        at = write_first_scales(x, bounds, level, out)
        quantise(x, bounds, level, self.rounding, HIGHEST, codes)
        if self.price and level[0] != UNSET:
            sizes = np.abs(x) / power_of_two(level[0])
            keep = sizes + self.rounding - self.price * extra_bits(x, state) >= 1.0
            codes[sizes < 1.0] = (np.sign(x) * keep)[sizes < 1.0]
        if np.minimum(np.abs(codes), CAP).mean() < self.trigger:
            codes[:] = 0  # costs no byte: a payload without bytes is decoded as zeros
        self.follow(codes, bounds, level)
        return at + self.coder(x.size).encode(codes, out[at:], state, work)


class Watched(Tried):
    """Keeps its states, for what can be learned from them."""

    states: ClassVar[list] = []

    def new_state(self, d):
        self.states.append(super().new_state(d))
        return self.states[-1]


class Taught(Tried):
    """Begins with the counts that a run on another problem ended with, scaled down."""

    symbols: ClassVar = np.zeros(0)

    def new_state(self, d):
        return super().new_state(d) | {"symbols": self.symbols.copy()}

    @classmethod
    def teach(cls):
        """Learn from the PL cost on a seed that is not measured."""
        reach("zoom_pl", Watched(), 110)
        rows = sum(s["symbols"].astype(float) for s in Watched.states).reshape(CONTEXTS, ROW)
        rows *= 20 * STEP / rows.sum(axis=1, keepdims=True)
        rows[:, :5] = np.maximum(np.round(rows[:, :5]), 3)
        cls.symbols = rows.ravel().astype(np.uint32)


def extra_bits(x, state):
    """Return, of every coordinate, the bits that +-1 costs more than 0, the mean over all subtracted."""
    counts = state["symbols"].reshape(CONTEXTS, ROW)
    rows = np.array([context(h) // ROW for h in state["recent"]])
    other = (x < 0.0) != (state["recent"] & 1 > 0)
    bits = np.log2(counts[rows, 0] / counts[rows, 1 + other])
    return bits - bits.mean()


# Fields of `Tried`; None is `Taught`.
VARIANTS = {
    "zoom": {},
    "taught": None,
    "rounding 0.45": {"rounding": 0.45},
    "trigger 0.2": {"trigger": 0.2},
    "trigger 0.3": {"trigger": 0.3},
    "trigger 0.4": {"trigger": 0.4},
    "price 0.03": {"price": 0.03},
    "price 0.06": {"price": 0.06},
    "gain 0.7": {"gain": 0.7},
    "gain 1.4": {"gain": 1.4},
    "gain 2": {"gain": 2.0},
    "gain 1.4, activity 0.4": {"gain": 1.4, "activity": 0.4},
    "gain 2, activity 0.38": {"gain": 2.0, "activity": 0.38},
}


def reach(suite, compressor, seed):
    """Return (iterations, bytes per agent) to 1e-10, infinite where it is not reached."""
    tables = {name: dict(table) for name, table in PROBLEMS[suite].items()}
    tables["problem"]["seed"] = tables["run"]["seed"] = seed
    config = make_config(tables | {"algorithm": {"name": "zed", "eta": ETA[suite]}}, EXPERIMENTS)
    try:
        s = run(replace(config, compressor=compressor), engine="simulate").summary
    except DistoptError:
        return np.inf, np.inf
    if s["stop_reason"] != "stop.stationarity":
        return np.inf, np.inf
    return s["iterations"], s["bytes_per_agent"]


def main():
    given = options(__doc__)
    warnings.simplefilter("ignore")  # diverging runs overflow
    suites, seeds = (list(ETA)[:1], SEEDS[:1]) if given.quick else (list(ETA), SEEDS)
    Taught.teach()
    columns, rows = [Column("tried", "")], []
    for suite in suites:
        columns += [
            Column(f"{suite}_k", suite.removeprefix("zoom_"), write=write_count),
            Column(f"{suite}_bytes", "", "B", "", lambda n: f"{n:.0f} B", join=", "),
            Column(f"{suite}_reached", "", write="({})".format, join=" "),
        ]
    for label, fields in VARIANTS.items():
        row = {"tried": label}
        for suite in suites:
            tried = Taught() if fields is None else Tried(**fields)
            found = [reach(suite, tried, seed) for seed in seeds]
            row[f"{suite}_k"], row[f"{suite}_bytes"] = np.median(found, axis=0)
            some = sum(np.isfinite(k) for k, _ in found)
            row[f"{suite}_reached"] = f"{some} of {len(found)}"
        rows.append(row)
    show("iterations, bytes, seeds", columns, rows)


if __name__ == "__main__":
    main()
