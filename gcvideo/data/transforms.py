"""From decoded frames to square views, uint8 in and out.

A box is cut out first and resized then; that is the same view as resizing the whole frame and cropping it, up to the
rounding of the box to whole pixels and the filter at its border, at a fraction of the cost.

Letters: T frames, H W of the decoded frames, S of the view.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

SPATIAL_VIEWS = (1, 3)


def random_view(
    frames: Tensor, size: int, short_side: tuple[int, int], flip: bool, generator: torch.Generator
) -> Tensor:
    """Training view: short-side jitter, random crop, horizontal flip; the same for all frames.

    The short side of the frames is scaled to a length drawn uniformly from `short_side` and a `size` x `size` square
    is cropped at random ("Very Deep Convolutional Networks", arXiv:1409.1556, section 3.1; as the SlowFast recipes).

    Args:
        frames: uint8 [T, 3, H, W].
        size: S; at most `short_side[0]`.
        short_side: smallest and largest length, in pixels of the scaled frame.
        flip: mirror half of the clips.

    Returns:
        uint8 [T, 3, S, S].
    """
    height, width = frames.shape[-2:]
    side = int(torch.randint(short_side[0], short_side[1] + 1, (), generator=generator))
    box = max(round(size * min(height, width) / side), 1)
    top = int(torch.randint(height - box + 1, (), generator=generator))
    left = int(torch.randint(width - box + 1, (), generator=generator))
    return _cut(frames, (top, left, box, box), size, flip, generator)


def random_resized_view(frames: Tensor, size: int, min_area: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Training view: a random box of random area and shape, resized to a square; the same for all frames.

    "Going Deeper with Convolutions" (arXiv:1409.4842, section 6), as torchvision's RandomResizedCrop: the area is
    uniform in [min_area, 1] of the frame, the aspect ratio log-uniform in [3/4, 4/3]; after ten boxes that do not fit,
    the largest centre box of an allowed ratio.

    Args:
        frames: uint8 [T, 3, H, W].
        size: S.
        min_area: in (0, 1]; 0.08 for ImageNet.
        flip: mirror half of the clips.

    Returns:
        uint8 [T, 3, S, S].
    """
    height, width = frames.shape[-2:]
    for _ in range(10):
        area = height * width * (min_area + (1 - min_area) * float(torch.rand((), generator=generator)))
        ratio = math.exp(math.log(4 / 3) * (2 * float(torch.rand((), generator=generator)) - 1))
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(torch.randint(height - box_height + 1, (), generator=generator))
            left = int(torch.randint(width - box_width + 1, (), generator=generator))
            return _cut(frames, (top, left, box_height, box_width), size, flip, generator)
    box_height, box_width = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    box = ((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)
    return _cut(frames, box, size, flip, generator)


def _cut(frames: Tensor, box: tuple[int, int, int, int], size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """The box (top, left, height, width) resized to S x S, and mirrored by a coin if `flip`."""
    mirrored = flip and bool(torch.randint(2, (), generator=generator))
    view = _resized(frames, box, size)
    return view.flip(-1) if mirrored else view


def fixed_views(frames: Tensor, size: int, short_side: int, spatial_views: int) -> list[Tensor]:
    """Evaluation views: the centre square, or three squares along the long side (first, centre, last).

    Args:
        frames: uint8 [T, 3, H, W].
        size: S; at most `short_side`.
        short_side: length that the short side is scaled to.
        spatial_views: 1 or 3.

    Returns:
        uint8 [T, 3, S, S] for each spatial view; parts of one scaled copy of the frames.
    """
    height, width = frames.shape[-2:]
    if min(height, width) != short_side:
        scale = short_side / min(height, width)
        height, width = max(round(height * scale), short_side), max(round(width * scale), short_side)
        frames = F.resize(frames, [height, width], antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    if spatial_views == 1:
        corners = [(top, left)]
    elif spatial_views == 3:
        lasts = (0, left, width - size) if width >= height else (0, top, height - size)
        corners = [(top, last) if width >= height else (last, left) for last in lasts]
    else:
        raise ValueError(f"spatial_views must be one of {SPATIAL_VIEWS}, got {spatial_views}")
    return [frames[..., top : top + size, left : left + size] for top, left in corners]


def _resized(frames: Tensor, box: tuple[int, int, int, int], size: int) -> Tensor:
    """The box (top, left, height, width) of frames [T, 3, H, W] resized to S x S."""
    top, left, height, width = box
    part = frames[..., top : top + height, left : left + width]
    return part if height == width == size else F.resize(part, [size, size], antialias=True)
