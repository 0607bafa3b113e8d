"""What all families of blocks share: the record of a family, and functions for features [B, C, *positions].

Every block is written once for 1, 2 and 3 position axes: a base for each family holds the computation, and three
public classes set `ndim`, the number of axes: [T], [H, W] or [T, H, W].
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gcvideo.blocks.layers import Conv3d

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POINTWISE = (nn.Conv1d, nn.Conv2d, Conv3d)

_AXES = {1: "T", 2: "H, W", 3: "T, H, W"}


class Family(NamedTuple):
    """One kind of block.

    Args:
        blocks: its classes for features of 1, 2 and 3 position axes. The arguments after `in_channels` are the
            options of the family.
        site: where in a residual block its paper puts it; see `gcvideo.insertion.insert`.
    """

    blocks: tuple[type[nn.Module], type[nn.Module], type[nn.Module]]
    site: str

    def block(self, ndim: int) -> type[nn.Module]:
        """The class for features of `ndim` position axes."""
        return self.blocks[ndim - 1]  # ndim counts from 1


def pointwise(ndim: int, in_channels: int, out_channels: int, bias: bool = True) -> Conv:
    """Convolution of kernel size 1: a linear layer over the channels of every position."""
    return _POINTWISE[ndim - 1](in_channels, out_channels, kernel_size=1, bias=bias)


def zero_(layer: Conv) -> None:
    """Set weight and bias to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))


def uniform_attention(x: Tensor) -> Tensor:
    """1/N for each of the N positions: [B, C, *positions] -> [B, 1, *positions]."""
    return torch.full_like(x[:, :1], 1 / x[0, 0].numel())  # of x it takes dtype, device and [B, 1, *positions]


def check_channels(in_channels: int) -> int:
    """`in_channels` itself.

    Raises:
        ValueError: it is below 1.
    """
    if in_channels < 1:
        raise ValueError(f"in_channels must be at least 1, got {in_channels}")
    return in_channels


def bottleneck_width(in_channels: int, ratio: float) -> int:
    """Channels of a bottleneck, `in_channels * ratio` rounded down.

    Raises:
        ValueError: that is below 1.
    """
    width = in_channels * ratio
    if width < 1:
        raise ValueError(
            f"ratio * in_channels must be at least 1 (the bottleneck needs a channel), "
            f"got ratio={ratio} * in_channels={in_channels} = {width:g}"
        )
    return int(width)


def check_features(x: Tensor, in_channels: int, ndim: int) -> None:
    """Check that `x` has the shape [B, in_channels, *positions] with `ndim` position axes.

    Raises:
        ValueError: it has not.
    """
    if x.ndim != ndim + 2 or x.shape[1] != in_channels:
        raise ValueError(f"expected input [B, {in_channels}, {_AXES[ndim]}], got shape {tuple(x.shape)}")
