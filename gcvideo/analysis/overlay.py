"""What a trained model looks at in a video: the attention of its blocks, and Grad-CAM.

Letters: T frames, S side of a view, Q queries.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gcvideo.analysis.attention import attending_blocks, attention_maps, has_queries, spread_points
from gcvideo.analysis.clip import Recognizes, central_clip, network_input
from gcvideo.analysis.drawing import Panel, moving
from gcvideo.analysis.grad_cam import grad_cam
from gcvideo.analysis.naming import choose, family_of, short_names
from gcvideo.errors import UsageError

ALL = "all"
GRAD_CAM = "grad_cam"
NUM_QUERIES = 4


def overlay_names(net: nn.Module) -> list[str]:
    """What there is to be shown of a network: "all", its blocks that attend by their short names, and "grad_cam"."""
    return [ALL, *short_names(net).values(), GRAD_CAM]


def attention_frames(recognizer: Recognizes, path: str | Path, block: str = ALL) -> NDArray[np.uint8]:
    """Pictures of the central clip of a video, with the attention of a block drawn over it.

    Args:
        recognizer: of `gcvideo.load`.
        path: the video.
        block: one of `overlay_names`, or the name of a module that a block refines.

    Returns:
        uint8 [T, H, W, 3]; every picture names what it shows, its time, and the values of the colours.

    Raises:
        UsageError: no such block.
        VideoDecodeError: no such video, or it can't be decoded.
    """
    clip = central_clip(recognizer, path)
    panels = panels_of(recognizer.task.net, network_input(recognizer, clip), recognizer.task.class_names, block)
    return np.stack(list(moving(clip.frames.transpose(0, 1), clip.times, clip.unit, panels)))


def panels_of(
    net: nn.Module,
    clip: Tensor,
    class_names: Sequence[str],
    block: str = ALL,
    num_queries: int = NUM_QUERIES,
    label: int | None = None,
    layer: str | None = None,
) -> list[Panel]:
    """Maps of one clip.

    Args:
        net: in evaluation mode.
        clip: its input [1, 3, T, S, S].
        class_names: index -> name.
        block: one of `overlay_names`, or the name of a module that a block refines.
        num_queries: maps of an NL block.
        label: class that Grad-CAM explains; default: the one that the network predicts for the clip.
        layer: module that Grad-CAM looks at; default: the last stage.

    Raises:
        UsageError: no such block or layer; nothing to show.
    """
    names = short_names(net)
    chosen = list(names) if block == ALL else [] if block == GRAD_CAM else [choose(names, block)]
    panels: list[Panel] = []
    if block in (ALL, GRAD_CAM):
        try:
            panels.append(_grad_cam_panel(net, clip, class_names, label, layer))
        except UsageError as error:
            if not chosen or layer is not None:  # nothing else to show, or requested
                raise
            warnings.warn(str(error), stacklevel=2)
    if chosen:
        maps = attention_maps(net, clip, num_queries)
        for name in chosen:
            panels += _attention_panels(attending_blocks(net)[name], names[name], maps[name][0].float())
    return panels


def _grad_cam_panel(
    net: nn.Module, clip: Tensor, class_names: Sequence[str], label: int | None, layer: str | None
) -> Panel:
    if label is None:
        with torch.no_grad():
            label = int(net(clip).argmax(dim=1))
    values = grad_cam(net, clip, [label], layer)[0]
    # All zero where nothing speaks for the class.
    relative = values / values.max().clamp(min=torch.finfo(values.dtype).tiny)
    return Panel("Grad-CAM", class_names[label], relative, "of its maximum", 0.0, 1.0)


def _attention_panels(block: nn.Module, name: str, maps: Tensor) -> Iterator[Panel]:
    """Panels of one block, with one scale, from its maps [1 or Q, T', H', W']."""
    title = f"{name} ({family_of(block)})"
    unit, low, high = "weight", float(maps.min()), float(maps.max())
    if getattr(block, "mode", None) not in ("dot_product", "concatenation"):
        # Relative to a uniform map, whose weights are 1 / positions. The few largest weights would leave the rest dark;
        # up to 2 at least, so that a uniform map is not all bright.
        maps = maps * maps[0].numel()
        unit, low, high = "x uniform", 0.0, max(float(maps.flatten().quantile(0.99)), 2.0)
    if not has_queries(block):
        yield Panel(title, "", maps[0], unit, low, high)
        return
    for number, (values, point) in enumerate(zip(maps, spread_points(len(maps)), strict=True), start=1):
        yield Panel(title, f"query {number}", values, unit, low, high, point)
