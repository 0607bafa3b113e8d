"""What travels from data sets to the network: `Item` is one video, `Batch` is several.

All views of a video are one item, because the video is the unit of evaluation. Pixels stay uint8 up to the device: a
batch of float32 would be four times as large on its way from the worker processes.

Letters: B videos, V views (temporal clips x spatial crops), T frames, S side of the square view.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


# A NamedTuple can't define `__new__` itself, so the records that check their fields are subclasses of plain ones.
class _ItemFields(NamedTuple):
    frames: Tensor
    label: int | Tensor
    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing needs here


class Item(_ItemFields):
    """One video.

    Attributes:
        frames: uint8 [V, 3, T, S, S].
        label: class index, -1 if it is unknown; or bool [K] for a video that may have several classes.
        index: of the video in its data set.

    Raises:
        ValueError: `frames` has another shape or type.
    """

    __slots__ = ()  # else every item would have a dict

    def __new__(cls, frames: Tensor, label: int | Tensor, index: int) -> "Item":
        _check_frames(frames, "[V, 3, T, S, S]")
        return super().__new__(cls, frames, label, index)


class _BatchFields(NamedTuple):
    frames: Tensor
    labels: Tensor
    indices: Tensor


class Batch(_BatchFields):
    """Several videos with equally many views.

    Attributes:
        frames: uint8 [B, V, 3, T, S, S].
        labels: class indices [B]; or bool [B, K] for videos that may have several classes.
        indices: of the videos in their data set [B]; they name the videos in a report.

    Raises:
        ValueError: a field has another shape or type.
    """

    __slots__ = ()

    def __new__(cls, frames: Tensor, labels: Tensor, indices: Tensor) -> "Batch":
        _check_frames(frames, "[B, V, 3, T, S, S]")
        if not labels.shape[:1] == indices.shape == frames.shape[:1] or labels.ndim > 2:
            raise ValueError(
                f"expected {len(frames)} labels and indices for as many videos, got shapes "
                f"{list(labels.shape)} and {list(indices.shape)}"
            )
        return super().__new__(cls, frames, labels, indices)


def _check_frames(frames: Tensor, expected: str) -> None:
    """Check frames against a shape that is written as in the docstrings above."""
    ndim = expected.count(",") + 1
    # In both shapes the channels are the fourth dimension from the end.
    if frames.ndim != ndim or frames.shape[-4] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"expected uint8 frames {expected}, got {frames.dtype} {list(frames.shape)}")


def collate(items: Sequence[Item | None]) -> Batch | None:
    """Stack items; the `collate_fn` of a DataLoader.

    Args:
        items: None stands for a video that was skipped because it is broken.

    Returns:
        The batch without the skipped videos; None if nothing is left.
    """
    kept = [item for item in items if item is not None]
    if not kept:
        return None
    return Batch(
        _stack([item.frames for item in kept]),
        torch.stack([torch.as_tensor(item.label) for item in kept]),
        torch.tensor([item.index for item in kept]),
    )


def _stack(frames: Sequence[Tensor]) -> Tensor:
    """[V, 3, T, S, S] of each item to [B, V, 3, T, S, S] with the memory order of the items.

    The items' channels are innermost in memory (see `dataset`). `torch.stack` of the permuted views would write them
    outermost, at the cost of a strided copy; stacked in memory order it is a plain one. A single item, which is what a
    test batch has (30 views, 47 MB), is not copied at all.
    """
    if len(frames) == 1:
        return frames[0][None]
    pixels_last = [item.permute(0, 2, 3, 4, 1) for item in frames]  # [V, T, S, S, 3]
    return torch.stack(pixels_last).permute(0, 1, 5, 2, 3, 4)  # [B, V, 3, T, S, S]
