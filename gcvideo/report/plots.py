"""Figures of reports and sweeps, as PNG bytes.

Letters: T frames, S side of a view, K classes.
"""

import io
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from gcvideo.sweep.comparison import Row

INK, MUTED, BLUE, ORANGE = "#1f2933", "#7b8794", "#2563eb", "#d9760b"
MAX_NAMED_CLASSES = 40


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    return stream.getvalue()


def learning_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """Loss and top-1 over epochs; `curves` has 'train/loss', 'val/loss', 'train/clip_top1', 'val/video_top1'."""
    figure = Figure(figsize=(9, 3))
    panels = (
        ("loss", (("train/loss", "training", BLUE), ("val/loss", "validation", ORANGE))),
        ("top-1", (("train/clip_top1", "training clips", BLUE), ("val/video_top1", "validation videos", ORANGE))),
    )
    for number, (title, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, number)
        for key, name, colour in lines:
            points = curves.get(key, ())
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", ms=3.5, color=colour, label=name)
        axes.set_xlabel("epoch", color=INK)
        axes.set_title(title, color=INK, fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if title == "top-1":
            axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, fontsize=9)
    return _png(figure)


def variants(rows: Sequence[Row], metric: str, baseline: str) -> bytes:
    """Every seed of every variant, with the mean; beside it the paired differences to the baseline."""
    figure = Figure(figsize=(10, 0.9 + 0.45 * len(rows)))
    values, differences = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        values.plot(list(row.values.values()), [place] * len(row.values), "o", ms=5, alpha=0.5, color=BLUE, mew=0)
        values.plot([row.mean], [place], "|", ms=18, mew=2, color=INK)
        if row.difference is not None and row.low is not None and row.high is not None:
            colour = MUTED if row.verdict == "not significant" else ORANGE
            differences.plot([row.low, row.high], [place, place], "-", lw=2, color=colour)
            differences.plot([row.difference], [place], "o", ms=6, color=colour)
    values.set_yticks(range(len(rows)), [row.variant for row in rows])
    values.invert_yaxis()
    values.set_title(f"{metric}: seeds and mean", color=INK, fontsize=11)
    differences.axvline(0, color=INK, lw=1)
    differences.set_title(f"difference to {baseline}, 95 % interval (grey: not significant)", color=INK, fontsize=11)
    for axes in (values, differences):
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def confusion(matrix: Tensor, names: Sequence[str]) -> bytes:
    """Share of the videos of each true class (row) by predicted class (column); `matrix` [K, K] counts."""
    share = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    few = len(names) <= MAX_NAMED_CLASSES
    side = max(3.5, 0.5 * len(names)) if few and len(names) <= 16 else 9
    figure = Figure(figsize=(side, side))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    if few:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(names) <= 16:
        for row in range(len(names)):
            for column in range(len(names)):
                if matrix[row, column]:
                    colour = "white" if share[row, column] > 0.5 else INK
                    count = int(matrix[row, column])
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    return _png(figure)


def per_class_bars(rows: Sequence[tuple[str, float]]) -> bytes:
    """Accuracy of each class, worst first; of many classes the 20 worst and the 20 best."""
    rows = sorted(rows, key=lambda row: row[1])
    if len(rows) > MAX_NAMED_CLASSES:
        rows = [*rows[:20], *rows[-20:]]
    figure = Figure(figsize=(6, 0.6 + 0.24 * len(rows)))
    axes = figure.add_subplot()
    axes.barh([name for name, _ in rows], [value for _, value in rows], color=BLUE, height=0.65)
    for position, (_, value) in enumerate(rows):
        axes.text(value + 0.01, position, f"{value:.2f}", va="center", fontsize=8, color=MUTED)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("top-1 of the class", color=INK)
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


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
    pictures = frames.permute(0, 2, 3, 1)  # [T, S, S, 3]
    grey = pictures.float().mean(dim=-1) / 255
    for t in range(num_frames):
        axes = figure.add_subplot(1 + len(maps), num_frames, t + 1)
        axes.imshow(pictures[t])
        _bare(axes)
    for row, (name, weights) in enumerate(maps.items(), start=1):
        full = F.interpolate(weights[None, None].float(), size=grey.shape, mode="trilinear")[0, 0]
        full = full / full.max()
        for t in range(num_frames):
            axes = figure.add_subplot(1 + len(maps), num_frames, row * num_frames + t + 1)
            axes.imshow(grey[t], cmap="gray", vmin=0, vmax=1)
            axes.imshow(full[t], cmap="inferno", vmin=0, vmax=1, alpha=0.65)
            _bare(axes)
            if t == 0:
                axes.set_ylabel(name, fontsize=7, color=INK)
    figure.subplots_adjust(wspace=0.04, hspace=0.06)
    return _png(figure)


def _bare(axes) -> None:  # type: ignore[no-untyped-def]
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
