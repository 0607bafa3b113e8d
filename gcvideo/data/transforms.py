"""From decoded frames to square views, uint8 in and out.

A box is cut out first and resized then. That is the same view as resizing the whole frame and cropping it, up to the
rounding of the box to whole pixels and the filter at its border, at a fraction of the cost:

    # usual:  340x256 -> resized to 425x320 -> 224x224 cropped   (all pixels are resized)
    # here:   340x256 -> 179x179 cropped -> resized to 224x224   (a third of them)

Evaluation views are cut out of one scaled copy of the frames, of which three of them cover most. So are training views
of PySlowFast's geometry, for the sake of equal pixels.

Letters: T frames, H W of the decoded frames, S side of the view.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from gcvideo.data.appearance import Appearance
from gcvideo.data.geometry import GEOMETRIES, Geometry, check_geometry, scaled

SpatialViews = Literal[1, 3]

MAX_SIDE = 4096
"""Pixels of a side that frames are scaled to, at most."""
MAX_REPEATS = 64


@dataclass(frozen=True)
class Augmentation:
    """What a training view is: which box of its frames, the same for all frames of a clip, and what is changed in it.

    Args:
        size: S, side of a training view in pixels.
        short_side: smallest and largest length, in pixels, that the short side of the frames is scaled to; at most
            4096.
        min_area: take boxes of random area and shape (as ImageNet's and mmaction2's recipes) instead of the short-side
            jitter; the smallest area as a fraction of the frame, 0.08 in most recipes.
        flip: mirror half of the clips; switch it off where left and right are classes.
        geometry: how the short-side jitter is drawn and rounded: "gcvideo", or "slowfast" as in PySlowFast, which
            excludes `min_area`.
        appearance: RandAugment, colour jitter, erasing; see `Appearance`.
        repeats: views of a video in a batch, each at its own time and with its own box: "repeated augmentation"
            (arXiv:1901.09335). A batch has `batch_size` x `repeats` clips, and each video is decoded once for them.

    Raises:
        ValueError: a value out of range, or geometry "slowfast" with `min_area`.
    """

    size: int = 224
    short_side: tuple[int, int] = (256, 320)
    min_area: float | None = None
    flip: bool = True
    geometry: Geometry = "gcvideo"
    appearance: Appearance = Appearance()
    repeats: int = 1

    def __post_init__(self) -> None:
        check_geometry("augment.geometry", self.geometry)
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise ValueError(f"expected augment.repeats in 1 to {MAX_REPEATS}, got {self.repeats}")
        if len(self.short_side) != 2 or not 1 <= self.size <= self.short_side[0] <= self.short_side[1] <= MAX_SIDE:
            raise ValueError(
                f"expected 1 <= augment.size <= augment.short_side[0] <= augment.short_side[1] <= {MAX_SIDE}, "
                f"got size {self.size}, short_side {self.short_side}"
            )
        if self.min_area is not None and not 0 < self.min_area <= 1:
            raise ValueError(f"expected augment.min_area in (0, 1], got {self.min_area}")
        if self.min_area is not None and self.geometry == "slowfast":
            raise ValueError(
                f"augment.geometry slowfast is a short-side jitter: expected augment.min_area None, got {self.min_area}"
            )

    def view(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """A random view of frames uint8 [T, 3, H, W]: uint8 [T, 3, S, S]."""
        return self.appearance.change(self._cut_out(frames, generator), generator)

    def _cut_out(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        if self.min_area is not None:
            return random_resized_view(frames, self.size, self.min_area, self.flip, generator)
        take = random_scaled_view if self.geometry == "slowfast" else random_view
        return take(frames, self.size, self.short_side, self.flip, generator)


@dataclass(frozen=True)
class Views:
    """The views that an evaluation takes of each video: V = temporal x spatial.

    Args:
        temporal: clips, spread evenly; papers take 10.
        spatial: squares of each clip, 1 (centre) or 3 along the long side; papers take 3.
        size: side of a view in pixels; default that of a training view.
        short_side: length in pixels that the short side is scaled to, at most 4096; default the smallest of training.
        geometry: how sizes and margins are rounded: "gcvideo" as in mmaction2, or "slowfast" as in PySlowFast.

    Raises:
        ValueError: a value out of range.
    """

    temporal: int = 10
    spatial: SpatialViews = 3
    size: int | None = None
    short_side: int | None = None
    geometry: Geometry = "gcvideo"

    def __post_init__(self) -> None:
        check_geometry("views.geometry", self.geometry)
        if self.temporal < 1:
            raise ValueError(f"expected views.temporal >= 1, got {self.temporal}")
        if self.spatial not in get_args(SpatialViews):
            raise ValueError(f"expected views.spatial to be one of {get_args(SpatialViews)}, got {self.spatial}")
        for name in ("size", "short_side"):
            length = getattr(self, name)
            if length is not None and not 1 <= length <= MAX_SIDE:
                raise ValueError(f"expected views.{name} in 1 to {MAX_SIDE}, got {length}")
        if self.size is not None and self.short_side is not None and self.size > self.short_side:
            raise ValueError(f"expected views.size <= views.short_side, got {self.size} > {self.short_side}")

    def resolved(self, augment: Augmentation) -> "Views":
        """These views with `size` and `short_side` filled in from the training views where they are None."""
        size = augment.size if self.size is None else self.size
        short_side = augment.short_side[0] if self.short_side is None else self.short_side
        return replace(self, size=size, short_side=short_side)

    def squares(self, frames: Tensor) -> list[Tensor]:
        """The spatial views of frames uint8 [T, 3, H, W]; see `fixed_views`.

        Raises:
            ValueError: `size` or `short_side` is None; see `resolved`.
        """
        if self.size is None or self.short_side is None:
            raise ValueError(f"expected views with a size and a short side, got {self}; see Views.resolved")
        return fixed_views(frames, self.size, self.short_side, self.spatial, self.geometry)


class Box(NamedTuple):
    """Part of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


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
    # The box that becomes size x size when the short side is scaled to `side`; in pixels of the decoded frame.
    # It fits into the frame, because size <= side: for 340x256 and side 320, 224 * 256 / 320 = 179.
    box = max(round(size * min(height, width) / side), 1)
    top = int(torch.randint(height - box + 1, (), generator=generator))
    left = int(torch.randint(width - box + 1, (), generator=generator))
    return _cut(frames, Box(top, left, box, box), size, flip, generator)


