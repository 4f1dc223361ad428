"""Files that are there whole, alone and together."""

import os
from pathlib import Path

import pytest

from distopt.core import files
from distopt.core.errors import DistoptError
from distopt.core.files import replaced_together


def name_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def write_together(paths):
    with replaced_together() as begin:
        for path in paths:
            begin(path).write_text("new")


@pytest.mark.parametrize("count", [1, files.FEW, 3 * files.AT_ONCE])
def test_files_together_are_on_the_disk_before_they_have_their_names(count, tmp_path, monkeypatch):
    paths, asked = [tmp_path / "new" / f"{i}" for i in range(count)], []
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append(name_of(descriptor)))
    with replaced_together() as begin:
        for path in paths:
            begin(path).write_text(path.name)
        assert not any(path.exists() for path in paths)
        assert not asked
    assert [path.read_text() for path in paths] == [path.name for path in paths]
    assert sorted(asked[:-1]) == sorted(f"{path}.tmp" for path in paths)
    assert asked[-1] == str(tmp_path / "new")
    assert len(list((tmp_path / "new").iterdir())) == count


@pytest.mark.parametrize("count", [2, 3 * files.AT_ONCE])
def test_none_has_its_name_if_one_is_refused(count, tmp_path, monkeypatch):
    def refuse(descriptor):
        if name_of(descriptor).endswith("1.tmp"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    paths = [tmp_path / str(i) for i in range(count)]
    with pytest.raises(DistoptError, match=r"1\.tmp cannot be written: No space left"):
        write_together(paths)
    assert not list(tmp_path.iterdir())
