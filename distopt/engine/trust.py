"""Which code a run folder may run: a folder may come from elsewhere, so it is data.

Code runs from a file that its config.toml names by an absolute path outside the folder, as distopt writes
it, if it is still the file that the newest checkpoint knows; else only from a file that the user names.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distopt.config.tables import read_toml
from distopt.core.errors import CheckpointError, ConfigError
from distopt.core.files import sha256
from distopt.record import checkpoint


def trusted(
    run_dir: Path, code: Sequence[Path] = (), force: bool = False
) -> tuple[dict[str, Any], list[Path]]:
    """Read the config.toml of a run folder, without running anything.

    Parameters
    ----------
    run_dir : Path
    code : Sequence[Path]
        Files that the user named; each stands for the file of that name in the configuration.
    force : bool
        Whether a file may have changed.

    Returns
    -------
    tables : dict
        The sections, with the named files in place of the stored ones.
    files : list of Path
        The code that they run.

    Raises
    ------
    CheckpointError or ConfigError
        If it is no run folder, or wants to run code that nobody named.
    """
    path = run_dir / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{run_dir} is not a run directory: it has no config.toml.")
    tables = read_toml(path)
    named, files = {file.name: file.absolute() for file in code}, []
    for key, table in sections_with_code(tables):
        file = Path(table["file"])
        if file.name in named:
            file = named[file.name]
            table["file"] = str(file)
        elif not file.is_absolute() or file.resolve().is_relative_to(run_dir.resolve()):
            file = run_dir / file
            raise ConfigError(
                f"{path} wants to run the code of {file} ({key}). A run folder is data: name the file "
                f"if you trust it, with --code {file}"
            )
        if not force:
            require_unchanged(run_dir, key, file)
        files.append(file)
    if unused := set(named) - {file.name for file in files}:
        wanted = ", ".join(file.name for file in files) or "none"
        raise ConfigError(f"--code {unused.pop()} is no code of {path}; accepted: {wanted}.")
    return tables, list(dict.fromkeys(files))


def sections_with_code(
    table: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find the tables, nested ones too, whose key `file` is a Python file; with that key's full name."""
    if isinstance(table.get("file"), str) and table["file"].endswith(".py"):
        yield f"{prefix}file", table
    for key, value in table.items():
        if isinstance(value, dict):
            yield from sections_with_code(value, f"{prefix}{key}.")


def require_unchanged(run_dir: Path, key: str, file: Path) -> None:
    """Raise `CheckpointError` if a file is not the one that the newest checkpoint knows."""
    for place in checkpoint.newest(run_dir / "checkpoints"):
        try:
            known = checkpoint.read_manifest(place)["identity"]["facts"][key]["sha256"]
        except (CheckpointError, LookupError, TypeError):
            continue
        if file.is_file() and sha256(file) != known:
            raise CheckpointError(
                f"Checkpoint {place} belongs to another configuration: the file {file} ({key}) has "
                "changed. Start a new run, or continue this one with --force."
            )
        return
