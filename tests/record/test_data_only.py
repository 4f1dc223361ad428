"""HDF5 files are data: nothing outside a file is read, and nothing that it claims is believed."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from handmade import write_run

from distopt.algorithms.agent import Seconds
from distopt.core.errors import CheckpointError
from distopt.record.checkpoint import load, read_array
from distopt.record.hdf5 import read_arrays, write_arrays
from distopt.record.reader import load as load_run


@pytest.fixture
def secret(tmp_path):
    """Write a file that no record may show."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.eye(4)
        file["numbers"] = np.full(4, 7.0)
    (tmp_path / "secret.raw").write_bytes(np.full(16, 7.0).tobytes())
    return path


def external_link(group, name, secret):
    group[name] = h5py.ExternalLink(secret, "data" if name == "W" else "numbers")


def soft_link(group, name, secret):
    group[name] = h5py.SoftLink("/series/objective" if name != "W" else "/other")
    group.file.require_dataset("other", (4, 4), "f8")


def external_storage(group, name, secret):
    shape = (4, 4) if name == "W" else (4,)
    raw = secret.with_suffix(".raw")
    group.create_dataset(name, shape, "f8", external=[(raw, 0, h5py.h5f.UNLIMITED)])


def virtual(group, name, secret):
    source = h5py.VirtualSource(
        secret, "data" if name == "W" else "numbers", (4, 4) if name == "W" else (4,)
    )
    layout = h5py.VirtualLayout(source.shape, "f8")
    layout[...] = source
    group.create_virtual_dataset(name, layout)


def enormous(group, name, secret):
    shape = (10**6, 10**6) if name == "W" else (10**13,)
    group.create_dataset(
        name, shape, "f8", chunks=(512,) * len(shape), maxshape=(None,) * len(shape)
    )
    if name != "W":
        group.attrs["rows"] = 10**13


def a_group(group, name, secret):
    group.create_group(name)


def of_texts(group, name, secret):
    group[name] = np.full((4, 4) if name == "W" else 4, "7", h5py.string_dtype())


def of_another_shape(group, name, secret):
    group[name] = np.ones((4, 4, 2))


