"""Figures of a report, as PNG files in memory.

Letters: T frames, S side of a view, K classes.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from gcvideo.figures import BLUE, INK, MUTED, ORANGE, literal, png
from gcvideo.report.interval import Interval
from gcvideo.report.summary import ClassAccuracy

MAX_NAMED_CLASSES = 40  # names of more do not fit on the axes
MAX_COUNTED_CLASSES = 16  # numbers in more cells are too small to read


PANELS = {
    "loss": {"train/loss": "training", "val/loss": "validation"},
    "top-1": {"train/clip_top1": "training clips", "val/video_top1": "validation videos"},
    "mAP": {"val/video_map": "validation videos"},
}
"""Title -> curve -> its name in the legend; a panel without curves is not shown."""


def curve_panel(curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> bytes:
    """Curves of training and validation over epochs.

    Args:
        curves: points (epochs, value) of any of the curves in `PANELS`.
        title: key of `PANELS`.
    """
    figure = Figure(figsize=(4.6, 3))
    axes = figure.add_subplot()
    for (curve, name), colour, marker in zip(PANELS[title].items(), (BLUE, ORANGE), "os", strict=False):
        points = curves.get(curve, ())
        axes.plot([x for x, _ in points], [y for _, y in points], f"{marker}-", ms=3.5, color=colour, label=name)
    if title != "loss":
        axes.set_ylim(0, 1.02)  # the markers at 1 are not cut
    axes.set_xlabel("epoch", color=INK)
    axes.set_title(title, color=INK, fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return png(figure)


def confusion(matrix: Tensor, names: Sequence[str]) -> bytes:
    """Share of the videos of each true class (row) by predicted class (column).

    Args:
        matrix: numbers of videos [K, K].
        names: of the K classes; shown for up to `MAX_NAMED_CLASSES`.
    """
    share = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)  # a class without videos is a row of zeros
    num_classes = len(names)
    side = max(3.5, 0.5 * num_classes) if num_classes <= MAX_COUNTED_CLASSES else 9  # inches
    figure = Figure(figsize=(side, side))
    axes = figure.add_subplot()
    # A fixed range, so that the colours of two reports compare.
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    if num_classes <= MAX_NAMED_CLASSES:
        labels = [literal(name) for name in names]
        axes.set_xticks(range(num_classes), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(num_classes), labels, fontsize=8)
    if num_classes <= MAX_COUNTED_CLASSES:
        _write_counts(axes, matrix, share)
    return png(figure)


def _write_counts(axes: Axes, matrix: Tensor, share: Tensor) -> None:
    """The number of videos in every cell that has any, white on dark cells."""
    for row, column in matrix.nonzero().tolist():
        colour = "white" if share[row, column] > 0.5 else INK
        count = str(int(matrix[row, column]))
        axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)


def per_class_bars(classes: Sequence[ClassAccuracy]) -> bytes:
    """Each class that has videos, worst first; of many the 20 worst and the 20 best.

    Shown is top-1 and its 95 % interval or, where videos may have several classes, the average precision.
    """
    precisions = [(row.name, row.average_precision, None) for row in classes if row.average_precision is not None]
    accuracies = [(row.name, row.top1, row.top1_interval) for row in classes if row.top1 is not None]
    ascending: list[tuple[str, float, Interval | None]] = sorted(precisions or accuracies, key=lambda row: row[1])
    if len(ascending) > MAX_NAMED_CLASSES:
        half = MAX_NAMED_CLASSES // 2
        ascending = [*ascending[:half], *ascending[-half:]]
    figure = Figure(figsize=(4, 0.6 + 0.24 * len(ascending)))
    axes = figure.add_subplot()
    axes.barh(
        [literal(name) for name, *_ in ascending],
        [value for _, value, _ in ascending],
        color=BLUE,
        alpha=0.6,
        height=0.65,
    )
    for bar, (_, value, interval) in enumerate(ascending):
        if interval is not None:
            axes.plot(interval, [bar, bar], "-", lw=1.2, color=INK)
        end = value if interval is None else interval.high
        axes.text(end + 0.01, bar, f"{value:.2f}", va="center", fontsize=8, color=MUTED)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("average precision" if precisions else "top-1 and its 95 % interval", color=INK)
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()  # the first bar on top
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def filmstrip(frames: Tensor, maps: Mapping[str, Tensor] | None = None) -> bytes:
    """Frames in a row; below, for each block, its attention over the same frames.

    Args:
        frames: uint8 [T, 3, S, S].
        maps: name -> weights [T', H', W']. Each row is scaled by the block's own largest weight over all frames, so
            that colours compare within a row: dark is none, yellow is its maximum.
    """
    maps = maps or {}
    num_frames = len(frames)
    figure = Figure(figsize=(1.25 * num_frames, 1.32 * (1 + len(maps))))
    rows = figure.subplots(1 + len(maps), num_frames, squeeze=False)
    pictures = frames.permute(0, 2, 3, 1)  # [T, S, S, 3]
    grey = pictures.float().mean(dim=-1) / 255  # [T, S, S]: the colours of the maps stand out
    for axes, picture in zip(rows[0], pictures, strict=True):
        axes.imshow(picture)
    for row, (name, weights) in zip(rows[1:], maps.items(), strict=True):
        # The map of a deep block has fewer frames and positions than the clip: spread over both.
        full = F.interpolate(weights[None, None].float(), size=grey.shape, mode="trilinear")[0, 0]  # [T, S, S]
        full = full / full.max()
        row[0].set_ylabel(literal(name), fontsize=8, color=MUTED)
        for axes, picture, values in zip(row, grey, full, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.imshow(values, cmap="inferno", vmin=0, vmax=1, alpha=0.65)
    for axes in rows.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    figure.subplots_adjust(wspace=0.04, hspace=0.06)
    return png(figure, transparent=True)
