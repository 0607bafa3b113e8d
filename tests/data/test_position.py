"""Where a training resumes: laws for all lengths, ranks and batch sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcvideo.data.position import Order, Position, dump, resume
from gcvideo.data.samplers import TrainSampler
from gcvideo.errors import UsageError

sizes = st.tuples(st.integers(1, 4), st.integers(1, 5))  # ranks, clips of a batch


def batches_of(num_videos, ranks, batch):
    return num_videos // ranks // batch


def train(num_videos, ranks, batch, start, num_batches):
    """The videos that all ranks use, batch by batch, in the first pass from a position."""
    orders = [list(TrainSampler(num_videos, 0, rank, ranks, start)) for rank in range(ranks)]
    steps = [[items[first : first + batch] for items in orders] for first in range(0, num_batches * batch, batch)]
    return [item for step in steps for items in step for item in items]


@given(st.integers(1, 200), sizes, st.integers(0, 300), st.integers(0, 300))
def test_two_sessions_are_one(num_videos, size, first, second):
    batches, whole = batches_of(num_videos, *size), size[0] * size[1]
    if batches:
        start = Position()
        halfway = start.after(first, batches, whole)
        assert halfway.after(second, batches, whole) == start.after(first + second, batches, whole)
        assert halfway == Position(*(number * scale for number, scale in zip(divmod(first, batches), (1, whole))))


@given(st.integers(4, 120), sizes, sizes, st.data())
def test_another_size_in_the_middle_of_an_epoch(num_videos, before, after, data):
    """No video is repeated; those that are left out fill no batch of the new size."""
    batches, later = batches_of(num_videos, *before), batches_of(num_videos, *after)
    if not batches or not later:
        return
    done = data.draw(st.integers(0, batches - 1))
    position = Position().after(done, batches, before[0] * before[1])
    used = train(num_videos, *before, Position(), done)
    rest = later - position.first_batch(later, after[0] * after[1])
    used += train(num_videos, *after, position, rest)
    indices = [index for epoch, index in used if epoch == 0]
    assert len(indices) == len(used) == len(set(indices))
    order = [index for _, index in TrainSampler(num_videos, 0)]
    assert sorted(indices) == sorted(order[: len(indices)])
    assert num_videos - len(indices) < 2 * after[0] * after[1]


def order(**changes):
    return Order(**({"videos": "abc", "num_videos": 10, "seed": 0, "readers": None} | changes))


@pytest.mark.parametrize(
    ("before", "now", "message"),
    (
        (order(), order(videos="abd", num_videos=11), r"the training videos \(10 before, 11 now\) differ"),
        (order(), order(seed=3), r"data.seed \(0 before, 3 now\) differ: videos of epoch 2"),
        (order(readers=[1, 2, 4]), order(readers=[2, 2, 4]), "ranks, data.num_workers and data.batch_size of shards"),
    ),
)
def test_another_order_is_refused_or_begins_the_epoch_anew(before, now, message):
    state = dump(Position(2, 5), before)
    assert resume(state, before, False) == (2, 5)
    with pytest.raises(UsageError, match=message):
        resume(state, now, False)
    assert resume(state, now, True) == (2, 0)


def test_readers_of_shards_may_change_between_epochs():
    state = dump(Position(2, 0), order(readers=[1, 2, 4]))
    assert resume(state, order(readers=[4, 8, 4]), False) == (2, 0)


@pytest.mark.parametrize(
    "state", ({}, {"epoch": 1}, {"epoch": "x", "videos": 0, "order": {}}, {"epoch": 1, "videos": 2})
)
def test_a_malformed_position(state):
    with pytest.raises(UsageError, match="the checkpoint's position in the data is malformed"):
        resume(state, order(), False)
