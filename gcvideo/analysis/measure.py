"""What one block does with one clip, in numbers.

Letters: T frames, S = H*W places of a frame, N = T*S positions, M = T*H'*W' keys (fewer after sub-sampling).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from gcvideo.analysis.attention import has_queries
from gcvideo.analysis.pairs import CosineSums, PairMeans, cosine_distances, jensen_shannon

PAIRED = {
    "cos_input": "mean cosine distance of the block's inputs x_i",
    "cos_output": "mean cosine distance of the block's outputs z_i - x_i",
    "cos_attention": "mean cosine distance of the attention maps of the queries",
    "jsd_attention": "mean Jensen-Shannon divergence of the attention maps of the queries",
}
"""Statistics over pairs of positions -> what they are. Each has three more, of the kinds of pairs."""

KINDS = {
    "other_frame": "pairs of the same place in different frames",
    "other_place": "pairs of different places in the same frame",
    "other_both": "pairs in which both differ",
}

SINGLE = {
    "entropy": "entropy of a map divided by the logarithm of its number of positions (1: uniform)",
    "effective_positions": "exponential of the entropy: positions of a uniform map of the same entropy",
}

STATISTICS = (*(name + kind for name in PAIRED for kind in ("", *(f"_{kind}" for kind in KINDS))), *SINGLE)
"""Names of all statistics."""

# The other modes of NL have weights of any sign and sum: neither a divergence nor an entropy.
_SOFTMAX_MODES = ("embedded_gaussian", "gaussian")

_MAX_WEIGHTS = 2**22  # of the attention matrix that are in memory at a time


class Measured(NamedTuple):
    """A block on one clip.

    Attributes:
        values: name in `STATISTICS` -> value; what does not exist for the block is missing or NaN.
        positions: T, H, W of its features.
        keys: T', H', W' of its maps.
        is_sampled: whether the divergence is an estimate from some of the queries.
        attended: mean of the maps of all queries [T', H', W']; None where the weights are no distribution.
    """

    values: dict[str, float]
    positions: tuple[int, int, int]
    keys: tuple[int, int, int]
    is_sampled: bool
    attended: Tensor | None


def measure(block: nn.Module, x: Tensor, refined: Tensor, num_queries: int, generator: torch.Generator) -> Measured:
    """Measure a block that attends.

    Args:
        block: with `attention`.
        x: its input [1, C, T, H, W].
        refined: its output, of the same shape.
        num_queries: the divergences are of at most so many queries, because they cost O(queries^2 M).
        generator: draws them.
    """
    sizes = x.shape[2:]
    values = {
        **_named("cos_input", cosine_distances(_vectors(x))),
        **_named("cos_output", cosine_distances(_vectors(refined - x))),
    }
    if not has_queries(block):
        weights = cast(Any, block).attention(x)[0, 0].double()  # [T, H, W]
        values |= _concentration(float(torch.special.entr(weights).sum()), weights.numel())
        return Measured(values, _three(sizes), _three(weights.shape), False, weights)
    is_distribution = getattr(block, "mode", None) in _SOFTMAX_MODES
    cosines, entropy, total = CosineSums(), 0.0, torch.zeros(())
    for maps in _all_maps(block, x):  # [T, p, T', H', W']
        cosines.add(maps.flatten(2))
        total = total.to(maps.device) + maps.sum(dim=(0, 1))
        entropy += float(torch.special.entr(maps).sum()) if is_distribution else 0.0
    values |= _named("cos_attention", cosines.means())
    num_positions, keys = sizes.numel(), _three(total.shape)
    if not is_distribution:
        return Measured(values, _three(sizes), keys, False, None)
    values |= _concentration(entropy / num_positions, total.numel())
    frames, places = _sample(sizes[0], sizes[1] * sizes[2], num_queries, generator)
    chosen = _maps(block, x, frames, places).flatten(2)
    values |= _named("jsd_attention", jensen_shannon(chosen, sizes[0], sizes[1] * sizes[2]))
    is_sampled = len(frames) * len(places) < num_positions
    return Measured(values, _three(sizes), keys, is_sampled, total / num_positions)


def _vectors(features: Tensor) -> Tensor:
    """[1, C, T, H, W] -> [T, S, C]."""
    return features[0].flatten(2).permute(1, 2, 0)


def _named(name: str, means: PairMeans) -> dict[str, float]:
    return {name: means.overall, **{f"{name}_{kind}": getattr(means, kind) for kind in KINDS}}


def _concentration(entropy: float, num_positions: int) -> dict[str, float]:
    """Statistics of one map; a map of one position has entropy 0, and is uniform."""
    relative = entropy / float(torch.tensor(num_positions).log()) if num_positions > 1 else 1.0
    return {"entropy": relative, "effective_positions": float(torch.tensor(entropy).double().exp())}


def _all_maps(block: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Maps of all queries, a few places of all frames at a time: [T, p, T', H', W']."""
    num_frames, num_places = x.shape[2], x.shape[3] * x.shape[4]
    frames = torch.arange(num_frames)
    num_keys = _maps(block, x, frames[:1], torch.zeros(1, dtype=torch.long)).numel()
    for places in torch.arange(num_places).split(max(_MAX_WEIGHTS // (num_frames * num_keys), 1)):
        yield _maps(block, x, frames, places)


def _maps(block: nn.Module, x: Tensor, frames: Tensor, places: Tensor) -> Tensor:
    """Maps of the queries in some places of some frames: [t, p, T', H', W'], double."""
    num_places = x.shape[3] * x.shape[4]
    queries = (frames[:, None] * num_places + places).flatten()
    maps = cast(Any, block).attention(x, queries=queries)[0].double()
    return maps.unflatten(0, (len(frames), len(places)))


def _sample(num_frames: int, num_places: int, num_queries: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frames and places of the queries whose maps are compared: all, or some at random."""
    if num_frames * num_places <= num_queries:
        return torch.arange(num_frames), torch.arange(num_places)
    # Pairs of the same place need two frames, those of the same frame two places.
    few_frames = max(min(num_frames, 8, num_queries // 2), 1)
    few_places = min(num_places, max(num_queries // few_frames, 2))
    frames = torch.randperm(num_frames, generator=generator)[:few_frames]
    places = torch.randperm(num_places, generator=generator)[:few_places]
    return frames.sort().values, places.sort().values


def _three(sizes: torch.Size) -> tuple[int, int, int]:
    t, h, w = sizes
    return t, h, w
