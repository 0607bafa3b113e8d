"""Laws and exact values of the clip sampling."""

import pytest
import torch

from gcvideo.data.sampling import mix_seed, random_clip, uniform_clips


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("num_frames", (1, 2, 13, 57, 64, 300))
@pytest.mark.parametrize(("clip_frames", "stride"), ((8, 8), (8, 1), (1, 5), (32, 2)))
@pytest.mark.parametrize("short", ("loop", "hold"))
def test_indices_are_in_range_and_evenly_spaced(num_frames, clip_frames, stride, short):
    clips = [random_clip(num_frames, clip_frames, stride, generator(seed), short=short) for seed in range(5)]
    clips.append(uniform_clips(num_frames, clip_frames, stride, 4, short=short))
    for clip in clips:
        assert clip.dtype == torch.int64
        assert clip.shape[1] == clip_frames
        assert clip.min() >= 0
        assert clip.max() < num_frames
        if num_frames > (clip_frames - 1) * stride:
            assert (clip.diff(dim=1) == stride).all()


def test_random_start_is_uniform_over_all_places():
    starts = torch.stack([random_clip(20, 8, 2, generator(seed))[0, 0] for seed in range(1500)])
    counts = torch.bincount(starts)  # 20 - 14 = 6 places
    assert len(counts) == 6
    assert counts.min() > 180
    assert counts.max() < 320


def test_same_generator_state_gives_the_same_clip():
    assert torch.equal(random_clip(300, 8, 8, generator(3)), random_clip(300, 8, 8, generator(3)))


def test_uniform_clips_reach_from_the_first_to_the_last_frame():
    clips = uniform_clips(300, 8, 8, 10)
    assert clips[0, 0] == 0
    assert clips[-1, -1] == 299
    gaps = clips[:, 0].diff()
    assert gaps.max() - gaps.min() <= 1


def test_one_view_is_the_centre():
    assert uniform_clips(21, 3, 2, 1).tolist() == [[8, 10, 12]]


@pytest.mark.parametrize(("short", "expected"), (("loop", [0, 2, 4, 1, 3]), ("hold", [0, 2, 4, 4, 4])))
def test_video_shorter_than_the_clip(short, expected):
    assert uniform_clips(5, 5, 2, 1, short=short).tolist() == [expected]
    assert random_clip(5, 5, 2, generator(), short=short).tolist() == [expected]


def test_rate_scales_the_stride():
    assert uniform_clips(300, 4, 8, 1, fps=60, target_fps=30).diff().tolist() == [[16, 16, 16]]
    assert uniform_clips(300, 4, 2, 1, fps=15, target_fps=30).diff().tolist() == [[1, 1, 1]]
    assert uniform_clips(300, 5, 1, 2, fps=45, target_fps=30)[0].tolist() == [0, 1, 3, 4, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ((0, 8, 8, 1), "num_frames must be at least 1, got 0"),
        ((9, 0, 8, 1), "clip_frames must be at least 1, got 0"),
        ((9, 8, -1, 1), "stride must be at least 1, got -1"),
        ((9, 8, 8, 0), "views must be at least 1, got 0"),
        ((9, 8, 8, 1, None, 30.0), "needs positive fps and target_fps, got fps=None"),
        ((9, 8, 8, 1, 30.0, None, "stretch"), "short must be 'loop' or 'hold', got 'stretch'"),
    ),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        uniform_clips(*arguments)


def test_mixed_seeds_differ_and_fit_a_generator():
    seeds = {mix_seed(seed, epoch, index) for seed in range(5) for epoch in range(5) for index in range(200)}
    assert len(seeds) == 5000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(1, 2) != mix_seed(2, 1)
