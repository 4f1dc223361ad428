"""What `import distopt` offers: one list, complete, and with types that catch wrong arguments."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import distopt
from distopt.algorithms import REGISTRY as ALGORITHMS
from distopt.compressors import REGISTRY as COMPRESSORS

PUBLIC = {name: getattr(distopt, name) for name in dir(distopt) if not name.startswith("_")}
MEMBERS = [place.split(":") for r in (ALGORITHMS, COMPRESSORS) for place in r.members().values()]


@pytest.mark.parametrize(("module", "name"), MEMBERS)
def test_algorithms_and_compressors_are_public_under_their_own_names(module, name):
    """Not all must be: a new one is a file and a registration, and may be offered as a class later."""
    found = PUBLIC.get(name)
    assert found is None or (found.__module__, found.__name__) == (module, name)


def test_most_are():
    assert len({name for _, name in MEMBERS} & set(PUBLIC)) >= 28


def test_the_list_is_sorted_and_nothing_else_is_offered():
    lines = [f"from {item.__module__} import {name} as {name}" for name, item in PUBLIC.items()]
    stub = Path(distopt.__file__).with_suffix(".pyi").read_text()
    listed = [line for line in stub.splitlines() if line.startswith("from")]
    assert sorted(listed) == listed
    assert sorted(lines) == listed
    with pytest.raises(AttributeError, match="module 'distopt' has no attribute 'Nothing'"):
        distopt.Nothing  # noqa: B018


CACHE = Path(__file__).parents[1] / ".mypy_cache"  # that of the check of the package


def test_type_checkers_catch_wrong_arguments(tmp_path):
    """Every class with parameters refuses an object() for the first one, and an unknown one."""
    classes = [name for name, item in PUBLIC.items() if is_dataclass(item) and fields(item)]
    wrong = [f"distopt.{name}({fields(PUBLIC[name])[0].name}=object())" for name in classes]
    wrong += [f"distopt.{name}(nothing=1)" for name in (*classes, "Identity", "minimize", "run")]
    wrong += [
        'distopt.Quantize(bits="wrong")',
        "distopt.load_config(3)",
        "distopt.Topology('ring')",
    ]
    right = ["distopt.Quantize(bits=4)", "distopt.CompressedTracking1(eta=0.1)", "distopt.Zed()"]
    program = tmp_path / "program.py"
    program.write_text("\n".join(["import distopt", *wrong, *right]) + "\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", CACHE, program]
    told = subprocess.run(mypy, capture_output=True, text=True, check=False).stdout
    lines = {int(line.split(":")[1]) for line in told.splitlines() if ": error:" in line}
    assert lines == set(range(2, 2 + len(wrong))), told
