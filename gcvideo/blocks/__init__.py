"""Blocks that can be put into any network; imports torch only."""

from gcvideo.blocks.context import ContextBlock1d, ContextBlock2d, ContextBlock3d

__all__ = ["ContextBlock1d", "ContextBlock2d", "ContextBlock3d"]
