"""A run folder is data: its code does not run unless the user named it, and the command says what runs."""

import shutil

import pytest
import tomli_w
from engine.test_identity import COST

from distopt.cli.options import announce
from distopt.config.build import make_config
from distopt.config.tables import read_toml
from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.run import resume, run
from distopt.studies.diagnosis import Request, diagnose_run

TELL = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture
def place(tmp_path):
    """Return a folder with a run in it and, beside that, the code of its cost, which tells that it ran."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cost.py").write_text(TELL + COST.format(shift=0))
    tables = {
        "problem": {"name": "python", "file": "own/cost.py", "agents": 4},
        "algorithm": {"name": "gt", "eta": 0.1},
        "run": {"iterations": 10},
    }
    run(make_config(tables, tmp_path), engine="simulate", out=tmp_path / "run")
    (tmp_path / "own" / "cost.ran").unlink()
    return tmp_path


def edit(place, file):
    """Let the run name another file as its code."""
    tables = read_toml(place / "run" / "config.toml")
    tables["problem"]["file"] = str(file)
    (place / "run" / "config.toml").write_text(tomli_w.dumps(tables))


def ran(place):
    return bool(list(place.rglob("*.ran")))


@pytest.mark.parametrize("relative", [True, False])
def test_code_inside_the_folder_does_not_run_unless_it_is_named(relative, place):
    inside = place / "run" / "cost.py"
    shutil.copy(place / "own" / "cost.py", inside)
    edit(place, "cost.py" if relative else inside)
    for work in (
        lambda: resume(place / "run", engine="simulate", iterations=20),
        lambda: resume(place / "run", engine="simulate", iterations=20, force=True),
        lambda: diagnose_run(place / "run", Request()),
    ):
        with pytest.raises(ConfigError, match=rf"--code {inside}$"):
            work()
    assert not ran(place)
    result = resume(place / "run", engine="simulate", iterations=20, code=[inside])
    assert result.summary["iterations"] == 20
    assert ran(place)


@pytest.mark.parametrize("file", ["../own/cost.py", "own.py/../../own/cost.py"])
def test_a_relative_path_is_not_trusted(file, place):
    edit(place, file)
    with pytest.raises(ConfigError, match="A run folder is data"):
        resume(place / "run", engine="simulate", iterations=20)
    assert not ran(place)


def test_changed_code_is_refused_before_it_runs(place):
    with (place / "own" / "cost.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(CheckpointError, match=r"cost\.py \(problem\.file\) has changed"):
        resume(place / "run", engine="simulate", iterations=20)
    assert not ran(place)
    resume(place / "run", engine="simulate", iterations=20, force=True)


def test_the_command_says_what_runs(place, capsys):
    announce(place / "run", [])
    assert f"This runs the code of {place}/own/cost.py." in " ".join(
        capsys.readouterr().err.split()
    )
    moved = place / "moved" / "cost.py"
    moved.parent.mkdir()
    shutil.copy(place / "own" / "cost.py", moved)
    announce(place / "run", [moved])
    assert f"code of {moved}." in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ConfigError, match=r"other\.py is no code of .*; accepted: cost\.py"):
        announce(place / "run", [place / "other.py", moved])
