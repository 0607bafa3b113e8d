"""Figures of a sweep, as PNG files in memory."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gcvideo.figures import BLUE, INK, MUTED, ORANGE, PALETTE, literal, png
from gcvideo.report.curves import Curves
from gcvideo.report.interval import wilson
from gcvideo.sweep.comparison import Row
from gcvideo.sweep.outcome import ClassTop1

MAX_CLASS_ROWS = 120  # points of one below the other that a figure can show


def plot_variants(rows: Sequence[Row], metric: str, baseline: str) -> bytes:
    """Every seed of every variant with the mean, next to the paired differences to the baseline.

    Args:
        rows: one for each variant, from `compare`.
        metric: name of the values.
        baseline: name of the variant that the others are compared with.
    """
    figure = Figure(figsize=(10, 0.9 + 0.45 * len(rows)))
    values, differences = figure.subplots(1, 2, sharey=True)
    for height, row in enumerate(rows):
        seeds = list(row.values.values())
        values.plot(seeds, [height] * len(seeds), "o", ms=5, alpha=0.5, color=BLUE, mew=0)
        values.plot([row.mean], [height], "|", ms=18, mew=2, color=INK)
        _plot_difference(differences, height, row)
    values.set_yticks(range(len(rows)), [literal(row.variant) for row in rows])
    values.set_ylim(len(rows) - 0.5, -0.5)  # the first variant on top, as in the table
    values.set_title(f"{metric}: seeds and mean", color=INK, fontsize=11)
    differences.axvline(0, color=INK, lw=1)
    differences.set_title(
        f"difference to {literal(baseline)}, 95 % interval (orange: significant)", color=INK, fontsize=11
    )
    for axes in (values, differences):
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _plot_difference(axes: Axes, height: int, row: Row) -> None:
    """Mean difference and its interval; nothing for the baseline."""
    if row.paired is None:
        return
    colour = ORANGE if row.verdict in ("better", "worse") else MUTED
    axes.plot(row.paired.interval or [], [height] * (2 if row.paired.interval else 0), "-", lw=2, color=colour)
    axes.plot([row.paired.difference], [height], "o", ms=6, color=colour)


def plot_curves(curves: Mapping[str, Sequence[Curves]], baseline: str) -> bytes:
    """Validation loss and top-1 (or mAP) over epochs: a thin line for each seed, a thick one for their mean.

    Args:
        curves: variant -> curves of each of its seeds.
        baseline: name of the variant that is drawn in grey.
    """
    figure = Figure(figsize=(10, 3.4))
    panels = figure.subplots(1, 2)
    has_map = any("val/video_map" in one for by_seed in curves.values() for one in by_seed)
    accuracy = ("val/video_map", "mAP") if has_map else ("val/video_top1", "top-1")
    for axes, (curve, title) in zip(panels, (("val/loss", "loss"), accuracy), strict=True):
        for (variant, by_seed), colour in zip(curves.items(), _colours(curves, baseline), strict=False):
            seeds = [dict(one[curve]) for one in by_seed if curve in one]  # of each, epoch -> value
            for points in seeds:
                axes.plot(points.keys(), points.values(), "-", lw=0.8, alpha=0.35, color=colour)
            epochs = sorted(set.intersection(*(set(points) for points in seeds))) if seeds else []
            means = [sum(points[epoch] for points in seeds) / len(seeds) for epoch in epochs]
            axes.plot(epochs, means, "o-", ms=3.5, lw=1.8, color=colour, label=literal(variant))
        axes.set_xlabel("epoch", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"validation videos: {title}", color=INK, fontsize=11)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure)


def plot_classes(classes: Mapping[str, Mapping[str, ClassTop1]], baseline: str) -> bytes:
    """Top-1 of each class and variant with its 95 % interval; the class in which variants differ most is on top.

    Args:
        classes: variant -> class -> mean over seeds. Of many classes, those in which variants differ most are shown.
        baseline: name of the variant that is drawn in grey.
    """
    by_class: dict[str, list[float]] = {}
    for by_name in classes.values():
        for name, row in by_name.items():
            by_class.setdefault(name, []).append(row.top1)
    names = sorted(by_class, key=lambda name: min(by_class[name]) - max(by_class[name]))
    names = names[: max(1, MAX_CLASS_ROWS // len(classes))]
    figure = Figure(figsize=(10, 0.9 + len(names) * (0.16 + 0.14 * len(classes))))
    axes = figure.add_subplot()
    step = 0.75 / len(classes)
    for number, ((variant, by_name), colour) in enumerate(
        zip(classes.items(), _colours(classes, baseline), strict=False)
    ):
        offset = (number - (len(classes) - 1) / 2) * step
        shown = [(height + offset, by_name[name]) for height, name in enumerate(names) if name in by_name]
        for height, row in shown:
            axes.plot(wilson(*row), [height, height], "-", lw=1.2, alpha=0.6, color=colour)
        heights = [height for height, _ in shown]
        axes.plot([row.top1 for _, row in shown], heights, "o", ms=4.5, color=colour, label=literal(variant))
    axes.set_yticks(range(len(names)), [literal(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first class on top
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("top-1 of the class and its 95 % interval", color=INK)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return png(figure)


def _colours(variants: Iterable[str], baseline: str) -> list[str]:
    """A colour for each variant, grey for the baseline; from the eighth other variant on they repeat."""
    colours = cycle(PALETTE)
    return [MUTED if variant == baseline else next(colours) for variant in variants]
