"""Print what a study found: tables for people, tables in a format, or JSON objects."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from distopt.cli.options import How

if TYPE_CHECKING:
    from distopt.studies.results import Results


def deliver_tables(
    tables: Sequence["Results"],
    objects: Iterable[Mapping[str, Any]],
    written: Sequence[Path],
    how: How,
    failures: Sequence[str] = (),
) -> None:
    """Print tables, or with --json the objects instead; fail if anything has failed.

    The objects say the same and more, for programs. `written` are files to be named, `failures` are
    sentences for standard error.
    """
    from distopt.show import console, render

    for sentence in failures:
        console.say(sentence)
    if how.format:
        typer.echo("\n\n".join(render.FORMATS[how.format](table) for table in tables))
    elif how.as_json:
        for each in objects:
            console.write_json(each)
    elif not how.quiet:
        terminal = console.output()
        for table in tables:
            render.to_terminal(table, terminal)
        if written:
            terminal.print(f"written: {', '.join(map(str, written))}", markup=False)
    if failures:
        raise typer.Exit(1)
