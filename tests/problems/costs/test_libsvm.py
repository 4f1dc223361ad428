import bz2
import gzip
import os

import numpy as np
import pytest

from distopt.core.errors import DataError
from distopt.problems.costs.libsvm import Libsvm
from distopt.problems.costs.logistic import Logistic, LogisticCost
from distopt.problems.costs.tables import Sparse

TEXT = "+1 1:0.5 3:-2\n# a comment\n\n-1 2:1e-3  4:7 # more\n+1\n-1 1:1 2:2 3:3 4:4\n"
TABLE = [[0.5, 0, -2, 0], [0, 1e-3, 0, 7], [0, 0, 0, 0], [1, 2, 3, 4]]
ALL = np.arange(4)


def write(path, text):
    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opener(path, "wt") as file:
        file.write(text)
    return path


@pytest.mark.parametrize("name", ["a.svm", "a.txt.gz", "a.bz2"])
def test_reads_what_was_written(tmp_path, name):
    source = Libsvm(write(tmp_path / name, TEXT))
    assert source.labels.tolist() == [1, -1, 1, -1]
    assert source.features == 4
    np.testing.assert_array_equal(source.rows(ALL), TABLE)
    np.testing.assert_array_equal(source.rows(np.array([3, 0])), [TABLE[3], TABLE[0]])
    mean, deviation = source.moments()
    np.testing.assert_allclose(mean, np.mean(TABLE, axis=0))
    np.testing.assert_allclose(deviation, np.std(TABLE, axis=0))


def test_few_entries_stay_sparse(tmp_path):
    path = write(tmp_path / "wide", "1 1000:1\n0 1:2 500:-1\n")
    rows = Libsvm(path).rows(np.arange(2))
    assert rows.nnz == 3
    dense = Logistic(dataset=str(path), standardize=True).cost(0, 1, 0)
    sparse = Logistic(dataset=str(path)).cost(0, 1, 0)
    assert dense.dimension == sparse.dimension == 1001


def test_sparse_and_dense_costs_agree(tmp_path):
    rng = np.random.default_rng(0)
    picks = [np.sort(rng.choice(80, 5, replace=False)) + 1 for _ in range(20)]
    lines = [f"{s % 2} " + " ".join(f"{k}:{k / 10}" for k in p) for s, p in enumerate(picks)]
    path = write(tmp_path / "data", "\n".join(lines))
    sparse = Logistic(dataset=str(path), features=90).cost(0, 1, 0)
    full = np.zeros((20, 91))
    for row, p in zip(full, picks, strict=True):
        row[p - 1] = p / 10
    full[:, 90] = 1  # the bias
    twin = LogisticCost(full, np.where(np.arange(20) % 2, 1.0, -1.0), sparse.lam, sparse.alpha)
    x, out, expected = rng.normal(size=91), np.empty(91), np.empty(91)
    assert isinstance(sparse.rows, Sparse)
    sparse.gradient(x, out)
    twin.gradient(x, expected)
    # Sums of at most 20 terms of size 10 in another order.
    np.testing.assert_allclose(out, expected, atol=1e-13)
    assert sparse.value(x) == pytest.approx(twin.value(x), rel=1e-13)
    assert twin.smoothness <= sparse.smoothness <= twin.smoothness * (1 + 3e-6)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("one 1:2", r'line 2: the label "one" is not a finite number'),
        ("nan 1:2", r'line 2: the label "nan" is not a finite number'),
        ("1 1:2 2:x", r'line 2: "2:x" is not index:value'),
        ("1 1:2 3", r'line 2: "3" is not index:value'),
        ("1 1:inf", r'line 2: "1:inf" is not index:value with finite numbers'),
        ("1 qid:3 1:2", r'line 2: "qid:3" is not index:value'),
        ("1 0:2 1:1", r"line 2: the index 0 is below 1"),
        ("1 3:1 2:1", r"line 2: the index 2 does not ascend"),
        ("1 2:1 2:1", r"line 2: the index 2 does not ascend"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, sentence):
    path = write(tmp_path / "bad", f"0 1:1\n{line}\n0 2:1\n")
    with pytest.raises(DataError, match=sentence):
        Libsvm(path).rows(np.arange(3))


def test_only_the_own_rows_are_parsed(tmp_path):
    path = write(tmp_path / "bad", "0 1:1 2:2\n1 x:1 2:2\n")
    assert Libsvm(path).rows(np.array([0])).tolist() == [[1, 2]]
    with pytest.raises(DataError, match="line 2"):
        Libsvm(path).rows(np.array([1]))


def test_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r'problem.dataset = ".*none" cannot be read: No such file'):
        Libsvm(tmp_path / "none")
    with pytest.raises(DataError, match="holds no sample"):
        Libsvm(write(tmp_path / "empty", "# nothing\n"))
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read as a LIBSVM file"):
        Libsvm(tmp_path / "broken.gz")
    with pytest.raises(DataError, match=r"problem.features = 3 is too small .* index is 4"):
        Libsvm(write(tmp_path / "a", TEXT), features=3)


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "a", "1 1:1\n0 1:2\n")
    assert Libsvm(path).labels.size == 2
    write(path, "1 1:1\n0 1:2\n1 2:1\n")
    os.utime(path, ns=(1, 1))
    assert Libsvm(path).labels.size == 3
