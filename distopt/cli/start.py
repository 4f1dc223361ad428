"""Start the ranks of a command, listen to them, and print what they come to."""

import os
import shlex
from typing import TYPE_CHECKING, Any

import typer

from distopt.cli.options import How
from distopt.mpirun.launcher import PARENT, debugging, tell

if TYPE_CHECKING:
    from distopt.engine.outcome import Result


def start(command: list[str], how: How) -> None:
    """Run an MPI job, show its progress and its result; fail as it fails."""
    from distopt.mpirun.job import Job
    from distopt.show import console

    results: list[dict[str, Any]] = []
    with console.ProgressView(how.quiet) as view:

        def on_event(event: dict[str, Any]) -> None:
            if event["event"] == "result":
                results.append(event)
            else:
                view.take(event)

        if debugging():
            console.say(shlex.join(command))
        outcome = Job(command, on_event, view.pass_on).wait()
    for sentence in outcome.sentences:
        console.say(sentence)
    if results and not outcome.code:
        present(results[-1], how)
    if outcome.code:
        raise typer.Exit(outcome.code)


def deliver(result: "Result", how: How) -> None:
    """Print the result of a run here, or pass it to the parent of this rank."""
    if not result.root:
        return
    told = {"summary": result.summary, "warnings": result.warnings, "hint": result.resume_hint}
    if PARENT in os.environ:
        tell("result", **told)
        tell("over")
    else:
        present(told, how)


def present(result: dict[str, Any], how: How) -> None:
    """Print a result."""
    from distopt.show import console

    if how.as_json or how.quiet:
        console.show_warnings(result["warnings"], result["hint"])
    else:
        console.show_summary(result["summary"], result["warnings"], result["hint"])
    if how.as_json:
        console.write_json(result["summary"])
