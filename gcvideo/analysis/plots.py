"""Figures of an analysis, as PNG files in memory. Colours are safe for the colour-blind, and shapes differ, too.

Letters: T frames, H W places of a map.
"""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gcvideo.analysis.measure import KINDS, PAIRED
from gcvideo.analysis.published import PUBLISHED
from gcvideo.analysis.query_independence import BlockAnalysis, Summary
from gcvideo.figures import BLUE, INK, MUTED, ORANGE, literal, png

MAX_CLASSES = 5
_FLOOR = 1e-4  # of the logarithmic axis: what is below is drawn there

# Okabe and Ito's colours, without yellow, which is pale on white; and a shape for each.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_SHAPES = ("o", "s", "^", "D", "v", "P")
_LABELS = {
    "cos_input": "cos\ninput",
    "cos_output": "cos\noutput",
    "cos_attention": "cos\nattention",
    "jsd_attention": "JSD\nattention",
}


def query_independence(blocks: Sequence[BlockAnalysis]) -> bytes:
    """Mean distances of NL blocks and, beside them, the published rows."""
    figure = Figure(figsize=(7, 3.6))
    axes = figure.add_subplot()
    modes = {block.mode for block in blocks}
    for number, block in enumerate(blocks):
        along = [column - 0.3 + 0.3 * number / max(len(blocks) - 1, 1) for column in range(len(PAIRED))]
        heights = [max(block.overall.mean.get(name, float("nan")), _FLOOR) for name in PAIRED]
        colour, shape = _COLOURS[number % len(_COLOURS)], _SHAPES[number % len(_SHAPES)]
        axes.plot(along, heights, shape, ms=7, color=colour, label=literal(f"{block.name} (here)"))
    for number, row in enumerate(PUBLISHED):
        along = [column + 0.14 + 0.07 * number for column in range(len(PAIRED))]
        heights = [getattr(row, name) for name in PAIRED]
        fill = INK if row.mode in modes else "none"
        axes.plot(along, heights, "Xdph"[number], ms=7, mfc=fill, mec=INK, label=f"{row.mode} (published)")
    axes.set_yscale("log")
    axes.set_ylim(_FLOOR / 1.5, 1)
    axes.set_xticks(range(len(PAIRED)), [_LABELS[name] for name in PAIRED])
    axes.set_ylabel("mean distance of two queries", color=INK)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure)


def frames_or_places(blocks: Sequence[BlockAnalysis]) -> bytes:
    """Mean distance of the attention of two queries, by what differs between them."""
    figure = Figure(figsize=(7, 0.9 + 0.42 * len(blocks)))
    axes = figure.add_subplot()
    for (kind, text), colour, shape in zip(KINDS.items(), (BLUE, ORANGE, MUTED), ("o", "s", "^"), strict=True):
        means = [block.overall.mean.get(f"cos_attention_{kind}", float("nan")) for block in blocks]
        axes.plot(means, range(len(blocks)), shape, ms=8, color=colour, label=text)
    axes.set_yticks(range(len(blocks)), [literal(block.name) for block in blocks])
    axes.invert_yaxis()  # the first block on top
    axes.margins(y=0.25)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean cosine distance of the attention of two queries", color=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure)


def attended(block: BlockAnalysis) -> bytes | None:
    """Where a block looks: share of its attention in each frame and place, of all clips and of the classes that differ
    most from them. None where the weights are no distribution."""
    if block.overall.in_time is None:
        return None
    shown = {"all clips": block.overall, **{name: block.classes[name] for name in unusual_classes(block)}}
    figure = Figure(figsize=(8.6, 2.5 + 1.6 * (len(shown) > 3)))
    grid = figure.add_gridspec(2 if len(shown) > 3 else 1, 6, wspace=0.35, hspace=0.3)
    _in_time(figure.add_subplot(grid[:, :3]), shown)
    _, h, w = block.keys
    maps = {name: torch.tensor(summary.in_space) * h * w for name, summary in shown.items()}  # 1: uniform
    high = max(2.0, max(float(values.max()) for values in maps.values()))
    for number, (name, values) in enumerate(maps.items()):
        axes = figure.add_subplot(grid[number // 3, 3 + number % 3])
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=high)
        axes.set_title(literal(_short(name)), fontsize=8, color=INK, pad=3)
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(image, ax=figure.axes[1:], fraction=0.05, pad=0.03)
    bar.set_label("x uniform", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7)
    return png(figure)


def unusual_classes(block: BlockAnalysis) -> list[str]:
    """Classes whose mean attention differs most from that of all clips (total variation in time plus in space)."""
    distances = {name: _variation(summary, block.overall) for name, summary in block.classes.items()}
    return sorted(distances, key=lambda name: -distances[name])[:MAX_CLASSES]


def _variation(one: Summary, other: Summary) -> float:
    in_time = torch.tensor(one.in_time) - torch.tensor(other.in_time)
    in_space = torch.tensor(one.in_space) - torch.tensor(other.in_space)
    return float(in_time.abs().sum() + in_space.abs().sum()) / 2


def _in_time(axes: Axes, shown: dict[str, Summary]) -> None:
    for number, (name, summary) in enumerate(shown.items()):
        share = torch.tensor(summary.in_time) * len(summary.in_time or ())  # 1: uniform
        colour, shape = (INK, "") if number == 0 else (_COLOURS[number - 1], _SHAPES[number - 1])
        axes.plot(
            range(1, len(share) + 1), share, f"-{shape}", ms=4, lw=2.4 if number == 0 else 1.2, color=colour,
            label=literal(_short(name)),
        )  # fmt: skip
    axes.axhline(1, lw=0.8, ls=":", color=MUTED)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("frame of the features", color=INK, fontsize=9)
    axes.set_ylabel("attention, x uniform", color=INK, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"
