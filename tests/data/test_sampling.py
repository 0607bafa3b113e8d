"""Laws and exact values of the clip sampling."""

import math
import re
from pathlib import Path

import pytest
import torch

from gcvideo.data.sampling import Clip, mix_seed


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("num_frames", (1, 2, 13, 57, 64, 300))
@pytest.mark.parametrize(("clip_frames", "stride"), ((8, 8), (8, 1), (1, 5), (32, 2)))
@pytest.mark.parametrize("short", ("loop", "hold"))
def test_indices_are_in_range_and_evenly_spaced(num_frames, clip_frames, stride, short):
    settings = Clip(clip_frames, stride, short=short)
    clips = [settings.random(num_frames, 30, generator(seed)) for seed in range(5)]
    clips.append(settings.uniform(num_frames, 30, 4))
    for clip in clips:
        assert clip.dtype == torch.int64
        assert clip.shape[1] == clip_frames
        assert clip.min() >= 0
        assert clip.max() < num_frames
        if num_frames > (clip_frames - 1) * stride:
            assert (clip.diff(dim=1) == stride).all()


def test_random_start_is_uniform_over_all_starts():
    starts = torch.stack([Clip(8, 2).random(20, 30, generator(seed))[0, 0] for seed in range(1500)])
    counts = torch.bincount(starts)  # 20 - 14 = 6 starts
    assert len(counts) == 6
    assert counts.min() > 180
    assert counts.max() < 320


def test_same_generator_state_gives_the_same_clip():
    assert torch.equal(Clip().random(300, 30, generator(3)), Clip().random(300, 30, generator(3)))


def test_uniform_clips_reach_from_the_first_to_the_last_frame():
    clips = Clip(8, 8).uniform(300, 30, 10)
    assert clips[0, 0] == 0
    assert clips[-1, -1] == 299
    gaps = clips[:, 0].diff()
    assert gaps.max() - gaps.min() <= 1


def test_one_view_is_the_centre():
    assert Clip(3, 2).uniform(21, 30, 1).tolist() == [[8, 10, 12]]


@pytest.mark.parametrize(("short", "expected"), (("loop", [0, 2, 4, 1, 3]), ("hold", [0, 2, 4, 4, 4])))
def test_video_shorter_than_the_clip(short, expected):
    clip = Clip(5, 2, short=short)
    assert clip.uniform(5, 30, 1).tolist() == [expected]
    assert clip.random(5, 30, generator()).tolist() == [expected]


def test_rate_scales_the_stride():
    assert Clip(4, 8, target_fps=30).uniform(300, 60, 1).diff().tolist() == [[16, 16, 16]]
    assert Clip(4, 2, target_fps=30).uniform(300, 15, 1).diff().tolist() == [[1, 1, 1]]
    assert Clip(5, 1, target_fps=30).uniform(300, 45, 2)[0].tolist() == [0, 1, 3, 4, 6]


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"frames": 0}, "expected clip.frames in 1 to 4096, got 0"),
        ({"frames": 100_000}, "expected clip.frames in 1 to 4096, got 100000"),
        ({"stride": -1}, "expected clip.stride in 1 to 4096, got -1"),
        ({"target_fps": 0.0}, "expected a finite clip.target_fps > 0, got 0.0"),
        ({"target_fps": math.nan}, "expected a finite clip.target_fps > 0, got nan"),
        ({"short": "stretch"}, r"expected clip.short to be one of \('loop', 'hold'\), got 'stretch'"),
        ({"spacing": "x"}, r"expected clip.spacing to be one of \('stride', 'slowfast', 'mmaction'\), got 'x'"),
        ({"spacing": "slowfast"}, "expected clip.target_fps .*, got None"),
        ({"spacing": "mmaction", "target_fps": 30}, "expected clip.target_fps None, got 30 .*slowfast"),
    ),
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Clip(**settings)


def test_bad_videos_and_numbers_of_views():
    for clip in (Clip(target_fps=30), Clip(target_fps=30, spacing="slowfast")):
        for call in (
            lambda n, f, clip=clip: clip.random(n, f, generator()),
            lambda n, f, clip=clip: clip.uniform(n, f, 1),
        ):
            with pytest.raises(ValueError, match="expected num_frames >= 1, got 0"):
                call(0, 30)
            with pytest.raises(ValueError, match="expected fps > 0, got 0.0"):
                call(9, 0.0)
        with pytest.raises(ValueError, match="expected views >= 1, got 0"):
            clip.uniform(9, 30, 0)


def test_mixed_seeds_differ_and_fit_a_generator():
    seeds = {mix_seed(seed, epoch, index) for seed in range(5) for epoch in range(5) for index in range(200)}
    assert len(seeds) == 5000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(1, 2) != mix_seed(2, 1)


def test_slowfast_8x8_has_frames_nine_apart():
    slowfast, stride = Clip(target_fps=30, spacing="slowfast"), Clip(target_fps=30)
    assert slowfast.uniform(64, 30, 1).tolist() == [[0, 9, 18, 27, 36, 45, 54, 63]]
    assert stride.uniform(64, 30, 1).tolist() == [[3, 11, 19, 27, 35, 43, 51, 59]]
    # the last of several clips does not reach the end
    assert slowfast.uniform(300, 30, 2)[:, 0].tolist() == [0, 118]
    assert stride.uniform(300, 30, 2)[:, -1].tolist() == [56, 299]


def test_the_drawing_of_test_clips_in_the_documents_is_true():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    lines = re.findall(r"^ +clip \d {6}([x. ]{40})", page, re.MULTILINE)
    drawn = [[at for at, sign in enumerate(line) if sign == "x"] for line in lines]
    assert drawn == Clip(4, 4).uniform(40, 25.0, 3).tolist()
