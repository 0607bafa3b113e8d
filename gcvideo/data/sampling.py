"""Which frames a clip takes. Arithmetic only; nothing is read.

A clip is `clip_frames` frames, `stride` frames apart ("8x8" is 8 frames at stride 8), as `SampleFrames` of mmaction2
and the papers count them, in raw frames of the file. With `target_fps` the stride counts frames of that rate instead:
a file of 60 fps is stepped over twice as fast as one of 30.

`spacing` chooses between two definitions of a clip (T frames, stride s, file rate f, target rate r):

- "stride": frame t is floor(t * s) behind the first, or floor(t * s * f / r) with a target rate.
- "slowfast": as PySlowFast's `slowfast/datasets/decoder.py`. A clip is T * s * f / r frames long; its frames are spread
  evenly from its first to its last, so "8x8" at 30 fps is 8 frames over 64, 63 / 7 = 9 apart and not 8. The last of
  several test clips does not reach the end of the video: clip v of V starts at v / V of the room, not v / (V - 1).

Letters: V views in time, T frames of a clip.
"""

from typing import Literal

import torch
from torch import Tensor

ShortVideo = Literal["loop", "hold"]
Spacing = Literal["stride", "slowfast"]


def random_clip(
    num_frames: int,
    clip_frames: int,
    stride: int,
    generator: torch.Generator,
    fps: float | None = None,
    target_fps: float | None = None,
    short: ShortVideo = "loop",
    spacing: Spacing = "stride",
) -> Tensor:
    """One clip at a uniformly random start: int64 indices [1, T] in [0, num_frames), ascending unless looped.

    Args:
        num_frames: frames in the video, at least 1.
        clip_frames, stride: T and the distance of neighbours, at least 1.
        generator: source of the start.
        fps, target_fps: rates of the file and of the sampling; give both or neither.
        short: a clip longer than the video starts again at frame 0 ("loop") or repeats the last frame ("hold"); with
            spacing "slowfast" it always holds.
        spacing: "stride" or "slowfast"; see the head of this module.
    """
    if _is_slowfast(spacing):
        span, room_frames = _span(num_frames, clip_frames, stride, fps, target_fps)
        first = torch.rand(1, dtype=torch.float64, generator=generator) * room_frames
        return _spread(first, span, clip_frames, num_frames)
    offsets, room = _offsets(num_frames, clip_frames, stride, fps, target_fps)
    start = torch.randint(room + 1, (1, 1), generator=generator)
    return _inside(start + offsets, num_frames, short)


def uniform_clips(
    num_frames: int,
    clip_frames: int,
    stride: int,
    views: int,
    fps: float | None = None,
    target_fps: float | None = None,
    short: ShortVideo = "loop",
    spacing: Spacing = "stride",
) -> Tensor:
    """`views` clips spread evenly, the first at the start and the last at the end: int64 indices [V, T].

    One view is the centre clip. Other arguments as in `random_clip`.
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    if _is_slowfast(spacing):
        span, room_frames = _span(num_frames, clip_frames, stride, fps, target_fps)
        firsts = torch.arange(views, dtype=torch.float64) * room_frames / views
        return _spread(firsts, span, clip_frames, num_frames)
    offsets, room = _offsets(num_frames, clip_frames, stride, fps, target_fps)
    if views == 1:
        starts = torch.tensor([room // 2])
    else:
        starts = torch.linspace(0, room, views, dtype=torch.float64).floor().long()
    return _inside(starts[:, None] + offsets, num_frames, short)


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (SplitMix64's finaliser over a running sum)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1


def _is_slowfast(spacing: Spacing) -> bool:
    if spacing not in ("stride", "slowfast"):
        raise ValueError(f"spacing must be 'stride' or 'slowfast', got {spacing!r}")
    return spacing == "slowfast"


def _span(
    num_frames: int, clip_frames: int, stride: int, fps: float | None, target_fps: float | None
) -> tuple[float, float]:
    """Length of PySlowFast's clip in frames of the file, and the largest start."""
    if target_fps is None:
        raise ValueError("spacing 'slowfast' wants target_fps")
    step = _step(num_frames, clip_frames, stride, fps, target_fps)
    return clip_frames * step, max(num_frames - clip_frames * step, 0.0)


def _spread(firsts: Tensor, span: float, clip_frames: int, num_frames: int) -> Tensor:
    """Indices [V, T], evenly from each first frame [V] to the last of its clip, as `torch.linspace` and a cut."""
    along = torch.linspace(0, span - 1, clip_frames, dtype=torch.float64)
    return (firsts[:, None] + along).clamp(0, num_frames - 1).long()


def _offsets(
    num_frames: int, clip_frames: int, stride: int, fps: float | None, target_fps: float | None
) -> tuple[Tensor, int]:
    """Frame offsets [T] from the start of a clip, and the largest start that keeps the clip inside the video."""
    step = _step(num_frames, clip_frames, stride, fps, target_fps)
    offsets = (torch.arange(clip_frames, dtype=torch.float64) * step).floor().long()
    return offsets, max(num_frames - 1 - int(offsets[-1]), 0)


def _step(num_frames: int, clip_frames: int, stride: int, fps: float | None, target_fps: float | None) -> float:
    """Distance of neighbours in frames of the file."""
    for name, value in (("num_frames", num_frames), ("clip_frames", clip_frames), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if target_fps is None:
        return float(stride)
    if fps is None or fps <= 0 or target_fps <= 0:
        raise ValueError(f"sampling by rate needs positive fps and target_fps, got fps={fps}, target_fps={target_fps}")
    return stride * fps / target_fps


def _inside(indices: Tensor, num_frames: int, short: ShortVideo) -> Tensor:
    if short not in ("loop", "hold"):
        raise ValueError(f"short must be 'loop' or 'hold', got {short!r}")
    return indices % num_frames if short == "loop" else indices.clamp(max=num_frames - 1)
