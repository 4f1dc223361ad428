"""``distopt report``: one run as a self-contained page and PNG figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distopt.core import units as q
from distopt.core.files import write_files
from distopt.engine.failures import Failure, failures_in, totals
from distopt.engine.stopping import REASONS
from distopt.record.reader import RunData, load
from distopt.show import page
from distopt.show.console import step_line
from distopt.show.figures import Sheet, png
from distopt.show.render import to_html
from distopt.show.run_figures import of_run
from distopt.studies.best import best_minima
from distopt.studies.results import Results

SHOWN = 3  # failures on the page
STATUS = {
    "running": "still running or interrupted",
    "stopped": "can be resumed",
    "finished": "finished",
}


def write_reports(run_dirs: Sequence[Path]) -> Iterator[Path]:
    """Write report.html and its figures into run directories; yield the paths of the pages.

    Objectives are drawn above the best minimum that any of the runs knows of its problem.

    Raises
    ------
    CheckpointError
        If there is no readable record.
    DistoptError
        If a directory cannot be written.
    """
    runs = [load(run_dir) for run_dir in run_dirs]
    for run_dir, run, best in zip(run_dirs, runs, best_minima(runs), strict=True):
        sheets = of_run(run, best)
        contents = {f"{sheet.name}.png": png(sheet.whole()) for sheet in sheets}
        contents["report.html"] = report_page(run, sheets).encode()
        yield write_files(run_dir, contents)[-1]


def report_page(history: RunData, sheets: Sequence[Sheet]) -> str:
    """Compose the page of one run; `sheets` are its figures, the topology first."""
    meta = history.meta
    graph, *rest = sheets
    title = f"{meta['algorithm']} with {meta['compressor']}"
    problem, links = history.config.get("problem", {}), history.config.get("topology", {})
    lead = ", ".join(
        [
            str(problem.get("name", "")),
            str(problem.get("dataset", "")),
            f"{q.count(meta['agents'], 'agent')} on {q.a(links.get('graph', 'given') + ' graph')}",
            q.count(meta["dimension"], "unknown"),
            f"{'simulated' if meta['engine'] == 'simulate' else 'MPI'} on {meta['host']}",
        ]
    ).replace(", ,", ",")
    reason = REASONS.get(meta["stop_reason"], meta["stop_reason"])
    state = STATUS.get(meta["status"], meta["status"]) + (f" ({reason})" if reason else "")
    bits = f"{history.bits:.3g}" if np.isfinite(history.bits) else "-"
    parts = [
        page.head(title, f"{lead}. Run {history.name}, {state}."),
        page.cards(
            {
                "P at the end": q.small(history.last("stationarity"), 3),
                "consensus error": q.small(history.last("consensus_error"), 3),
                "objective f(x̄)": f"{history.last('objective'):.6g}",
                "iterations": f"{history.last('iteration'):.0f}",
                "sent per agent": q.nbytes(history.last("bytes_per_agent")),
                "bits per coordinate": bits,
                "algorithm time": q.seconds(history.last("seconds")),
            }
        ),
        *notes(history),
        page.section("Figures", page.figures(map(page.sheet, rest))),
        page.columns(
            page.section("Topology", page.sheet(graph)),
            page.section("Constants", constants_table(history)),
        ),
        page.section("Bytes by kind", bytes_table(history)),
        page.section("Seconds by phase", seconds_table(history)),
        page.columns(
            page.section("Configuration, resolved", page.code(meta["config"])),
            page.section("Versions", page.code(listed(meta["versions"]))),
        ),
    ]
    return page.page(f"{title}: {history.name}", parts)


def notes(history: RunData) -> list[str]:
    """Say what must be known before the numbers are believed."""
    meta, found = history.meta, []
    if meta["lyapunov"]:
        found.append(page.note(certificate(history)))
    for at in meta.get("breaks") or ():
        who = " and ".join(map(str, at["lost"]))
        found.append(
            page.note(
                f"After iteration {at['iteration']} agent {who} was lost. The other {at['agents']} went "
                "on; from there all means are over them, and f is the average of their costs.",
                warning=True,
            )
        )
    if failures := failures_in(meta):
        found.append(page.note(survived(failures), warning=True))
    if "step" in history.series:
        found.append(page.note(f"The step was searched: {step_line(step_of(history))}."))
    violations = history.last("ball_violations", 0)
    if violations:
        found.append(
            page.note(
                f"{violations:.0f} compressed arguments were outside the unit ball, so this run has "
                "left the theory of cgt3; larger s0x, s0y or mu keep it inside.",
                warning=True,
            )
        )
    if meta["status"] == "running":
        found.append(
            page.note("The run has not ended: these are its records so far.", warning=True)
        )
    return found


def survived(failures: list[Failure]) -> str:
    """Say from which failures a run was restarted, and what this cost."""
    cost = totals(failures)
    listed = [f"At about iteration {f.iteration}: {f.reason}" for f in failures[:SHOWN]]
    if len(failures) > SHOWN:
        listed.append(f"And {len(failures) - SHOWN} more.")
    return (
        f"Restarted after {q.count(cost['failures'], 'failure')}; {cost['iterations_repeated']} iterations "
        f"were done twice and {q.seconds(cost['seconds_lost'])} lost. The numbers are those of an "
        f"undisturbed run. {' '.join(listed)}"
    )


def step_of(history: RunData) -> dict[str, float]:
    """Return what a search for the step came to, as in a summary."""
    return {
        "first": history["step"][0],
        "last": history.last("step"),
        "decisions": history.last("step_decisions"),
        "returns": history.last("step_returns"),
        "bytes_per_agent": history.last("step_bytes") / int(history.meta["agents"]),
    }


def certificate(history: RunData) -> str:
    """Say what the flag ``certified`` of this run means."""
    name = history.meta["lyapunov"]
    if history.meta["certified"]:
        return (
            f"certified = true: the weights of {name} solve the inequalities of the theory for the "
            "steps of this run, so its expected value is proven not to increase."
        )
    return (
        f"certified = false: no weights are proven for the steps of this run, which is normal in "
        f"practice; {name} is recorded with practical weights. It shows how the errors move, it "
        "proves nothing."
    )


def bytes_table(history: RunData) -> str:
    """Tabulate what was sent."""
    last, agents = history.last, int(history.meta["agents"])
    messages = last("messages_per_agent")
    on_wire, overhead = last("bytes_on_wire"), last("diagnostics_bytes")
    size = on_wire / (messages * agents) if messages else np.nan
    rows = [
        ("algorithm, per agent\na broadcast to all neighbours counted once",
         q.nbytes(last("bytes_per_agent")), f"{last('bytes_per_agent'):,.0f}"),
        ("algorithm, on wire\nevery copy of every agent", q.nbytes(on_wire), f"{on_wire:,.0f}"),
        ("messages per agent\ncopies handed to the transport", f"{messages:,.0f}",
         f"mean size {q.nbytes(size)}"),
        ("diagnostics, all agents\nfor these records; in none of the above", q.nbytes(overhead),
         f"{overhead:,.0f}"),
        ("on wire, with records", q.nbytes(on_wire + overhead), f"{on_wire + overhead:,.0f}"),
    ]  # fmt: skip
    return to_html(Results.of_words("Bytes by kind", ("kind", "amount", "exactly"), rows))


def seconds_table(history: RunData) -> str:
    """Tabulate where the time went."""
    total = history.last("seconds")
    phases = {
        "gradients": history.last("seconds_gradient"),
        "compression\nencoding, decoding, mixing": history.last("seconds_compression"),
        "communication\nwaiting included": history.last("seconds_communication"),
    }
    phases["other\nupdates and the loop"] = max(total - sum(phases.values()), 0.0)
    rows = [
        (name, q.seconds(spent), q.share(spent / total if total else None))
        for name, spent in phases.items()
    ]
    rows.append(("algorithm, in total", q.seconds(total), q.share(1.0)))
    spent = history.last("seconds_diagnostics")
    rows.append(("diagnostics\nrecords and checkpoints, apart", q.seconds(spent), ""))
    rows.append(("in total, with records", q.seconds(total + spent), ""))
    return to_html(Results.of_words("Seconds by phase", ("phase", "time", "share"), rows))


def constants_table(history: RunData) -> str:
    """Tabulate the constants that the theory knows."""
    meta = history.meta
    guarantee = meta["guarantee"] or {}
    numbers = ", ".join(f"{k} = {v:.4g}" for k, v in guarantee.items() if k != "class")
    known = meta["smoothness"] if np.isfinite(meta["smoothness"]) else None
    rows = [
        ("spectral gap of the graph", f"{meta['spectral_gap']:.6g}"),
        ("kappa = ‖W - I‖", f"{meta['kappa']:.6g}"),
        ("smoothness L, largest of any agent", "unknown" if known is None else f"{known:.6g}"),
        (f"minimum of f ({meta['minimum_kind']})", f"{meta['minimum']:.10g}"),
        ("compressor's class", f"{guarantee.get('class', 'none')} {numbers}".strip()),
    ]
    if meta["lyapunov_weights"]:
        weights = meta["lyapunov_weights"].items()
        rows += [(f"weight of {name} in {meta['lyapunov']}", f"{w:.4g}") for name, w in weights]
    return to_html(Results.of_words("Constants", ("constant", "value"), rows))


def listed(versions: dict[str, str]) -> str:
    """Write names and versions, aligned."""
    width = max(map(len, versions), default=0)
    return "\n".join(f"{name:<{width}}  {version}" for name, version in versions.items())
