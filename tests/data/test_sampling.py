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


@pytest.mark.parametrize("fps", (15.0, 25.0, 30.0, 59.94))
@pytest.mark.parametrize(("num_frames", "clip_frames", "stride"), ((300, 8, 8), (301, 4, 16), (250, 32, 2), (40, 8, 8)))
def test_slowfast_spacing_is_that_of_its_decoder(num_frames, clip_frames, stride, fps):
    """Against the formulas of slowfast/datasets/decoder.py, written out."""
    length = stride * clip_frames / 30 * fps
    room = max(num_frames - length, 0)

    def clip(start):
        end = start + length - 1
        places = [start + step * (end - start) / (clip_frames - 1) for step in range(clip_frames)]
        return [int(min(max(place, 0), num_frames - 1)) for place in places]

    views = uniform_clips(num_frames, clip_frames, stride, 10, fps, 30, spacing="slowfast")
    expected = torch.tensor([clip(room * view / 10) for view in range(10)])
    assert (views - expected).abs().max() <= 1  # rounding of the same number in another order
    assert (views == expected).float().mean() > 0.98
    draw = torch.Generator().manual_seed(0)
    start = float(torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))) * room
    one = random_clip(num_frames, clip_frames, stride, draw, fps, 30, spacing="slowfast")
    assert (one[0] - torch.tensor(clip(start))).abs().max() <= 1


def test_slowfast_8x8_has_frames_nine_apart():
    assert uniform_clips(64, 8, 8, 1, 30, 30, spacing="slowfast").tolist() == [[0, 9, 18, 27, 36, 45, 54, 63]]
    assert uniform_clips(64, 8, 8, 1, 30, 30).tolist() == [[3, 11, 19, 27, 35, 43, 51, 59]]
    # the last of several clips does not reach the end
    assert uniform_clips(300, 8, 8, 2, 30, 30, spacing="slowfast")[:, 0].tolist() == [0, 118]
    assert uniform_clips(300, 8, 8, 2, 30, 30)[:, -1].tolist() == [56, 299]


def test_slowfast_spacing_wants_a_rate():
    with pytest.raises(ValueError, match="spacing 'slowfast' wants target_fps"):
        uniform_clips(64, 8, 8, 1, spacing="slowfast")
    with pytest.raises(ValueError, match="needs positive fps"):
        random_clip(64, 8, 8, torch.Generator(), 0.0, 30.0, spacing="slowfast")
    with pytest.raises(ValueError, match="spacing must be 'stride' or 'slowfast', got 'x'"):
        uniform_clips(64, 8, 8, 1, spacing="x")
