"""Scenes that several splits show: one room, one camera, one afternoon. A network can tell a class by them.

Two backgrounds (`background_of`) are compared by the correlation of their gradients, of which the signed square root is
taken, so that a few strong edges do not decide alone. The three frames that a check decodes anyway are enough.

benchmarks/scenes.py measures it on UCF-101, whose groups are scenes; docs/data.md says what it finds and misses.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gcvideo.dataset_tools.examine import BACKGROUND_SIDE

CORRELATION = 0.8
"""From this correlation on, two backgrounds are one scene."""

_BLOCK = 4096  # videos whose backgrounds are multiplied at a time: 64 MB of correlations


class SharedScene(NamedTuple):
    """A video whose scene another split shows, too: the indices of both, and the correlation."""

    index: int
    other: int
    correlation: float


def shared_scenes(splits: Sequence[str], backgrounds: Sequence[bytes]) -> Iterator[SharedScene]:
    """The videos of each split whose scene a larger split shows, each with the most similar video there.

    Args:
        splits: of each video.
        backgrounds: of `background_of`; b"" is like no other.
    """
    counts = Counter(splits)
    order = sorted(counts, key=lambda split: (-counts[split], split))
    indices_of = {
        split: [i for i, (own, still) in enumerate(zip(splits, backgrounds, strict=True)) if own == split and still]
        for split in order
    }
    before: list[int] = []  # videos of larger splits
    for split in order:
        indices = indices_of[split]
        for start in range(0, len(indices) if before else 0, _BLOCK):
            block = indices[start : start + _BLOCK]
            for index, (correlation, other) in zip(block, _best(backgrounds, block, before), strict=True):
                if correlation >= CORRELATION:
                    yield SharedScene(index, other, correlation)
        before += indices


def _best(backgrounds: Sequence[bytes], block: Sequence[int], others: Sequence[int]) -> list[tuple[float, int]]:
    """For each video of a block, the highest correlation with one of the others, and which it is."""
    vectors = gradients([backgrounds[index] for index in block])
    best = np.full(len(block), -1.0, np.float32)
    which = np.zeros(len(block), int)
    for start in range(0, len(others), _BLOCK):
        part = others[start : start + _BLOCK]
        correlations = vectors @ gradients([backgrounds[index] for index in part]).T  # [block, part]
        at = correlations.argmax(axis=1)
        here = correlations[np.arange(len(block)), at]
        which = np.where(here > best, np.asarray(part)[at], which)
        best = np.maximum(here, best)
    return list(zip(best.tolist(), which.tolist(), strict=True))


def gradients(backgrounds: Sequence[bytes]) -> np.ndarray:
    """Unit vectors [N, 2 * 16 * 15] of the signed square roots of the differences of neighbouring fields."""
    side = BACKGROUND_SIDE
    images = np.frombuffer(b"".join(backgrounds), np.uint8).reshape(-1, side, side).astype(np.float32)
    steps = [np.diff(images, axis=axis).reshape(len(images), -1) for axis in (1, 2)]
    gradients = np.concatenate(steps, axis=1)
    roots = np.sign(gradients) * np.sqrt(np.abs(gradients))
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-6)
