"""Blocks that can be put into any network; imports torch only."""

from gcvideo.blocks.context import (
    ContextBlock1d,
    ContextBlock2d,
    ContextBlock3d,
    SimplifiedNonLocal1d,
    SimplifiedNonLocal2d,
    SimplifiedNonLocal3d,
)
from gcvideo.blocks.non_local import NonLocalBlock1d, NonLocalBlock2d, NonLocalBlock3d
from gcvideo.blocks.squeeze_excite import SqueezeExcitation1d, SqueezeExcitation2d, SqueezeExcitation3d

__all__ = [
    "ContextBlock1d",
    "ContextBlock2d",
    "ContextBlock3d",
    "NonLocalBlock1d",
    "NonLocalBlock2d",
    "NonLocalBlock3d",
    "SimplifiedNonLocal1d",
    "SimplifiedNonLocal2d",
    "SimplifiedNonLocal3d",
    "SqueezeExcitation1d",
    "SqueezeExcitation2d",
    "SqueezeExcitation3d",
]
