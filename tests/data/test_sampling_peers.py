"""Spacing "slowfast" and "mmaction": the frames that PySlowFast and mmaction2 take.

PySlowFast can't be installed: its formulas are written out. mmaction2's `SampleFrames` itself is called; it needs
`pip install --no-deps -r tests/peers.txt`, and is skipped without.
"""

import importlib.util
import random
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from gcvideo.data.sampling import Clip

RECIPES = ((8, 8), (4, 16), (32, 2))  # T, stride
# Rate of a video and ticks of its clock in a frame, as FFmpeg writes MP4.
RATES = (
    (Fraction(15), 1024),
    (Fraction(24000, 1001), 1001),
    (Fraction(24), 512),
    (Fraction(25), 512),
    (Fraction(30000, 1001), 1001),
    (Fraction(30), 512),
    (Fraction(50), 256),
    (Fraction(60000, 1001), 1001),
    (Fraction(60), 256),
)
LENGTHS = (40, 129, 250, 299, 300, 601)


class Draws(random.Random):
    """Python's uniform() from a number that is known beforehand."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def random(self):
        return self.draw


def slowfast_frames(pts, duration, fps, frames, stride, clip, clips, draw=0.0):
    """Indices that decode() of slowfast/datasets/decoder.py returns with PyAV; training if `clip` is -1.

    Args:
        pts: of all frames, ascending.
        duration: of the stream, in ticks.
        draw: in [0, 1), of a training clip.
    """

    def ends(size, length, clip, clips):  # get_start_end_idx
        room = max(size - length, 0)
        start = Draws(draw).uniform(0, room) if clip == -1 else room * clip / clips
        return start, start + length - 1

    start, end = ends(len(pts), stride * frames / 30 * fps, clip, clips)
    ticks = duration / len(pts)
    first_pts, last_pts = int(start * ticks), int(end * ticks)
    decoded = []  # pyav_decode_stream: from the first time on, up to the first frame after the last time
    for index, time in enumerate(pts):
        if time >= first_pts:
            decoded.append(index)
            if time > last_pts:
                break
    start, end = ends(len(decoded), frames * stride * fps / 30, 0, 1)
    rows = torch.linspace(start, end, frames).clamp(0, len(decoded) - 1).long()  # temporal_sampling
    return torch.tensor(decoded)[rows].tolist()


def compare_with_slowfast(pts, duration, fps, frames, stride):
    """One bool for each clip, ten of a test and two of training: are the frames equal?"""
    settings = Clip(frames, stride, target_fps=30, spacing="slowfast")
    test = settings.uniform(len(pts), fps, 10).tolist()
    for clip in range(10):
        yield test[clip] == slowfast_frames(pts, duration, fps, frames, stride, clip, 10)
    for seed in (0, 1):
        draw = float(torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
        (training,) = settings.random(len(pts), fps, torch.Generator().manual_seed(seed)).tolist()
        yield training == slowfast_frames(pts, duration, fps, frames, stride, -1, 10, draw)


def test_slowfast_takes_the_frames_of_its_decoder():
    """PySlowFast cuts a start off to a tick: where it is less than one tick after a frame, it takes that frame.

    That is 1 of 512 random starts in most files, and none of those of a test here.
    """
    equal = [
        list(compare_with_slowfast(range(0, length * ticks, ticks), length * ticks, float(rate), frames, stride))
        for rate, ticks in RATES
        for length in LENGTHS
        for frames, stride in RECIPES
    ]
    assert np.shape(equal) == (162, 12)  # 1944 clips
    assert np.count_nonzero(np.logical_not(equal)) <= 3
    assert np.all([clips[:10] for clips in equal])


@pytest.mark.parametrize(("rate", "ticks"), RATES)
def test_slowfast_takes_the_frames_of_its_decoder_in_a_file(tmp_path, rate, ticks):
    """The times above are those that a file has, B-frames included."""
    path = str(tmp_path / "clip.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"threads": "1", "bf": "2"})
        stream.width = stream.height = 32
        for _ in range(90):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    with av.open(path) as container:
        stream = container.streams.video[0]
        fps, duration = float(stream.average_rate), stream.duration
        pts = sorted(frame.pts for frame in container.decode(stream))
    assert (pts, duration) == (list(range(0, 90 * ticks, ticks)), 90 * ticks)
    assert all(compare_with_slowfast(pts, duration, fps, 8, 8))


@pytest.fixture(scope="module")
def sample_frames():
    if importlib.util.find_spec("mmaction") is None or importlib.util.find_spec("mmcv") is None:
        pytest.skip("mmaction2 is not installed: see tests/peers.txt")
    from mmaction.datasets.transforms import SampleFrames

    return SampleFrames


def mmaction_frames(sampler, num_frames):
    result = sampler.transform({"total_frames": num_frames, "start_index": 0})
    return result["frame_inds"].reshape(-1, sampler.clip_len).tolist()


OUT_OF_BOUND = {"loop": "loop", "hold": "repeat_last"}


@pytest.mark.parametrize("short", OUT_OF_BOUND)
@pytest.mark.parametrize(("frames", "stride"), (*RECIPES, (1, 1), (1, 8), (5, 3)))
def test_mmaction_takes_the_test_frames_of_sample_frames(sample_frames, frames, stride, short):
    settings = Clip(frames, stride, short=short, spacing="mmaction")
    for views in (1, 2, 3, 10, 25):
        sampler = sample_frames(frames, stride, views, out_of_bound_opt=OUT_OF_BOUND[short], test_mode=True)
        for num_frames in (*range(1, 80), *range(245, 305)):
            assert settings.uniform(num_frames, 30, views).tolist() == mmaction_frames(sampler, num_frames)


@pytest.mark.parametrize("short", OUT_OF_BOUND)
@pytest.mark.parametrize(("frames", "stride"), (*RECIPES, (1, 1), (1, 8), (5, 3)))
def test_mmaction_takes_the_training_frames_of_sample_frames(sample_frames, monkeypatch, frames, stride, short):
    """Both draw from a range of integers: each of its values is drawn once."""
    settings = Clip(frames, stride, short=short, spacing="mmaction")
    sampler = sample_frames(frames, stride, 1, out_of_bound_opt=OUT_OF_BOUND[short])
    for num_frames in (1, 2, 7, 15, 29, 56, 57, 63, 64, 65, 66, 90):
        for draw in range(num_frames):
            ranges = []

            def drawn(high, size, draw=draw, ranges=ranges):
                ranges.append(int(high))
                return np.full(size, min(draw, high - 1))

            monkeypatch.setattr(np.random, "randint", drawn)
            theirs = mmaction_frames(sampler, num_frames)
            monkeypatch.undo()
            monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.tensor(drawn(high, size)))
            assert settings.random(num_frames, 30, torch.Generator()).tolist() == theirs
            monkeypatch.undo()
            assert ranges in ([1], [ranges[0]] * 2)  # numpy is not asked for the only start of a short video


def test_what_differs_between_the_spacings():
    """Exact values, for those who read."""
    stride, mmaction = Clip(8, 8), Clip(8, 8, spacing="mmaction")
    # test starts at 250 frames, room 193: 193 / 9 = 21.4 apart, floored or rounded
    assert stride.uniform(250, 30, 10)[:, 0].tolist() == [0, 21, 42, 64, 85, 107, 128, 150, 171, 193]
    assert mmaction.uniform(250, 30, 10)[:, 0].tolist() == [0, 21, 43, 64, 86, 107, 129, 150, 172, 193]
    # single frames
    assert Clip(1, 1).uniform(30, 30, 3).tolist() == [[0], [14], [29]]
    assert Clip(1, 1, spacing="mmaction").uniform(30, 30, 3).tolist() == [[5], [15], [25]]
    # training starts
    starts = {
        spacing: {int(Clip(2, 5, spacing=spacing).random(12, 30, torch.Generator().manual_seed(seed))[0, 0])
                  for seed in range(60)}
        for spacing in ("stride", "mmaction")
    }  # fmt: skip
    assert starts == {"stride": set(range(7)), "mmaction": {0, 1, 2}}
    # a video shorter than the clip
    assert Clip(5, 2, short="hold").uniform(6, 30, 1).tolist() == [[0, 2, 4, 5, 5]]
    assert Clip(5, 2, short="hold", spacing="mmaction").uniform(6, 30, 1).tolist() == [[0, 2, 4, 4, 4]]
    # a start between two frames: room 250 - 64 * 25 / 30 = 196.67, so clip 1 of 10 starts at 19.67; 52.33 / 7 = 7.48
    slowfast = Clip(8, 8, target_fps=30, spacing="slowfast")
    assert slowfast.uniform(250, 25, 10)[1].tolist() == [20, 27, 34, 42, 49, 57, 64, 72]
