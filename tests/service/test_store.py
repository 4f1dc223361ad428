"""The database: versions, damage, and changes since a cursor."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from pretend import Pretend, Still, add

from distopt.core.errors import DistoptError
from distopt.service.dispatcher import Dispatcher
from distopt.service.entries import SORTS, list_entries
from distopt.service.schema import MIGRATIONS, State, open_database
from distopt.service.store import Store


@pytest.fixture
def store(settings):
    found = Store(settings)
    yield found
    found.close()


@pytest.fixture
def queue(settings, store):
    return Dispatcher(settings, store, Pretend(), Still())


def a_run(folder, **fields):
    words = dict.fromkeys(("algorithm", "compressor", "problem", "message"), "")
    numbers = dict.fromkeys(
        ("agents", "dimension", "iterations", "iteration", "stationarity", "objective",
         "bytes_per_agent", "seconds", "job")
    )  # fmt: skip
    usual = {"folder": folder, "stamp": "1", "state": "finished", "records": 3, "written": 1.0}
    return words | numbers | usual | fields


def test_several_may_make_the_database_at_once(settings):
    """As a service that starts, and `--new-token` beside it."""
    settings.own.mkdir(parents=True)
    path, together = settings.own / "service.db", threading.Barrier(6)

    def open_one(number):
        together.wait()
        open_database(path).dispose()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_one, range(6)))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_new_database_has_the_newest_version(settings, store):
    with sqlite3.connect(settings.own / "service.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_later_or_damaged_database_is_refused_in_a_sentence(settings):
    settings.own.mkdir(parents=True)
    path = settings.own / "service.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1000")
    with pytest.raises(DistoptError, match="has version 1000; this distopt knows version"):
        Store(settings)
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(DistoptError, match="cannot be used as the database"):
        Store(settings)


def test_a_reader_that_asks_for_changes_sees_each_once(store, queue):
    first = add(queue, "a")
    _, _, cursor = store.changes(0, 100)
    store.put_runs([a_run("x"), a_run("y")])
    store.move(first.id, [State.queued], state=State.cancelled)
    jobs, runs, later = store.changes(cursor, 100)
    assert [job.state for job in jobs] == ["cancelled"]
    assert [run.folder for run in runs] == ["x", "y"]
    assert store.changes(later, 100) == ([], [], later)
    store.drop_runs(["x"])
    assert [run.state for run in store.changes(later, 100)[1]] == ["deleted"]
    assert Store.changes(store, 0, 1)[2] < store.changed  # a short answer says where to go on


def test_a_failed_change_leaves_no_trace(store, settings):
    before = store.changed

    def fail(job):
        raise DistoptError("full")

    with pytest.raises(DistoptError, match="full"):
        store.add(fail, name="a", kind="run", engine="mpi", ranks=1, cases=1, priority=0)
    assert (store.changed, store.in_states(list(State))) == (before, [])


def test_the_list_shows_runs_suites_and_jobs_without_runs_once_each(store, queue):
    add(queue, "alone")
    add(queue, "suite", kind="suite")
    add(queue, "waits")
    store.put_runs(
        [
            a_run("cli", stationarity=1e-3, algorithm="zed"),
            a_run("jobs/1-alone", job=1, stationarity=1e-9, algorithm="gt"),
            a_run("jobs/2-suite/gt", job=2, stationarity=None),
        ]
    )
    total, found = list_entries(store)
    assert total == 5
    assert {e.key for e in found} == {
        "run:cli", "run:jobs/1-alone", "run:jobs/2-suite/gt", "job:2", "job:3"
    }  # fmt: skip
    _, found = list_entries(store, sort="stationarity", descending=False)
    assert [e.stationarity for e in found[:2]] == [1e-9, 1e-3]  # those without one come last
    assert [e.key for e in list_entries(store, "ZED cli")[1]] == ["run:cli"]
    assert list_entries(store, "100%")[0] == 0
    assert {e.key for e in list_entries(store, states=["queued"])[1]} == {
        "run:jobs/1-alone",
        "job:2",
        "job:3",
    }
    assert [e.key for e in list_entries(store, keys=["job:3", "run:none"])[1]] == ["job:3"]
    for sort in SORTS:
        assert list_entries(store, sort=sort, offset=1, limit=2)[0] == 5
