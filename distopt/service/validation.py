"""Check what is submitted by the code that also runs it, and say what may be submitted.

Runs in the process of a worker: a configuration may name code of the user's, and data of any size.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import tomli_w
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from distopt.config.build import SECTIONS, load_config
from distopt.config.run import RunConfig
from distopt.config.tables import read_toml
from distopt.core.errors import ConfigError, DistoptError
from distopt.core.files import slug
from distopt.core.parameters import show
from distopt.core.registry import OWN
from distopt.mpirun.jobfile import Case, SuiteJob
from distopt.problems.problem import ProblemConfig
from distopt.show.listing import REGISTRIES, describe
from distopt.studies.suite import SuiteConfig, load_suite

CASES = 1000  # runs of a suite
NAME = 80  # letters of a job's name
DIMENSION = 1000  # at which compressors are described
PATH = re.compile(r"[/\\\0]|^~|^\.\.?$")


def check(
    config: str | dict[str, Any], name: str, engine: str, files: str | None
) -> dict[str, Any]:
    """Check a configuration or suite as the command line would.

    Parameters
    ----------
    config : str or dict
        TOML, or its tables.
    name : str
        Of the job; "": one is made.
    engine : str
        "mpi" or "simulate".
    files : str or None
        The folder whose files it may name; None: no files.

    Returns
    -------
    dict
        `kind`, `name`, `ranks`, `cases` (a list of names), `config` (the TOML as given), `resolved` (with
        every default; of a suite its first case).

    Raises
    ------
    DistoptError
        With the sentence of the command line.
    """
    text = config if isinstance(config, str) else written(config)
    with tempfile.TemporaryDirectory(prefix="distopt-check-") as place:
        path = Path(place) / f"{slug(name)}.toml"
        path.write_text(text, encoding="utf-8")
        try:
            tables = read_toml(path)
            require_allowed(tables, Path(files) if files else None)
            found = checked(path, tables, engine)
        except RecursionError:
            raise ConfigError("The configuration is nested too deeply.") from None
        except DistoptError as error:
            sentence = str(error).replace(f"{path}", "The text").replace(f"{place}/", "")
            raise type(error)(sentence) from None
    return found | {"name": (name or found["name"])[:NAME], "config": text}


def written(tables: Mapping[str, Any]) -> str:
    """Write tables as TOML."""
    try:
        return tomli_w.dumps(tables)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The configuration cannot be written as TOML: {error}.") from None


def checked(path: Path, tables: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Check a file; return what `check` does."""
    if {"suite", "variant"} & tables.keys():
        suite = load_suite(path, [], path.parent)
        cases, kind, name = suite.cases, "suite", suite.title
    else:
        config = load_config(path)
        cases, kind = [Case(folder=path.parent / "run", config=config)], "run"
        parts = config.resolved()
        name = f"{parts['algorithm']['name']} {parts['problem']['name']}"
    if len(cases) > CASES:
        raise ConfigError(f"The suite has {len(cases)} runs; accepted: at most {CASES}.")
    ranks = 1 if engine == "simulate" else SuiteJob.of(cases).ranks
    return {
        "kind": kind,
        "name": name,
        "ranks": ranks,
        "cases": [case.name for case in cases],
        "resolved": cases[0].config.to_toml(),
    }


def require_allowed(tables: Mapping[str, Any], files: Path | None) -> None:
    """Refuse code and files outside of the folder that the operator has named.

    A name without a folder is looked for there only; any other text that could name a file must be one
    there.
    """
    for key, value in texts(tables):
        if value == OWN and key.rpartition(".")[2] in {"name", "graph"} and files is None:
            raise ConfigError(
                f'{key} = "{OWN}" runs code from a file, and this service was started without a folder of '
                "such files; `distopt serve --files DIR` names one."
            )
        if not PATH.search(value) or not names_file(key):
            continue
        inside = files is not None and (files / Path(value).expanduser()).resolve().is_relative_to(
            files.resolve()
        )
        if not inside:
            where = f"in {files}" if files else "that `distopt serve --files DIR` allows"
            raise ConfigError(f"{key} = {show(value)} is not a file {where}.")


def names_file(key: str) -> bool:
    """Whether the text of a key may be opened; labels and titles never are."""
    return key not in {"suite.title", "suite.baseline"} and not key.endswith("].label")


def texts(item: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Find all texts in nested tables, each with its full key."""
    if isinstance(item, str):
        yield key, item
    elif isinstance(item, Mapping):
        for name, value in item.items():
            yield from texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(item, list):
        for number, value in enumerate(item):
            yield from texts(value, f"{key}[{number}]")


class Schema(GenerateJsonSchema):
    """JSON schemas of parameter classes; a nested compressor is an object of that format."""

    def handle_invalid_for_json_schema(
        self, schema: CoreSchema, error_info: str
    ) -> JsonSchemaValue:
        """Describe what has no schema of its own."""
        return {"type": "object", "format": "compressor"}


def registry() -> dict[str, Any]:
    """Describe everything that a configuration can name, with the JSON schemas of its parameters."""
    found: dict[str, Any] = {
        "sections": list(SECTIONS),
        "common": {
            "problem": ProblemConfig.model_json_schema(),
            "run": RunConfig.model_json_schema(),
            "suite": SuiteConfig.model_json_schema(),
        },
    }
    for kind, known in REGISTRIES.items():
        members = describe(known, DIMENSION)
        for member in members:
            adapter = pydantic.TypeAdapter(known.get(member["name"]))
            member["schema"] = adapter.json_schema(schema_generator=Schema)
        found[kind] = {
            "section": known.section,
            "key": known.key,
            "default": known.default,
            "members": members,
        }
    return found