def random_scaled_view(
    frames: Tensor, size: int, short_side: tuple[int, int], flip: bool, generator: torch.Generator
) -> Tensor:
    """Training view of PySlowFast (`slowfast/datasets/transform.py`): as `random_view`, but for the rounding.

    `random_short_side_scale_jitter` rounds a real number, so the smallest and the largest length are half as likely as
    the others; `random_crop` excludes the last offset (numpy's randint). The whole frame is scaled, without a filter.

    Args, Returns: as `random_view`.
    """
    shortest, longest = short_side
    draw = float(torch.rand((), dtype=torch.float64, generator=generator))
    frames = scaled(frames, round(shortest + (longest - shortest) * draw), "slowfast")
    height, width = frames.shape[-2:]
    top = int(torch.randint(max(height - size, 1), (), generator=generator))
    left = int(torch.randint(max(width - size, 1), (), generator=generator))
    return _cut(frames, Box(top, left, size, size), size, flip, generator)


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
        # width / height; log-uniform, so that a box and its transpose are equally likely
        ratio = math.exp(math.log(4 / 3) * (2 * float(torch.rand((), generator=generator)) - 1))
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(torch.randint(height - box_height + 1, (), generator=generator))
            left = int(torch.randint(width - box_width + 1, (), generator=generator))
            return _cut(frames, Box(top, left, box_height, box_width), size, flip, generator)
    box_height, box_width = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    box = Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)
    return _cut(frames, box, size, flip, generator)


def _cut(frames: Tensor, box: Box, size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """The box resized to S x S; mirrored in half of the cases if `flip`."""
    mirrored = flip and bool(torch.randint(2, (), generator=generator))
    part = frames[..., box.top : box.top + box.height, box.left : box.left + box.width]
    view = part if box.height == box.width == size else F.resize(part, [size, size], antialias=True)
    return view.flip(-1) if mirrored else view


def fixed_views(
    frames: Tensor, size: int, short_side: int, spatial_views: int, geometry: Geometry = "gcvideo"
) -> list[Tensor]:
    """Evaluation views: the centre square, or three squares along the long side (first, centre, last).

    Args:
        frames: uint8 [T, 3, H, W].
        size: S; at most `short_side`.
        short_side: length that the short side is scaled to.
        spatial_views: 1 or 3.
        geometry: how sizes and margins are rounded.

    Returns:
        uint8 [T, 3, S, S] for each spatial view; parts of one scaled copy of the frames.
    """
    if spatial_views not in get_args(SpatialViews):
        raise ValueError(f"expected spatial_views to be one of {get_args(SpatialViews)}, got {spatial_views}")
    frames = scaled(frames, short_side, geometry)
    height, width = frames.shape[-2:]
    offsets = GEOMETRIES[geometry].offsets
    tops, lefts = offsets(height - size), offsets(width - size)
    # Wide frame, 3 squares: [A] [B] [C] of AABBCC, from left to right. A tall one likewise from the top.
    corners = [(tops[1], lefts[1])]
    if spatial_views == 3 and width >= height:
        corners = [(tops[1], left) for left in lefts]
    elif spatial_views == 3:
        corners = [(top, lefts[1]) for top in tops]
    return [frames[..., top : top + size, left : left + size] for top, left in corners]
