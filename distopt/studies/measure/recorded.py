"""The timed run once more, as a run does it: with records as they are by default."""

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from distopt.config.build import Config
from distopt.engine.journal import Journal
from distopt.engine.schedule import SHARE
from distopt.engine.team import prepare
from distopt.studies.measure.exchange import meet
from distopt.transport.base import Traffic, Transport


def time_recorded(
    config: Config, transport: Transport, last: int, finest: dict[str, Any] | None
) -> dict[str, Any]:
    """Iterate with records until they show the finest accuracy reached, or `last` times.

    Gives `finest`, the entry of that accuracy, its ``seconds_recorded`` and ``bytes_recorded`` (of all
    agents, every copy). Where its time is projected, records are taken to cost their full `SHARE` of the
    rest. All ranks call this together.

    Returns
    -------
    dict
        ``seconds`` of records and glances in so many ``iterations``.
    """
    accuracy = finest["accuracy"] if finest else 0.0
    if finest and not finest["projected"]:
        last *= 2  # glances may find it a little later
    stop = config.run.stop.model_copy(update={"stationarity": accuracy})
    run = {"iterations": last, "record_every": "auto", "series": "auto", "stop": stop}
    transport.traffic = Traffic()
    team = prepare(replace(config, run=config.run.model_copy(update=run)), transport)
    journal = Journal(team)
    meet(transport)
    began = perf_counter()
    journal.begin()
    while journal.latest["stationarity"] > accuracy and team.clock.iteration < last:
        team.iterate()
        if journal.due():
            journal.record()
    spent = np.array([[perf_counter() - began, team.clock.diagnostics_seconds]])
    whole, records = map(float, transport.collect(spent).max(axis=0))
    if finest:
        row = journal.latest
        seconds, nbytes = whole, row["bytes_on_wire"] + row["diagnostics_bytes"]
        if finest["projected"]:
            seconds += (1 + SHARE) * (finest["seconds"] - (whole - records))
            nbytes += (1 + SHARE) * (finest["bytes_on_wire"] - row["bytes_on_wire"])
        finest |= {"seconds_recorded": seconds, "bytes_recorded": float(nbytes)}
    return {"seconds": records, "iterations": team.clock.iteration}
