"""``distopt list``: print what a configuration can name.

Reading it from the classes imports them all, which takes a second of processor time, and laying it out
takes a seventh of one, so both results are kept in the user's cache folder until a file of distopt changes.
Where other distributions offer members, whose files may change too, it is read each time.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from distopt.core.errors import DistoptError
from distopt.core.files import write_whole
from distopt.mpirun.environment import usable, user_cache
from distopt.show.console import output, write_json

A = TypeVar("A")  # what JSON can hold
DEFAULT = {
    "algorithms": "the default, to be taken where nothing speaks for another: docs/choose.md",
    "topologies": "the default",
}


def print_members(kinds: list[str], dimension: int, as_json: bool) -> None:
    """Print the members of some registries."""

    def read() -> dict[str, Any]:
        from distopt.show.listing import contents

        return contents(kinds, dimension)

    def members() -> dict[str, Any]:
        return remembered(f"{kinds} {dimension}", read)

    if as_json:
        write_json({kind: table["members"] for kind, table in members().items()})
        return
    console = output()
    look = f"{console.width} {console.color_system} {console.encoding}"
    text = remembered(f"{kinds} {dimension} {look}", lambda: written(members(), console))
    sys.stdout.write(text)


def written(found: dict[str, Any], console: Console) -> str:
    """Write what `contents` gave as a console prints it."""
    with console.capture() as capture:
        for kind, table in found.items():
            console.print(f"\n[bold underline]{kind}[/]  [dim]{escape(table['named by'])}[/]")
            for member in table["members"]:
                default = f"  [green]({DEFAULT[kind]})[/]" if member["default"] else ""
                name = f"[bold cyan]{member['name']}[/]"
                console.print(f"{name}{default}  {escape(member['summary'])}")
                for line in member.get("properties", []):
                    console.print(f"    [green]{escape(line)}[/]")
                grid = Table.grid(padding=(0, 2, 0, 0))
                for parameter in member["parameters"]:
                    grid.add_row(*map(escape, parameter.values()))
                if grid.row_count:
                    console.print(Padding.indent(grid, 4))
            if table["own"]:
                console.print(
                    f'[bold cyan]{table["own"]}[/]  A class of your own: file = "mine.py" (docs: python).'
                )
    return capture.get()


def remembered(question: str, read: Callable[[], A]) -> A:
    """Return the answer that is kept in the cache folder, if nothing has changed since; else read it."""
    if any(group.startswith("distopt.") for group in entry_points().groups):
        return read()
    folder, now = user_cache(), state()
    path = folder / f"list-{hashlib.sha256(question.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        if kept["state"] == now:
            return kept["answer"]  # type: ignore[no-any-return]
    answer = read()
    if usable(folder):
        with suppress(DistoptError):
            write_whole(path, json.dumps({"state": now, "answer": answer}).encode())
    return answer


def state() -> str:
    """Return a checksum of what the list depends on: Python, and when the package's files were changed."""
    package = Path(__file__).parents[1]
    files = sorted((str(path), path.stat().st_mtime_ns) for path in package.rglob("*.py"))
    return hashlib.sha256(repr((sys.version, files)).encode()).hexdigest()
