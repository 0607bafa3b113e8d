"""How frames are scaled to a short side and where squares lie in them: to the pixel, as two projects do it.

Letters: T frames, H W of the decoded frames.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor
from torchvision.transforms.v2 import functional as F

Geometry = Literal["gcvideo", "slowfast"]


class Rules(NamedTuple):
    """What a geometry consists of.

    Attributes:
        long_side: (long side, short side, length that the short side is scaled to) -> length of the long side.
        offsets: pixels by which a side exceeds a square -> first, centre and last offset of the square.
        antialias: filter where frames are made smaller.
    """

    long_side: Callable[[int, int, int], int]
    offsets: Callable[[int], tuple[int, int, int]]
    antialias: bool


GEOMETRIES: dict[Geometry, Rules] = {
    # mmaction2's Resize, CenterCrop and ThreeCrop, whose squares are equally far apart
    # (mmaction/datasets/transforms/processing.py, mmcv/image/geometric.py); but these do not filter.
    "gcvideo": Rules(
        long_side=lambda long, short, length: int(long * (length / short) + 0.5),
        offsets=lambda room: (0, room // 2, room // 2 * 2),
        antialias=True,
    ),
    # PySlowFast's random_short_side_scale_jitter and uniform_crop (slowfast/datasets/transform.py).
    "slowfast": Rules(
        long_side=lambda long, short, length: math.floor(long / short * length),
        offsets=lambda room: (0, (room + 1) // 2, room),
        antialias=False,
    ),
}


def check_geometry(option: str, value: str) -> None:
    """Raise a ValueError that names the option if the value is no geometry."""
    if value not in GEOMETRIES:
        raise ValueError(f"expected {option} to be one of {tuple(GEOMETRIES)}, got {value!r}")


def scaled(frames: Tensor, short_side: int, geometry: Geometry) -> Tensor:
    """Frames uint8 [T, 3, H, W] with a short side of that length."""
    height, width = frames.shape[-2:]
    if min(height, width) == short_side:  # prepared videos have it already, by default
        return frames
    rules = GEOMETRIES[geometry]
    long_side = rules.long_side(max(height, width), min(height, width), short_side)
    size = [long_side, short_side] if height > width else [short_side, long_side]
    return F.resize(frames, size, antialias=rules.antialias)
