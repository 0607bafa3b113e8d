"""Squeeze-and-Excitation (SE) block in 1D, 2D and 3D.

Paper: "Squeeze-and-Excitation Networks" (Hu et al., CVPR 2018, arXiv:1709.01507), equations 2 to 4; figure 4(c) of
GCNet (arXiv:1904.11492):

    z_i = x_i * sigmoid(W_2 ReLU(W_1 mean_j x_j))

State-dict keys (`fc1`, `fc2`) are those of torchvision and timm.

Difference: the last layer starts at zero, as in the other blocks, so a new block multiplies by exactly 1/2. It cannot
be the identity at the start: a sigmoid is below 1.
"""

import torch
from torch import Tensor, nn

from gcvideo.blocks.family import (
    Family,
    bottleneck_width,
    check_channels,
    check_features,
    pointwise,
    uniform_attention,
    zero_,
)
from gcvideo.blocks.pooling import linear, mean_pooling, own_precision, to_positions

__all__ = ["SqueezeExcitation1d", "SqueezeExcitation2d", "SqueezeExcitation3d"]


class SqueezeExcitation(nn.Module):
    """SE for any number of position axes; see `SqueezeExcitation3d`."""

    ndim: int

    def __init__(self, in_channels: int, ratio: float = 1 / 16):
        super().__init__()
        self.in_channels = check_channels(in_channels)
        self.ratio = ratio
        self.planes = bottleneck_width(in_channels, ratio)
        self.fc1 = pointwise(self.ndim, in_channels, self.planes)
        self.fc2 = pointwise(self.ndim, self.planes, in_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """torch's default for the first layer, zero for the last."""
        self.fc1.reset_parameters()
        zero_(self.fc2)

    def attention(self, x: Tensor) -> Tensor:
        """Weight of every position in the context, [B, 1, *positions]: uniform."""
        check_features(x, self.in_channels, self.ndim)
        return uniform_attention(x)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *positions] -> same shape and dtype; x / 2 at initialisation.

        Raises:
            ValueError: `x` has another number of axes or of channels.
        """
        check_features(x, self.in_channels, self.ndim)
        with own_precision(x):
            gate = torch.sigmoid(linear(self.fc2, linear(self.fc1, mean_pooling(x)).relu()))  # [B, C]
            return x * to_positions(gate, x)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, ratio={self.ratio}"


class SqueezeExcitation1d(SqueezeExcitation):
    """SE block for sequences [B, C, T]. Arguments: see `SqueezeExcitation3d`."""

    ndim = 1


class SqueezeExcitation2d(SqueezeExcitation):
    """SE block for images [B, C, H, W]. Arguments: see `SqueezeExcitation3d`."""

    ndim = 2


class SqueezeExcitation3d(SqueezeExcitation):
    """SE block for video features [B, C, T, H, W]; one gate for all positions of all frames.

    Args:
        in_channels: C.
        ratio: bottleneck width as a fraction of C (1/16 in the paper).

    Raises:
        ValueError: `ratio * in_channels < 1`.
    """

    ndim = 3


SQUEEZE_EXCITATION = Family((SqueezeExcitation1d, SqueezeExcitation2d, SqueezeExcitation3d), site="after_1x1")
