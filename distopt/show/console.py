"""What a user sees in the terminal: progress on standard error, results on standard output."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape

from distopt.core import units as q
from distopt.core.files import as_json
from distopt.core.rank import this_rank
from distopt.engine.stopping import REASONS

if TYPE_CHECKING:
    from distopt.engine.loop import Progress

LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal
PLAIN_WIDTH = 160  # of tables that do not go to a terminal


def output() -> Console:
    """Return the console of results; where it is not a terminal, as wide as its tables need."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def say(sentence: str) -> None:
    """Print one line to standard error, marked as ours."""
    sys.stderr.write(f"distopt: {sentence}\n")
    sys.stderr.flush()


def write_json(item: Mapping[str, Any]) -> None:
    """Print one JSON object as one line of standard output; numbers that are not finite are null."""
    sys.stdout.write(as_json(item) + "\n")
    sys.stdout.flush()


class ProgressView:
    """Shows how far runs are, unless quiet: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.label = ""
        self._bar: Any = None
        self._printed: float | None = None

    def __enter__(self) -> Self:
        """Start; the bar appears with `begin`, else with the first `report`."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self.clear()

    def begin(self, label: str) -> None:
        """Name the run that `report` will be about, "" for the only one; it is being set up."""
        self.clear()
        self.label = label
        self._printed = None
        if not self.quiet and sys.stderr.isatty():
            self._show(None, None, "setting up")

    def report(self, progress: "Progress") -> None:
        """Report on the present run."""
        if self.quiet:
            return
        p = progress
        if not sys.stderr.isatty():
            now = time.monotonic()
            self._printed = self._printed or now
            if now - self._printed >= LINE_SECONDS:
                self._printed = now
                name = f"{self.label}: " if self.label else ""
                say(
                    f"{name}iteration {p.iteration} of {p.iterations}, "
                    f"P = {q.small(p.stationarity)}, {q.seconds(p.seconds)}"
                )
            return
        self._show(p.iteration, p.iterations, f"P = {q.small(p.stationarity)}")

    def _show(self, done: int | None, total: int | None, state: str) -> None:
        """Bring the bar up to date; `total` is not known before the first report."""
        if self._bar is None:
            self._bar = make_bar()
            self._bar.add_task(self.label or "running", total=total, P=state)
            self._bar.start()
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done, total=total, P=state)

    def done(self, label: str, line: str) -> None:
        """Say how a run of several ended."""
        self.clear()
        if not self.quiet:
            say(f"{label}: {line}")

    def failed(self, label: str, reason: str) -> None:
        """Say why a run of several failed."""
        self.done(label, f"failed. {reason}")

    def pass_on(self, line: str) -> None:
        """Print a line of another program to standard error, above the bar if there is one."""
        if self._bar is None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        else:
            self._bar.console.print(line, highlight=False, markup=False)

    def say(self, sentence: str) -> None:
        """Print a sentence, marked as ours."""
        self.pass_on(f"distopt: {sentence}")

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_view(quiet: bool) -> ProgressView:
    """Make the view of this process; of ranks only rank 0 shows anything."""
    return ProgressView(quiet or this_rank() not in {None, 0})


def make_bar() -> Any:
    """Make the bar of one run."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[P]}"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def show_summary(summary: Mapping[str, Any], warnings: Sequence[str], hint: str | None) -> None:
    """Print the result of a run."""
    s = summary
    spent, reason = s["seconds"], REASONS.get(s["stop_reason"], s["stop_reason"])
    lines = {
        "result": f"{q.count(s['iterations'], 'iteration')}, {reason}",
        "parameters": parameters_line(s["parameters"]),
        "P": f"{q.small(s['stationarity'], 3)}   (consensus error "
        f"{q.small(s['consensus_error'], 3)}, gradient norm {q.small(s['gradient_norm'], 3)})",
        "objective": f"{s['objective']:.10g}",
        **{name: f"{value:.6g}" for name, value in (s.get("measures") or {}).items()},
        "sent": f"{q.nbytes(s['bytes_per_agent'])} per agent, {q.nbytes(s['bytes_on_wire'])} on wire; "
        f"{s['bits_per_coordinate']:.3g} bits per coordinate and message",
        "time": f"{q.seconds(spent['algorithm'])} (communication "
        f"{q.seconds(spent['communication'])}), diagnostics {q.seconds(spent['diagnostics'])}",
        "with records": f"{q.nbytes(s['bytes_on_wire'] + s['diagnostics_bytes'])} on wire, "
        f"{q.seconds(spent['algorithm'] + spent['diagnostics'])}",
    }
    if s.get("step"):
        lines["step"] = step_line(s["step"])
    if s.get("lyapunov") is not None:
        certified = "certified" if s["certified"] else "practical weights, not certified"
        lines["Lyapunov"] = f"{q.small(s['lyapunov'], 3)} ({certified})"
    if s["lost"]:
        lines["lost"] = f"agent {' and '.join(map(str, s['lost']))}; the others went on"
    if s["failures"]:
        lines["restarted"] = (
            f"after {q.count(s['failures'], 'failure')}: {s['iterations_repeated']} iterations repeated, "
            f"{q.seconds(s['seconds_lost'])} lost"
        )
    if s.get("ball_violations"):
        lines["outside ball"] = q.count(s["ball_violations"], "argument")
    if s.get("run_dir"):
        lines["kept in"] = s["run_dir"]
    agents = q.count(s["agents"], "agent")
    title = f"{s['algorithm']} with {s['compressor']}, {agents}, d = {s['dimension']}"
    console = output()
    console.print(f"[bold]{title}")
    width = max(12, *map(len, lines))
    for name, text in lines.items():
        console.print(f"  [cyan]{name:<{width}}[/]  {escape(text)}")
    show_warnings(warnings, hint)


def parameters_line(parameters: Mapping[str, Any]) -> str:
    """Write an algorithm's parameters, which may have come from ``"auto"``, to four digits."""
    return ", ".join(
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in parameters.items()
        if key not in {"name", "file", "class"}
    )


def step_line(step: Mapping[str, float]) -> str:
    """Say what a search for the step came to and cost."""
    back = f", {q.count(step['returns'], 'time')} back" if step["returns"] else ""
    decisions = q.count(step["decisions"], "decision")
    return (
        f"eta from {step['first']:.3g} to {step['last']:.3g} in {decisions}{back}; "
        f"{q.nbytes(step['bytes_per_agent'])} per agent to agree"
    )


def show_warnings(warnings: Sequence[str], hint: str | None) -> None:
    """Print what a user should know besides the result."""
    for sentence in warnings:
        say(f"warning: {sentence}")
    if hint:
        say(hint)
