"""plot.png of a sweep."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gcvideo.figures import BLUE, INK, MUTED, ORANGE, literal, png
from gcvideo.sweep.comparison import Row


def plot_variants(rows: Sequence[Row], metric: str, baseline: str) -> bytes:
    """Every seed of every variant with the mean, next to the paired differences to the baseline; as PNG.

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
    values.invert_yaxis()  # the first variant on top, as in the table
    values.set_title(f"{metric}: seeds and mean", color=INK, fontsize=11)
    differences.axvline(0, color=INK, lw=1)
    differences.set_title(
        f"difference to {literal(baseline)}, 95 % interval (grey: not significant)", color=INK, fontsize=11
    )
    for axes in (values, differences):
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _plot_difference(axes: Axes, height: int, row: Row) -> None:
    """Mean difference and its interval; nothing for the baseline and for too few seeds."""
    if row.difference is None or row.low is None or row.high is None:
        return
    colour = MUTED if row.verdict == "not significant" else ORANGE
    axes.plot([row.low, row.high], [height, height], "-", lw=2, color=colour)
    axes.plot([row.difference], [height], "o", ms=6, color=colour)
