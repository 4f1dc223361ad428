"""``distopt list``: what a configuration can name."""

from typing import Annotated

from typer import Argument, Option

from distopt.cli import DIMENSION, LISTED, options
from distopt.core.errors import ConfigError


def list_members(
    kind: Annotated[
        str | None, Argument(metavar=f"[{'|'.join(LISTED)}]", help="All by default.")
    ] = None,
    dimension: Annotated[
        int, Option("-d", metavar="D", min=1, help="Dimension at which compressors are described.")
    ] = DIMENSION,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """List what a configuration can name, with parameters, ranges and defaults."""
    from distopt.show.members import print_members

    if kind is not None and kind not in LISTED:
        from distopt.core.parameters import nearest

        hint = nearest(kind, LISTED) or "."
        raise ConfigError(f'There is no list of "{kind}"{hint} Known: {", ".join(LISTED)}.')
    print_members([kind] if kind else list(LISTED), dimension, as_json)
