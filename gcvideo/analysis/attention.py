"""Attention maps of the blocks in a model."""

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from gcvideo.insertion import inserted_blocks


def attention_maps(model: nn.Module, clips: Tensor, num_queries: int | None = None) -> dict[str, Tensor]:
    """What each inserted block attends to.

    Args:
        model: network with blocks inserted by `insert`; its mode (train, eval) does not change.
        clips: its input [B, 3, T, H, W].
        num_queries: maps of an NL block, which has one for each position: those of `spread_positions`. None returns the
            map of the central position.

    Returns:
        Name of the module refined -> weights [B, 1 or num_queries, T', H', W'], in the order of the model; they sum to
        1 over the positions of a clip (except for the modes dot_product and concatenation of NL). Empty if the model
        has no blocks that attend.
    """
    maps: dict[str, Tensor] = {}
    handles = []
    for name, block in attending_blocks(model).items():

        def keep(block: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            maps[name] = _maps(block, args[0], num_queries)

        # A hook of the block and not of its host: its input is what the block refines, at any site.
        handles.append(block.register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def attending_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Inserted blocks that have attention: name of the module refined -> block, in the order of the model."""
    return {name: block for name, block in inserted_blocks(model).items() if hasattr(block, "attention")}


def has_queries(block: nn.Module) -> bool:
    """Whether a block has a map for each position (NL), and not one for the clip."""
    return "queries" in inspect.signature(cast(Any, block).attention).parameters


def queries_of(sizes: Sequence[int], num_queries: int | None) -> list[tuple[int, ...]]:
    """Positions whose maps `attention_maps` returns of an NL block.

    Args:
        sizes: (T, H, W) of the features.
        num_queries: as there.
    """
    return [tuple(size // 2 for size in sizes)] if num_queries is None else spread_positions(sizes, num_queries)


def spread_positions(sizes: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Positions evenly over the frames of a clip, and each in another place, away from the border.

    Args:
        sizes: (T, H, W).
        count: of them.

    Returns:
        (t, h, w) each; the same one twice only if there are fewer frames than `count` and the places are few.
    """
    # In each axis of a frame, points k * a mod 1 for the plastic number's a: no two are near each other, however many.
    steps = (0.5, 0.7548776662466927, 0.5698402909980532)
    positions = []
    for k in range(count):
        along = [(k + 0.5) / count] + [0.15 + 0.7 * ((0.35 + k * step) % 1) for step in steps[1 : len(sizes)]]
        positions.append(tuple(int(where * size) for where, size in zip(along, sizes, strict=True)))
    return positions


def _maps(block: nn.Module, x: Tensor, num_queries: int | None) -> Tensor:
    """Attention of a block for its input x [B, C, *positions]."""
    attention = cast(Any, block).attention
    if not has_queries(block):
        return attention(x)
    sizes = x.shape[2:]
    return attention(x, queries=[flat_index(position, sizes) for position in queries_of(sizes, num_queries)])


def flat_index(position: Sequence[int], sizes: Sequence[int]) -> int:
    """Flat index of a position: of (2, 3, 4) in sizes (4, 6, 8) it is (2 * 6 + 3) * 8 + 4 = 124."""
    index = 0
    for where, size in zip(position, sizes, strict=True):
        index = index * size + where
    return index
