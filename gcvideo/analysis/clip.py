"""The clip of a video that is analysed and shown: one view, from the middle.

Letters: T frames, S side of a view.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gcvideo.data.dataset import open_for, read_views
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Views


class Recognizes(Protocol):
    """What is needed of a trained model; `gcvideo.load` returns one."""

    @property
    def task(self) -> Any: ...

    @property
    def clip(self) -> Clip: ...

    @property
    def views(self) -> Views: ...

    @property
    def decoder(self) -> str: ...


class CentralClip(NamedTuple):
    """One view of a video.

    Attributes:
        frames: uint8 [3, T, S, S].
        times: of the frames, in seconds from the start of the video; their numbers where the file has no frame rate.
        unit: of the times: "s", or "" for numbers.
    """

    frames: Tensor
    times: tuple[float, ...]
    unit: str

    @property
    def seconds_per_frame(self) -> float:
        """Between neighbouring frames; 0.2 where that is unknown, or the clip is a still."""
        span = self.times[-1] - self.times[0]
        return span / (len(self.times) - 1) if self.unit and span > 0 else 0.2


def central_clip(recognizer: Recognizes, path: str | Path) -> CentralClip:
    """The central square of the central clip (with spacing "slowfast": of the first, as in a validation).

    Raises:
        VideoDecodeError: no such file, or it can't be decoded.
    """
    reader = open_for(recognizer.clip, str(path), recognizer.decoder)
    views = read_views(reader, recognizer.clip, replace(recognizer.views, temporal=1, spatial=1))
    numbers = views.indices[0].tolist()
    if not reader.fps > 0:
        return CentralClip(views.frames[0], tuple(map(float, numbers)), "")
    return CentralClip(views.frames[0], tuple(number / reader.fps for number in numbers), "s")


def network_input(recognizer: Recognizes, clip: CentralClip) -> Tensor:
    """The clip as the network takes it: [1, 3, T, S, S] on its device."""
    with torch.no_grad():
        return recognizer.task.normalise(clip.frames[None].to(recognizer.task.device))
