"""Attention maps of the blocks in a model."""

import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn

from gcvideo.insertion import inserted_blocks


def attention_maps(model: nn.Module, clips: Tensor) -> dict[str, Tensor]:
    """What each inserted block attends to.

    Args:
        model: network with blocks put in by `insert`; left in the mode (train, eval) that it is in.
        clips: its input [B, 3, T, H, W].

    Returns:
        Name of the module refined -> weights [B, 1, T', H', W'], in the order of the model; they sum to 1 over the
        positions of a clip (but for the dot_product and concatenation of NL). Of an NL block, whose map is another for
        every position, that of the central position. Empty if the model has no blocks that attend.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, block in inserted_blocks(model).items():
        if not hasattr(block, "attention"):
            continue

        def keep(block: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            maps[name] = cast(Any, block).attention(args[0], **_central_query(block, args[0]))

        handles.append(block.register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def _central_query(block: nn.Module, x: Tensor) -> dict[str, list[int]]:
    """For an NL block, the flat index of the central position."""
    if "queries" not in inspect.signature(cast(Any, block).attention).parameters:
        return {}
    index = 0
    for size in x.shape[2:]:
        index = index * size + size // 2
    return {"queries": [index]}