TRICKS = [
    external_link, soft_link, external_storage, virtual, enormous, a_group, of_texts, of_another_shape
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("where", ["meta/W", "series/stationarity", "series/iteration"])
def test_a_record_with_a_trick_ends_in_a_sentence(trick, where, secret, tmp_path):
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        group, name = where.split("/")
        del file[where]
        trick(file[group], name, secret)
    with pytest.raises(CheckpointError, match=r"metrics\.h5 cannot be read as the record"):
        load_run(place)


@pytest.mark.parametrize("group", ["meta", "series"])
def test_a_group_elsewhere_is_refused(group, tmp_path):
    place, other = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        del file[group]
        file[group] = h5py.ExternalLink(other / "metrics.h5", group)
    with pytest.raises(CheckpointError, match=f"has no group {group} of its own"):
        load_run(place)


@pytest.mark.parametrize("rows", [-1, 5, 10**18, 2.5e300, np.nan, "many", [4, 4], h5py.Empty("i8")])
def test_odd_numbers_of_rows(rows, tmp_path):
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        file["series"].attrs["rows"] = rows
    with pytest.raises(CheckpointError, match=r"metrics\.h5 cannot be read as the record"):
        load_run(place)


ODD = [
    ("agents", 0), ("agents", -3), ("agents", "four"), ("agents", [4, 4]), ("agents", 2.5),
    ("dimension", "[]"), ("algorithm", 7), ("config", 7), ("status", h5py.Empty("f8")),
    ("minimum", "{}"), ("certified", "yes"), ("guarantee", np.ones(3)), ("host", np.bytes_(b"x")),
    ("spectral_gap", "[" * 100_000), ("kappa", "many"), ("smoothness", None), ("versions", "[1]"),
    ("lyapunov_weights", "{"), ("guarantee", 3.0), ("host", 7), ("stop_reason", None),
    ("lyapunov", None), ("engine", None), ("repeats", 2.5),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ODD)
def test_odd_meta_ends_in_a_sentence(key, value, tmp_path):
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        file["meta"].attrs.pop(key, None)
        if value is not None:
            file["meta"].attrs[key] = value
    with pytest.raises(CheckpointError, match=r"metrics\.h5 cannot be read as the record"):
        load_run(place)


def test_a_config_that_is_no_toml(tmp_path):
    history = load_run(write_run(tmp_path / "a", config="= 1"))
    with pytest.raises(CheckpointError, match="holds no TOML"):
        _ = history.config
    history = load_run(write_run(tmp_path / "b", config="problem = 3"))
    with pytest.raises(CheckpointError, match="damaged configuration: problem is 3, not a table"):
        _ = history.config


class Kept:
    """Stands in for a hosted agent: one array, and clocks."""

    def __init__(self):
        self.agent, self.state = self, self
        self.index, self.seconds, self.x = 0, Seconds(), np.zeros(4)

    def arrays(self):
        return {"x": self.x}

    def restored(self):
        pass

    def loaded(self, arrays):
        pass


@pytest.mark.parametrize("trick", TRICKS)
def test_a_shard_with_a_trick_ends_in_a_sentence(trick, secret, tmp_path):
    with h5py.File(tmp_path / "rank-0000.h5", "w") as file:
        file["objective"] = np.zeros(4)
        trick(file, "x", secret)
        del file["objective"]
        if "other" in file:
            del file["other"]
    kept = Kept()
    with pytest.raises(CheckpointError, match=r"rank-0000\.h5"):
        load(tmp_path, [kept])
    assert not kept.x.any()
    if trick is not of_texts and trick is not of_another_shape:
        with pytest.raises(CheckpointError, match=r"rank-0000\.h5 cannot be read: "):
            read_array(tmp_path, 0, "x")


@pytest.mark.parametrize("value", ["text", np.nan, np.ones(2)])
def test_odd_clocks_of_a_shard(value, tmp_path):
    write_arrays(tmp_path / "rank-0000.h5", {"x": np.ones(4)}, {"nbytes": value})
    with pytest.raises(CheckpointError, match=r"rank-0000\.h5 cannot be read: "):
        load(tmp_path, [Kept()])


def test_unknown_attributes_of_a_shard_set_nothing(tmp_path):
    attributes = {"agent_gradient": 2.0, "agent___class__": 1.0, "run_seconds": 3.0, "restore": 1.0}
    write_arrays(tmp_path / "rank-0000.h5", {"x": np.ones(4)}, attributes)
    kept = Kept()
    assert load(tmp_path, [kept]) == {"run_seconds": 3.0}
    assert kept.seconds == Seconds(gradient=2.0)
    assert kept.x.all()


@pytest.mark.parametrize("trick", [external_storage, virtual, enormous])
def test_results_with_a_trick_end_in_a_sentence(trick, secret, tmp_path):
    path = tmp_path / "results.h5"
    write_arrays(path, {"a": np.ones(3)}, {"format": 1})
    assert read_arrays(path, "results", 1)[0]["a"].tolist() == [1, 1, 1]
    with h5py.File(path, "r+") as file:
        trick(file, "x", secret)
    with pytest.raises(CheckpointError, match=r"results\.h5 cannot be read as results"):
        read_arrays(path, "results", 1)


def test_an_enormous_claim_needs_no_memory(tmp_path):
    """A file of 129 kB that claims 1e10 rows is refused within 2 GB of address space."""
    place = write_run(tmp_path / "a")
    with h5py.File(place / "metrics.h5", "r+", libver="latest") as file:
        for data in file["series"].values():
            data.resize(10**10, axis=0)
        file["series"].attrs["rows"] = 10**10
    program = (
        "import resource, sys, pathlib\n"
        "from distopt.record.reader import load as load_run\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))\n"
        "try:\n    load_run(pathlib.Path(sys.argv[1]))\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    told = subprocess.check_output([sys.executable, "-c", program, place], text=True)
    assert told.startswith("CheckpointError")
    assert "claims 10000000000 rows, but has 4" in told


FLIPS = """
import pathlib, random, sys
from distopt.core.errors import CheckpointError
from distopt.record.reader import load as load_run
from distopt.record.metrics import SEALED
place = pathlib.Path(sys.argv[1])
path = place / "metrics.h5"
content, draw, refused = path.read_bytes()[:-SEALED], random.Random(5), 0
places = [9, 10, 11, *(draw.randrange(len(content)) for _ in range(int(sys.argv[2])))]
for position in places:
    flipped = bytearray(content)
    flipped[position] ^= 1 << draw.randrange(8)
    path.write_bytes(flipped)
    try:
        load_run(place)
    except CheckpointError:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("flips", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_flipped_bits_of_a_record_without_a_seal_neither_hang_nor_crash(flips, tmp_path):
    place = write_run(tmp_path / "a")
    told = subprocess.run(
        [sys.executable, "-c", FLIPS, place, str(flips)],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert int(told.stdout) > flips // 40
