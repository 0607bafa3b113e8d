"""Which frames a clip takes. Arithmetic only; nothing is read.

A clip is T frames, `stride` frames apart ("8x8" is 8 frames at stride 8), as `SampleFrames` of mmaction2 and the papers
count them, in raw frames of the file. With `target_fps` the stride counts frames of that rate instead: a file of 60 fps
is stepped through twice as fast as one of 30 fps.

`spacing` selects one of three definitions of a clip (T frames, stride s, file rate f, target rate r):

- "stride": frame t is floor(t * s) after the first, or floor(t * s * f / r) with a target rate.
- "mmaction": frame t is t * s after the first, and all else as in `SampleFrames` of mmaction2
  (`mmaction/datasets/transforms/loading.py`): test starts are rounded and not floored; a training clip ends s frames
  before its video does; single frames are the middles of V equal parts; "hold" repeats the last frame taken.
- "slowfast": as the PyAV path of PySlowFast (`slowfast/datasets/decoder.py`). A clip covers T * s * f / r frames; its
  frames are spread evenly from its first to its last, so "8x8" at 30 fps is 8 frames over 64, 63 / 7 = 9 apart and not
  8. A start between two frames is the later one. The last of several test clips does not reach the end of the video:
  clip v of V starts at v / V of the room, not v / (V - 1).

"Room" is the largest start at which a clip still fits into the video. With T = 3 and stride 2 in a video of 8 frames:

    # start 0:           f.f.f...
    # start 3 (= room):  ...f.f.f

Letters: V views in time, T frames of a clip.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

ShortVideo = Literal["loop", "hold"]
Spacing = Literal["stride", "slowfast", "mmaction"]

MAX_FRAMES = 4096
"""Frames of a clip, and frames between them, at most: a clip of 340x256 is then decoded into 1 GiB."""


@dataclass(frozen=True)
class Clip:
    """What a clip is.

    Args:
        frames: T, frames of a clip, at most 4096.
        stride: distance of neighbouring frames, at most 4096; "8x8" is 8 frames at stride 8.
        target_fps: count the stride in frames of this rate; default raw frames of the file.
        short: what a video shorter than a clip does: start again at frame 0 ("loop") or repeat its last frame
            ("hold"). With spacing "slowfast" it always holds.
        spacing: how frames are spaced in a clip, and clips in a video: "stride"; "slowfast" as in PySlowFast, which
            requires target_fps; "mmaction" as in mmaction2, which counts raw frames and excludes target_fps.

    Raises:
        ValueError: a value out of range, spacing "slowfast" without target_fps, or "mmaction" with it.
    """

    frames: int = 8
    stride: int = 8
    target_fps: float | None = None
    short: ShortVideo = "loop"
    spacing: Spacing = "stride"

    def __post_init__(self) -> None:
        for name in ("frames", "stride"):
            if not 1 <= getattr(self, name) <= MAX_FRAMES:
                raise ValueError(f"expected clip.{name} in 1 to {MAX_FRAMES}, got {getattr(self, name)}")
        for name, choices in (("short", get_args(ShortVideo)), ("spacing", get_args(Spacing))):
            if getattr(self, name) not in choices:
                raise ValueError(f"expected clip.{name} to be one of {choices}, got {getattr(self, name)!r}")
        if self.target_fps is not None and not 0 < self.target_fps < math.inf:
            raise ValueError(f"expected a finite clip.target_fps > 0, got {self.target_fps}")
        if self.spacing == "slowfast" and self.target_fps is None:
            raise ValueError(
                "clip.spacing slowfast counts in seconds: expected clip.target_fps (PySlowFast's recipes: 30), got None"
            )
        if self.spacing == "mmaction" and self.target_fps is not None:
            raise ValueError(
                f"clip.spacing mmaction counts raw frames, as mmaction2's recipes: expected clip.target_fps None, got "
                f"{self.target_fps} (PySlowFast's count in seconds: clip.spacing slowfast)"
            )

    def random(self, num_frames: int, fps: float, generator: torch.Generator) -> Tensor:
        """One clip at a uniformly random start.

        Args:
            num_frames: frames of the video, at least 1.
            fps: frame rate of the video; used with `target_fps` only.
            generator: source of the start.

        Returns:
            int64 indices [1, T] in [0, num_frames), ascending unless the video is shorter than the clip.

        Raises:
            ValueError: no frames, or `target_fps` is set and `fps` is not positive.
        """
        step = self._step(num_frames, fps)
        if self.spacing == "slowfast":  # its starts are fractions of a frame, and so are its rooms
            room = max(num_frames - self.frames * step, 0.0)
            starts = torch.rand(1, dtype=torch.float64, generator=generator) * room  # [1]
            return self._spread(starts, step, num_frames)
        offsets = self._offsets(step)
        last = _room(offsets, num_frames)
        if self.spacing == "mmaction":  # for training, its clips are T * s frames long; for a test, (T - 1) * s + 1
            last = max(num_frames - self.frames * self.stride, 0)
        starts = torch.randint(last + 1, (1,), generator=generator)  # [1]
        return self._inside(starts[:, None] + offsets, num_frames)

    def uniform(self, num_frames: int, fps: float, views: int) -> Tensor:
        """Clips spread evenly, the first at the start of the video and the last at its end; one is the centre clip.

        With spacing "slowfast", one clip is at the start, and several don't reach the end; with "mmaction", single
        frames (T = 1) are the middles of V equal parts. See the head of this module.

        Args:
            num_frames, fps: of the video, as in `random`.
            views: V, at least 1.

        Returns:
            int64 indices [V, T] in [0, num_frames).

        Raises:
            ValueError: as `random`, or no views.
        """
        if views < 1:
            raise ValueError(f"expected views >= 1, got {views}")
        step = self._step(num_frames, fps)
        if self.spacing == "slowfast":
            room = max(num_frames - self.frames * step, 0.0)
            return self._spread(torch.arange(views, dtype=torch.float64) * room / views, step, num_frames)
        offsets = self._offsets(step)
        last = _room(offsets, num_frames)
        order = torch.arange(views, dtype=torch.float64)
        if self.spacing == "mmaction" and self.frames == 1:
            part = num_frames / views
            starts = (order * part + part / 2).floor()
        elif views == 1:
            starts = torch.tensor([last // 2])  # linspace would put a single clip at the start
        elif self.spacing == "mmaction":
            starts = (order * (last / (views - 1))).round()
        else:
            starts = torch.linspace(0, last, views, dtype=torch.float64).floor()  # [V]
        return self._inside(starts.long()[:, None] + offsets, num_frames)

    def sliding(self, num_frames: int, fps: float, hop_s: float | None = None) -> Tensor:
        """Clips from the start of a video to its end, the last one at its end.

        Args:
            num_frames, fps: of the video.
            hop_s: seconds from one clip to the next; default half a clip.

        Returns:
            int64 indices [W, T] in [0, num_frames).

        Raises:
            ValueError: as `random`, no frame rate, or `hop_s` is not positive.
        """
        if not 0 < fps < math.inf or (hop_s is not None and not 0 < hop_s < math.inf):
            raise ValueError(f"expected fps > 0 and hop_s > 0, got {fps} and {hop_s}")
        step = self._step(num_frames, fps)
        offsets = self._offsets(step)
        length = self.frames * step if self.spacing == "slowfast" else int(offsets[-1]) + 1
        hop = max(length / 2 if hop_s is None else hop_s * fps, 1.0)
        room = max(num_frames - length, 0)
        # hop 2, room 5:  0 2 4 5
        starts = torch.cat([torch.arange(0, room, hop, dtype=torch.float64), torch.tensor([room], dtype=torch.float64)])
        if self.spacing == "slowfast":
            return self._spread(starts, step, num_frames)
        return self._inside(starts.long()[:, None] + offsets, num_frames)

    def _step(self, num_frames: int, fps: float) -> float:
        """Distance of neighbouring frames, in frames of the file."""
        if num_frames < 1:
            raise ValueError(f"expected num_frames >= 1, got {num_frames}")
        if self.target_fps is None:
            return float(self.stride)
        if not fps > 0:
            raise ValueError(f"clip.target_fps requires the frame rate of the video: expected fps > 0, got {fps}")
        return self.stride * fps / self.target_fps

    def _offsets(self, step: float) -> Tensor:
        """Frame offsets [T] from the start of a clip: with a step of 1.5, 0 1 3 4 6."""
        return (torch.arange(self.frames, dtype=torch.float64) * step).floor().long()

    def _inside(self, indices: Tensor, num_frames: int) -> Tensor:
        """Bring the indices of a clip that is longer than its video into [0, num_frames)."""
        # 6 frames, stride 2:  0 2 4 6 8  ->  loop 0 2 4 0 2,  hold 0 2 4 5 5,  hold of mmaction 0 2 4 4 4
        if self.short == "loop":
            return indices % num_frames
        last = num_frames - 1
        if self.spacing == "mmaction":
            last -= last % self.stride
        return torch.where(indices < num_frames, indices, last)

    def _spread(self, starts: Tensor, step: float, num_frames: int) -> Tensor:
        """Indices [V, T], evenly from each start [V] to the last frame of its clip."""
        # PySlowFast decodes from the start on, so the first frame is not before it; in what it decoded, it counts from
        # 0 and rounds down, in float32.  4 frames over 10.5 from 2.3:  first 3,  along 0 3.17 6.33 9.5  ->  3 6 9 12
        first = starts.ceil().long()  # [V]
        along = torch.linspace(0, self.frames * step - 1, self.frames).long()  # [T]
        return (first[:, None] + along).clamp(max=num_frames - 1)


def _room(offsets: Tensor, num_frames: int) -> int:
    """Largest start that keeps a clip inside the video; 0 for a video shorter than the clip."""
    return max(num_frames - 1 - int(offsets[-1]), 0)


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (SplitMix64's finaliser over a running sum)."""
    # Not a sum of the numbers: (epoch 1, index 2) and (epoch 2, index 1) must not share their randomness.
    state = 0
    for number in numbers:
        # The increment (2**64 / golden ratio) matters: without it, zeros would stay 0, and (0,) and (0, 0) be one seed.
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1
