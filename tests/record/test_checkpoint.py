"""A manifest is believed only if it is whole, and pruning removes only what is a checkpoint's."""

import json

import pytest

from distopt.core.errors import CheckpointError
from distopt.core.files import sha256
from distopt.record.checkpoint import FORMAT, latest, manifest_text, prune

ARABIC = "\N{ARABIC-INDIC DIGIT ONE}" * 6  # digits for str.isdigit and for int


def write_checkpoint(folder, iteration, agents=2):
    """Write a checkpoint whose shards are any files; return its folder."""
    place = folder / f"{iteration:06d}"
    place.mkdir(parents=True)
    shards = {}
    for i in range(agents):
        path = place / f"rank-{i:04d}.h5"
        path.write_bytes(b"state %d" % i)
        shards[path.name] = sha256(path)
    manifest = {"format": FORMAT, "iteration": iteration, "shards": shards}
    (place / "manifest.json").write_bytes(manifest_text(manifest))
    return place


def strip(path):
    """Turn a manifest into one of the first version, which had no checksum of its own."""
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    path.write_text(json.dumps(manifest, indent=1))


@pytest.mark.parametrize("old", [False, True])
def test_every_flipped_bit_makes_a_manifest_unusable(old, tmp_path):
    """Flip one bit of every byte, and of a new manifest every bit."""
    path = write_checkpoint(tmp_path, 500) / "manifest.json"
    if old:
        strip(path)
    content = path.read_bytes()
    assert latest(tmp_path, 2).iteration == 500
    for position in range(len(content)):
        for bit in [position % 8] if old else range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(CheckpointError, match="000500 is not usable"):
                latest(tmp_path, 2)


@pytest.mark.parametrize(
    "text", ["[]", "7", '""', "null", '{"format": 1, "iteration": "000500", "shards": {}}',
             '{"format": 1, "iteration": 500, "shards": [[]]}', "[" * 100_000,
             '{"format": 1, "iteration": null, "shards": {}}'],
)  # fmt: skip
def test_odd_manifests_end_in_a_sentence(text, tmp_path):
    (write_checkpoint(tmp_path, 500) / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="000500 is not usable"):
        latest(tmp_path, 2)


def test_a_renamed_checkpoint_is_refused(tmp_path):
    write_checkpoint(tmp_path, 500).rename(tmp_path / "000700")
    with pytest.raises(CheckpointError, match=r"000700 is not usable: .* is of iteration 500"):
        latest(tmp_path, 2)


def test_an_unreadable_shard_ends_in_a_sentence(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 500)

    def refuse(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("distopt.record.checkpoint.sha256", refuse)
    with pytest.raises(CheckpointError, match=r"rank-0000\.h5 cannot be read: Input/output error"):
        latest(tmp_path, 2)


def test_pruning_removes_nothing_but_checkpoints(tmp_path):
    for iteration in (100, 200, 300):
        write_checkpoint(tmp_path, iteration)
    (tmp_path / "000100" / "notes.txt").write_text("mine")
    for other in ("2024", "000²00", ARABIC, "20240101", "best"):
        (tmp_path / other).mkdir()
        (tmp_path / other / "mine.txt").write_text("mine")
    (tmp_path / "20240102").write_text("mine")
    (tmp_path / "000050").mkdir()  # remains of a crash
    (tmp_path / "000050" / "rank-0000.h5.tmp").write_bytes(b"half")
    prune(tmp_path, 300, keep=1)
    assert latest(tmp_path, 2).iteration == 300
    assert {p.name for p in tmp_path.iterdir()} == {
        "000100", "000300", "2024", "000²00", ARABIC, "20240101", "20240102", "best"
    }  # fmt: skip
    assert [p.name for p in (tmp_path / "000100").iterdir()] == ["notes.txt"]
    assert (tmp_path / "20240101" / "mine.txt").read_text() == "mine"
