"""Which rank is at fault, from what the ranks report: arithmetic, without processes."""

from dataclasses import replace

import pytest

from gcvideo.training.rank_agreement import difference
from gcvideo.training.rank_reports import GATHER_S, PATIENCE_S, Failure, Report, Roll, Verdict

LIMIT_S = 20.0


def report(rank, progress=7, idle_s=0.0, **values):
    values = {"doing": "training step 3", "limited": True, **values}
    return Report(rank, f"node{rank // 2}", 100 + rank, str(rank), progress=progress, idle_s=idle_s, **values)


def roll(world_size=3, limit_s=LIMIT_S):
    made = Roll(world_size, limit_s)
    for rank in range(world_size):
        made.hear(report(rank))
    return made


def first_verdict(made, reports=(), seconds=100.0):
    """(when, verdict) while `reports` are repeated every second."""
    passed = 0.0
    while passed < seconds:
        for again in reports:
            made.hear(again)
        made.pass_time(0.25)
        passed += 0.25
        if (verdict := made.verdict()) is not None:
            return passed, verdict
    return passed, None


def test_nothing_happens_while_all_report():
    assert first_verdict(roll(), [report(rank) for rank in range(3)]) == (100.0, None)


@pytest.mark.parametrize("rank", (0, 1, 2))
def test_a_silent_rank(rank):
    """The others report on, and say that they wait; it is named when the limit is over, and may be killed."""
    others = [report(other) for other in range(3) if other != rank]
    passed, verdict = first_verdict(roll(), others)
    assert LIMIT_S <= passed <= LIMIT_S + 0.5
    assert verdict == Verdict(
        f"rank {rank} on node{rank // 2} (process {100 + rank}) has not answered for 20 s; last: training step 3",
        stuck=((f"node{rank // 2}", 100 + rank, str(rank)),),
    )
    assert first_verdict(roll(limit_s=0), others) == (100.0, None)


def test_a_rank_that_is_gone():
    made = roll()
    made.gone[2] = "was killed (SIGKILL)"
    assert made.verdict().text == "rank 2 on node1 (process 102) was killed (SIGKILL); last: training step 3"


def test_many_ranks_are_listed_in_short():
    made = roll(8)
    made.gone.update(dict.fromkeys(range(1, 6), "is gone"))
    assert made.verdict().text.endswith("; and 2 more")


def test_the_rank_that_is_behind():
    """The others wait for it; the line of code is that of its own report."""
    made = roll()
    made.hear(report(0, 9, idle_s=LIMIT_S))
    made.hear(report(1, 8, idle_s=LIMIT_S, where="model.py:3 forward()"))
    made.hear(report(2, 9, idle_s=LIMIT_S))
    verdict = made.verdict()
    assert verdict.text == (
        "no progress for 20 s (rank_timeout_s): rank 1 on node0 (process 101) is at training step 3 in "
        "model.py:3 forward(); the other ranks wait for it"
    )
    assert verdict.stuck == (("node0", 101, "1"),)


def test_who_waits_for_a_loader_is_judged_by_it():
    made = roll()
    for rank in range(3):
        made.hear(report(rank, idle_s=LIMIT_S, loads=rank == 1))
    assert made.verdict() is None
    made.hear(replace(made.reports[1], loads=False))
    assert "rank 0 on node0 (process 100) is at" in made.verdict().text  # no one is behind: all are listed
    for rank in range(3):
        made.hear(report(rank, idle_s=1000.0, limited=False))  # setting up may take long
    assert made.verdict() is None


def test_the_first_error_is_told_by_its_rank():
    made = roll()
    made.failures[1] = Failure("no such file: a.mp4", status=2)
    made.failures[2] = Failure("something else")
    passed, verdict = first_verdict(made, [report(rank) for rank in range(3)])
    assert passed == GATHER_S
    assert verdict == Verdict("no such file: a.mp4", 2, speaker=1)


def test_an_error_of_all_ranks_is_told_once_and_of_none():
    made = roll()
    for rank in (2, 0, 1):
        made.failures[rank] = Failure("bad setting", status=2)
    assert made.verdict() == Verdict("bad setting", 2, speaker=0, by_all=True)


def test_a_consequence_waits_for_its_cause():
    lost = Failure("connection closed", is_cause=False)
    made = roll()
    made.failures[0] = lost
    assert first_verdict(made, [report(rank) for rank in range(3)], seconds=PATIENCE_S - 0.5)[1] is None
    made.failures[1] = Failure("a.mp4 is broken")
    assert first_verdict(made)[1] == Verdict("a.mp4 is broken", speaker=1)
    # Without a cause, whoever has not lost its connection is named; if all have, the first one tells its error.
    made = roll()
    made.failures |= {0: lost, 2: lost}
    passed, verdict = first_verdict(made, [report(rank) for rank in range(3)])
    assert passed == PATIENCE_S
    assert verdict.text.startswith("rank 0 on node0 (process 100) lost its connection to the other ranks: rank 1 on ")
    made = roll()
    made.failures |= {2: lost, 0: lost, 1: lost}
    assert first_verdict(made)[1] == Verdict("connection closed", speaker=2)


def test_who_has_left_is_not_missed():
    made = roll()
    made.left |= {0, 2}
    assert first_verdict(made, [report(1)]) == (100.0, None)


def test_a_verdict_travels():
    verdict = Verdict("text", 3, 1, False, (("host", 5, "77"),))
    assert Verdict.of_plain(verdict.as_plain()) == verdict


def test_ranks_that_differ():
    facts = [{"host": "a", "data.seed": "0", "data.batch_size": "4"} for _ in range(6)]
    assert difference(facts) is None
    for rank in (1, 2, 3, 4, 5):
        facts[rank]["data.batch_size"] = "8"
    assert difference(facts) == (
        "the ranks do not agree: data.batch_size is 4 on rank 0 on a; "
        "8 on rank 1 on a, rank 2 on a, rank 3 on a, rank 4 on a ..."
    )


def test_an_error_that_is_being_gathered_comes_before_a_standstill():
    made = roll()
    for rank in range(3):
        made.hear(report(rank, idle_s=LIMIT_S))
    made.failures[1] = Failure("its error")
    assert made.verdict() is None
    assert first_verdict(made)[1] == Verdict("its error", speaker=1)
