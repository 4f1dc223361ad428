"""The queue: every state, every order of crashes, without processes."""

import pytest
from pretend import Pretend, Still, add

from distopt.core.errors import ConfigError
from distopt.record.lock import only_writer
from distopt.service.backend import LOG, Seen
from distopt.service.dispatcher import Dispatcher, Refused
from distopt.service.schema import ACTIVE, State
from distopt.service.settings import OWN
from distopt.service.store import Store


@pytest.fixture
def queue(settings):
    store = Store(settings)
    yield Dispatcher(settings, store, Pretend(), Still())
    store.close()


def states(queue):
    return [job.state for job in sorted(queue.store.in_states(list(State)), key=lambda j: j.id)]


def test_the_queue_goes_by_priority_then_by_age_and_nobody_overtakes(queue):
    for name, ranks, priority in (("a", 2, 0), ("b", 1, 5), ("c", 4, 5), ("d", 1, 0)):
        add(queue, name, ranks, priority)
    queue.tick()
    assert [name for name, *_ in queue.backend.started] == [
        "2-b"
    ]  # c is next and does not fit beside b
    queue.backend.end("2-b")
    queue.tick()
    assert [name for name, *_ in queue.backend.started] == ["2-b", "3-c"]
    queue.backend.end("3-c")
    queue.tick()
    assert [name for name, *_ in queue.backend.started] == ["2-b", "3-c", "1-a", "4-d"]
    assert states(queue) == ["starting", "finished", "finished", "starting"]


def test_more_ranks_than_slots_are_refused_in_a_sentence(queue):
    with pytest.raises(
        ConfigError, match="needs 5 ranks, one for each agent, and the service has 4"
    ):
        add(queue, ranks=5)


def test_a_failure_is_told_in_the_words_of_the_command(queue, settings):
    job = add(queue)
    queue.tick()
    log = settings.data / job.folder / OWN / LOG
    log.write_text("distopt: iteration 10\ndistopt: Agent 1 diverged.\n")
    queue.backend.end("1-a", code=1)
    queue.tick()
    job = queue.store.job(job.id)
    assert (job.state, job.code, job.message) == ("failed", 1, "Agent 1 diverged.")


def test_a_process_that_is_lost_leaves_an_interrupted_job_that_goes_on(queue, settings):
    job = add(queue)
    queue.tick()
    queue.tick()
    assert states(queue) == ["running"]
    queue.backend.seen["1-a", 1] = Seen("lost")
    queue.tick()
    assert states(queue) == ["interrupted"]
    (settings.data / job.folder / "checkpoints" / "000010").mkdir(parents=True)
    (settings.data / job.folder / "config.toml").touch()
    queue.resume(queue.store.job(1))
    queue.tick()
    assert queue.backend.started[-1][1] == 2
    assert "resume" in queue.backend.started[-1][2]


def test_a_start_that_never_was_is_made_again_and_given_up_in_the_end(queue):
    add(queue)
    for attempt in (1, 2, 3):
        queue.tick()
        queue.backend.seen["1-a", attempt] = Seen("void")
    queue.tick()
    assert states(queue) == ["failed"]
    assert [attempt for _, attempt, _ in queue.backend.started] == [1, 2, 3]


def test_cancel_takes_a_job_out_or_asks_it_to_stop(queue):
    running, waiting = add(queue, "a", 4), add(queue, "b", 4)
    queue.tick()
    queue.cancel(queue.store.job(waiting.id))
    queue.cancel(queue.store.job(running.id))
    assert states(queue) == ["stopping", "cancelled"]
    assert queue.backend.stopped == [("1-a", 1)]
    queue.backend.end("1-a")
    queue.tick()
    assert states(queue) == ["cancelled", "cancelled"]
    with pytest.raises(Refused, match="Job 1 has ended"):
        queue.cancel(queue.store.job(running.id))


def test_a_server_that_follows_another_finds_its_jobs(queue, settings):
    for name in "abc":
        add(queue, name)
    queue.tick()
    backend = queue.backend
    queue.store.close()  # the server is gone; a goes on, b ends meanwhile, c waits
    backend.end("2-b")
    later = Dispatcher(settings, Store(settings), backend, Still())
    later.tick()
    assert states(later) == ["running", "finished", "starting"]
    assert [name for name, *_ in backend.started] == ["1-a", "2-b", "3-c"]
    later.store.close()


def test_a_folder_that_is_gone_or_busy_does_not_stop_the_queue(queue, settings):
    gone, busy, good = add(queue, "a", 1), add(queue, "b", 1), add(queue, "c", 1)
    (settings.data / gone.folder).rename(settings.data / "elsewhere")
    place = settings.data / busy.folder
    (place / "metrics.h5").touch()
    with only_writer(place):
        queue.tick()
        assert states(queue) == ["failed", "queued", "starting"]
        assert "still writes" in queue.store.job(busy.id).message
    queue.tick()
    assert queue.store.job(busy.id).state == "starting"
    assert "is gone" in queue.store.job(gone.id).message
    assert good.state == "queued"


def test_delete_removes_the_folder_and_waits_for_the_process(queue, settings):
    job = add(queue)
    queue.tick()
    with pytest.raises(Refused, match="cancel it first"):
        queue.delete(job)
    queue.backend.end("1-a")
    queue.tick()
    queue.delete(job)
    assert not (settings.data / job.folder).exists()
    assert queue.store.job(job.id) is None
    assert add(queue, "b").id == 2  # a number is never used again


def test_no_active_job_is_left_out_of_the_ranks_that_are_busy(queue):
    add(queue, "a", 4)
    add(queue, "b", 4)
    queue.tick()
    for state in ACTIVE:
        queue.store.move(1, ACTIVE, state=state)
        queue.start_next()
        assert len(queue.backend.started) == 1
