"""Memory of batches, estimated from the settings before a video is read.

What counts is uint8 pixels: B x V x 3 x T x S x S bytes for a batch. A network takes several times as much, and its
memory depends on the device: what does not fit there is an error of its own.

Letters: B videos of a batch, V views, T frames, S side.
"""

import os
from pathlib import Path

from gcvideo.errors import UsageError

GIB = 1 << 30
MAX_VIEW_BYTES = GIB // 4
"""Of one view, at most; 1024 frames of 256x256 are 0.19 GiB."""
MAX_ITEM_BYTES = 4 * GIB
"""Of all views of one video, at most; 10 x 3 views of 64 frames of 320x320 are 0.55 GiB."""
MAX_FRACTION = 0.5
"""Of this machine's memory, at most, for the batches that a loader holds."""

_PREFETCHED = 2
"""Batches that PyTorch's DataLoader prepares in each worker."""


def check_item(option: str, views: int, num_frames: int, side: int) -> None:
    """Refuse views that no machine is meant to hold.

    Args:
        option: group of settings that the number and the size of the views come from.
        views: V of one video.
        num_frames: T.
        side: S.

    Raises:
        UsageError: one view, or all views of a video, are beyond the limits above.
    """
    view = 3 * num_frames * side * side
    if view > MAX_VIEW_BYTES:
        raise UsageError(
            f"a view of clip.frames {num_frames} and {option}.size {side} takes {view / GIB:.2f} GiB, expected at most "
            f"{MAX_VIEW_BYTES / GIB:g}"
        )
    if views * view > MAX_ITEM_BYTES:
        raise UsageError(
            f"{views} views (data.{option}) of {num_frames} frames of {side}x{side} take {views * view / GIB:.2f} GiB "
            f"for one video, expected at most {MAX_ITEM_BYTES / GIB:g}"
        )


def check_loaded(batch: str, batch_bytes: int, workers: int, memory: int | None = None) -> None:
    """Refuse batches that this machine can't hold.

    Args:
        batch: setting that the size of a batch comes from, with its value.
        batch_bytes: of one batch.
        workers: processes of the loader.
        memory: bytes of this machine; default asks it.

    Raises:
        UsageError: the batches that the loader holds at a time take more than `MAX_FRACTION` of the memory.
    """
    memory = memory_bytes() if memory is None else memory
    batches = 1 + _PREFETCHED * workers  # the one in use
    loaded = batches * batch_bytes
    if loaded > MAX_FRACTION * memory:
        raise UsageError(
            f"{batch}: {batches} batches ({workers} workers prepare {_PREFETCHED} each) take {loaded / GIB:.2f} GiB, "
            f"expected at most {MAX_FRACTION:g} of the {memory / GIB:.1f} GiB of memory: lower it or data.num_workers"
        )


def memory_bytes() -> int:
    """Memory of this machine, or what its container may use."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [machine]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 and 1 of Linux's control groups
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # "max": no limit
            continue
    return min(limits)
