"""Attention maps of the blocks in a model."""

import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn

from gcvideo.insertion import inserted_blocks


def attention_maps(model: nn.Module, clips: Tensor) -> dict[str, Tensor]:
    """What each inserted block attends to.

    Args:
        model: network with blocks inserted by `insert`; its mode (train, eval) does not change.
        clips: its input [B, 3, T, H, W].

    Returns:
        Name of the module refined -> weights [B, 1, T', H', W'], in the order of the model; they sum to 1 over the
        positions of a clip (except for the modes dot_product and concatenation of NL). An NL block has a map for each
        position: the map of the central position is returned. Empty if the model has no blocks that attend.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, block in inserted_blocks(model).items():
        if not hasattr(block, "attention"):
            continue

        def keep(block: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            maps[name] = _map(block, args[0])

        # A hook of the block and not of its host: its input is what the block refines, at any site.
        handles.append(block.register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def _map(block: nn.Module, x: Tensor) -> Tensor:
    """Attention of a block for its input x [B, C, *positions]; of an NL block, that of the central position."""
    attention = cast(Any, block).attention
    if "queries" in inspect.signature(attention).parameters:
        return attention(x, queries=[_central_position(x.shape[2:])])
    return attention(x)


def _central_position(sizes: tuple[int, ...]) -> int:
    """Flat index of the central position: sizes (4, 6, 8) -> position (2, 3, 4) -> (2 * 6 + 3) * 8 + 4 = 124."""
    index = 0
    for size in sizes:
        index = index * size + size // 2
    return index
