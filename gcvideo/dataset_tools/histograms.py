"""check.png of `gcvideo check`: lengths, frame rates and sizes of videos, and the sizes of classes."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure

from gcvideo.dataset_tools.examine import VideoFacts
from gcvideo.figures import BLUE, INK, MUTED, ORANGE, literal, png


def dataset_histograms(videos: Sequence[VideoFacts], classes: Mapping[str, Mapping[str, int]]) -> bytes:
    """A row of four panels, as PNG.

    Args:
        videos: those that can be decoded.
        classes: split -> class -> number of videos.
    """
    figure = Figure(figsize=(12, 2.8))
    axes = figure.subplots(1, 4)
    _histogram(axes[0], "frames", [video.num_frames for video in videos])
    _histogram(axes[1], "frames per second", [video.fps for video in videos])
    _histogram(axes[2], "short side in pixels", [min(video.width, video.height) for video in videos])
    axes[0].set_ylabel("videos", color=INK)
    _class_sizes(axes[3], classes)
    figure.tight_layout()
    return png(figure)


def _histogram(axes: Any, title: str, values: Sequence[float]) -> None:
    axes.hist(values, bins=30, color=BLUE)
    axes.set_title(title, color=INK, fontsize=11)
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.spines[["top", "right"]].set_visible(False)


def _class_sizes(axes: Any, classes: Mapping[str, Mapping[str, int]]) -> None:
    """One falling line per split: a flat one is balanced."""
    for (split, sizes), colour in zip(classes.items(), cycle((BLUE, ORANGE, MUTED, INK)), strict=False):
        descending = sorted(sizes.values(), reverse=True)
        name = literal(split or "all")
        axes.step(range(1, len(descending) + 1), descending, where="mid", color=colour, label=name)
    axes.set_title("videos of each class, largest first", color=INK, fontsize=11)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
