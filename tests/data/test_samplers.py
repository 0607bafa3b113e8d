"""Order and coverage of the samplers."""

import pytest

from gcvideo.data.loader import WatchedLoader
from gcvideo.data.position import Position
from gcvideo.data.samplers import EvalSampler, TrainSampler


@pytest.mark.parametrize("world_size", (1, 2, 3))
@pytest.mark.parametrize("num_videos", (3, 7, 16))
def test_ranks_share_one_permutation(num_videos, world_size):
    samplers = [TrainSampler(num_videos, 0, rank, world_size) for rank in range(world_size)]
    epochs = []
    for epoch in range(3):
        keys = [list(sampler) for sampler in samplers]
        assert {len(own) for own in keys} == {num_videos // world_size} == {len(samplers[0])}
        assert all(key[0] == epoch for own in keys for key in own)
        indices = [index for own in keys for _, index in own]
        assert len(set(indices)) == len(indices)
        assert set(indices) <= set(range(num_videos))
        epochs.append(tuple(indices))
    if num_videos == 16:
        assert len(set(epochs)) == 3


def test_order_depends_on_the_seed():
    assert list(TrainSampler(20, 0)) == list(TrainSampler(20, 0))
    assert list(TrainSampler(20, 0)) != list(TrainSampler(20, 1))


def test_a_resumed_sampler_continues_where_it_stopped():
    whole = TrainSampler(10, 0)
    epochs = [list(whole) for _ in range(4)]
    resumed = TrainSampler(10, 0, start=Position(2, 4))
    assert list(resumed) == epochs[2][4:]
    assert list(resumed) == epochs[3]


def test_a_pass_that_is_dropped_is_repeated():
    """As Lightning does where it resumes at the end of an epoch; only a loader knows that no batch was taken."""
    sampler = TrainSampler(6, 0)
    first, second = list(sampler), list(sampler)
    for workers in (0, 1):
        loader = WatchedLoader(
            Keys(), batch_size=3, sampler=TrainSampler(6, 0), num_workers=workers, persistent_workers=workers > 0,
            collate_fn=list,
        )  # fmt: skip
        iter(loader)
        assert [key for batch in loader for key in batch] == first
        iter(loader)
        assert [key for batch in loader for key in batch] == second


class Keys:
    """A data set whose items are their keys."""

    def __len__(self):
        return 6

    def __getitem__(self, key):
        return key


def test_another_number_of_ranks_continues_the_same_order():
    """2 ranks use 6 videos; 3 ranks have the rest, each video once."""
    order = [index for _, index in TrainSampler(11, 0)]
    rest = [list(TrainSampler(11, 0, rank, 3, Position(0, 6))) for rank in range(3)]
    assert [index for items in zip(*rest, strict=True) for _, index in items] == order[6:9]  # 5 // 3 on each


def test_too_few_videos_for_the_processes():
    with pytest.raises(ValueError, match="expected at least one training video for each of 2 processes, got 1"):
        TrainSampler(1, 0, 0, 2)


@pytest.mark.parametrize("num_videos", (1, 5, 7, 16))
@pytest.mark.parametrize("world_size", (1, 2, 3))
def test_evaluation_sees_every_video_once(num_videos, world_size):
    for done in ((), {0}, {0, 2, 3}, set(range(num_videos))):
        shares = [list(EvalSampler(num_videos, rank, world_size, done)) for rank in range(world_size)]
        seen = [index for share in shares for index in share if index is not None]
        assert sorted(seen) == [index for index in range(num_videos) if index not in done]
        assert all(share == [None] or None not in share for share in shares)  # a rank without videos has one batch
        lengths = [len(EvalSampler(num_videos, rank, world_size, done)) for rank in range(world_size)]
        assert lengths == [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1
