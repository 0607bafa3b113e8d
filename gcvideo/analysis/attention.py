"""Attention maps of the blocks in a model."""

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
        Name of the module refined -> weights [B, 1, T', H', W'], which sum to 1 over the positions of a clip; in the
        order of the model. Empty if the model has no blocks that attend.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, block in inserted_blocks(model).items():
        if not hasattr(block, "attention"):
            continue

        def keep(block: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            maps[name] = cast(Any, block).attention(args[0])

        handles.append(block.register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return maps
