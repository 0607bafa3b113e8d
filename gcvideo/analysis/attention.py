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
        num_queries: maps of an NL block, which has one for each position: those at `spread_points`. None returns the
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


def spread_points(count: int) -> list[tuple[float, float, float]]:
    """Points of a clip, evenly over its frames and each at another place, away from the border.

    Returns:
        (along the frames, from the top, from the left), in (0, 1) each.
    """
    # Places k * a mod 1 for the plastic number's a: no two are near each other, however many.
    steps = (0.7548776662466927, 0.5698402909980532)
    points = []
    for k in range(count):
        down, right = (0.15 + 0.7 * ((0.35 + k * step) % 1) for step in steps)
        points.append(((k + 0.5) / count, down, right))
    return points


def position_at(point: Sequence[float], sizes: Sequence[int]) -> tuple[int, ...]:
    """Position of a point in features of sizes (T, H, W)."""
    return tuple(int(where * size) for where, size in zip(point, sizes, strict=True))


def _maps(block: nn.Module, x: Tensor, num_queries: int | None) -> Tensor:
    """Attention of a block for its input x [B, C, *positions]."""
    attention = cast(Any, block).attention
    if not has_queries(block):
        return attention(x)
    sizes = x.shape[2:]
    points = [(0.5,) * len(sizes)] if num_queries is None else spread_points(num_queries)
    return attention(x, queries=[flat_index(position_at(point, sizes), sizes) for point in points])


def flat_index(position: Sequence[int], sizes: Sequence[int]) -> int:
    """Flat index of a position: of (2, 3, 4) in sizes (4, 6, 8) it is (2 * 6 + 3) * 8 + 4 = 124."""
    index = 0
    for where, size in zip(position, sizes, strict=True):
        index = index * size + where
    return index
