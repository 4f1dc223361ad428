"""Who is named as the cause, whatever answers come, and how long they are waited for."""

import pytest

from distopt.transport.verdict import Report, Verdict, printed

HOSTS = ["a", "b", "c", "d"]


def report(rank, exchanges=22, task="finish", iteration=22, **more):
    return Report(rank, exchanges, task, iteration, "run.timeout", **more)


def verdict(*reports):
    found = Verdict(HOSTS)
    found.reports = {r.rank: r for r in reports}
    return found


# Agent 2 hangs before its message of iteration 22; 1 and 3 wait for it, and 0 one exchange later for them.
NEAR = report(1, waits=(2,)), report(3, waits=(2,))
FAR = report(0, 23, iteration=23, waits=(1, 3), seconds=6.0)


def test_the_earliest_wait_names_who_hangs():
    """Also if a rank farther away was the first to lose patience."""
    assert verdict(FAR, *NEAR).text() == (
        "distopt: Agent 1 (host b) heard nothing from agent 2 (host c) for 6 s in iteration 22; "
        "run.timeout sets how long to wait.\n"
    )


def test_answers_are_awaited_until_only_the_culprit_is_missing():
    assert not verdict(FAR).settled(0.1)
    assert not verdict(FAR, NEAR[0]).settled(9.0)  # 3 may still tell of an earlier wait
    assert verdict(FAR, *NEAR).settled(0.0)
    assert verdict(FAR).settled(11.0)


def test_in_a_collective_the_absence_of_an_answer_tells():
    waiting = [report(rank, 9, "record", 20, seconds=6.0 * (rank == 3)) for rank in (0, 1, 3)]
    assert not verdict(*waiting[1:]).settled(5.0)
    assert not verdict(*waiting).settled(1.0)
    assert verdict(*waiting).settled(3.0)
    assert "Agent 2 (host c) hangs: the others have waited 6 s for it to record iteration 20" in (
        verdict(*waiting).text()
    )
    assert "Agent 0 (host a) and agent 2 (host c) hang: the others" in verdict(*waiting[1:]).text()


def test_a_lost_message_blames_nobody():
    everybody = [report(rank, 9, "save", 50, seconds=1.0) for rank in range(4)]
    assert verdict(*everybody).settled(0.0)
    assert "for all agents to save iteration 50" in verdict(*everybody).text()
    lost = [report(0, 3, waits=(1,), seconds=1.0), *everybody[1:]]
    assert "Agent 0 (host a) heard nothing from agent 1 (host b)" in verdict(*lost).text()


def test_a_failure_comes_before_the_silence_that_it_causes():
    failed = report(2, error="distopt: no more\n")
    broken = report(3, 1, error="distopt: link down\n", network=True)
    assert verdict(FAR, *NEAR, failed, broken).text() == "distopt: no more\n"
    assert verdict(FAR, broken).silent
    assert verdict(report(0), broken).text() == "distopt: link down\n"
    assert not verdict(failed).settled(0.1)
    assert verdict(failed).settled(1.0)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_leaving_is_told_with_its_place(error, monkeypatch):
    monkeypatch.delenv("DISTOPT_DEBUG", raising=False)
    with pytest.raises(type(error)) as caught:
        raise error
    told = printed(caught.value, "Agent 2 (host c) was to finish iteration 7")
    assert told.startswith("distopt: Agent 2 (host c) was to finish iteration 7, but ")
    assert __file__ in told
    assert told.endswith({0: "KeyboardInterrupt.\n", 1: "SystemExit: 3.\n"}[len(error.args)])
