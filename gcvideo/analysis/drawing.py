"""Maps drawn over the frames of a clip: filmstrips and the frames of a video.

The colours are those of viridis, which is readable for the colour-blind and in grey. Every bar has its values.

Letters: T frames, S side of a frame, T' H' W' sizes of a map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from gcvideo.figures import INK, literal, png

COLOURS = "viridis"
OPACITY = 0.6  # of a map over its frame
COLUMNS = 4  # panels side by side, at most


@dataclass(frozen=True)
class Panel:
    """One map of a clip.

    Attributes:
        block: whose it is.
        detail: second line of its title; "" for none.
        values: [T', H', W'].
        unit: of the values, for the legend.
        low, high: values at the ends of the colours; what is above `high` has its colour.
        query: point (along the frames, from the top, from the left) whose map it is, in [0, 1) each.
    """

    block: str
    detail: str
    values: Tensor
    unit: str
    low: float
    high: float
    query: tuple[float, float, float] | None = None

    @property
    def title(self) -> str:
        return f"{self.block}\n{self.detail}" if self.detail else self.block


def over_frames(panel: Panel, num_frames: int, side: int) -> NDArray[np.float32]:
    """The map in the size of the clip: [T, S, S]."""
    size = (num_frames, side, side)  # the map of a deep block has fewer frames and positions
    return F.interpolate(panel.values[None, None].float().cpu(), size=size, mode="trilinear")[0, 0].numpy()


def filmstrip(frames: Tensor, times: Sequence[float], unit: str, panels: Sequence[Panel]) -> bytes:
    """PNG: frames in a row with their times, and below them the rows of the panels, each with its legend.

    Args:
        frames: uint8 [T, 3, S, S].
        times: of the frames.
        unit: of the times.
        panels: at least one.
    """
    colour, grey = _pictures(frames)
    num_frames = len(frames)
    figure = Figure(figsize=(1.15 * num_frames, 1.3 * (1 + len(panels))))
    rows = figure.subplots(1 + len(panels), num_frames, squeeze=False)
    for axes, picture, time in zip(rows[0], colour, times, strict=True):
        axes.imshow(picture)
        axes.set_title(_time(time, unit), fontsize=8, color=INK, pad=3)
    for row, panel in zip(rows[1:], panels, strict=True):
        row[0].set_ylabel(
            literal(panel.title), fontsize=8, color=INK, rotation=0, ha="right", va="center", linespacing=1.25
        )
        values = over_frames(panel, num_frames, frames.shape[-1])
        for frame, axes in enumerate(row):
            axes.imshow(grey[frame], cmap="gray", vmin=0, vmax=1)
            shown = _coloured(axes, values[frame], panel)
            _mark(axes, panel, frame, num_frames, frames.shape[-1])
        _legend(row[-1], shown, panel)
    for axes in rows.flat:
        _bare(axes)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.04, hspace=0.17)  # `png` crops, and keeps what is outside
    return png(figure)


def moving(
    frames: Tensor, times: Sequence[float], unit: str, panels: Sequence[Panel], title: str = ""
) -> Iterator[NDArray[np.uint8]]:
    """One picture for each frame: the frame, and the panels over it; the queries of an NL block begin a new row.

    Args:
        frames, times, unit, panels: as in `filmstrip`.
        title: above all.

    Yields:
        uint8 [H, W, 3], H and W even, as video codecs need.
    """
    colour, grey = _pictures(frames)
    rows = _rows(panels)
    num_columns = max(map(len, rows))
    figure = Figure(figsize=(2.75 * num_columns, 2.6 * len(rows) + 0.4), dpi=100)
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), num_columns, squeeze=False)
    for axes in grid.flat:
        _bare(axes)
    cells = [_Cell(axes, panel, colour if panel is None else grey) for axes, panel in _placed(grid, rows)]
    figure.suptitle(literal(title), fontsize=9, color=INK, y=1 - 0.06 / figure.get_figheight(), va="top")
    top = 1 - 0.7 / figure.get_figheight()
    figure.subplots_adjust(left=0.015, right=1 - 0.25 / num_columns, top=top, bottom=0.02, wspace=0.36, hspace=0.25)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)  # drawn once: texts and bars take most of the time
    for frame in range(len(frames)):
        canvas.restore_region(background)
        for cell in cells:
            cell.draw(frame, _time(times[frame], unit))
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        yield picture[:height, :width].copy()  # the canvas reuses its memory


class _Cell:
    """A panel of a moving picture, or with None the frame itself: what changes is drawn for each frame."""

    def __init__(self, axes: Axes, panel: Panel | None, pictures: NDArray[Any]):
        self.axes, self.panel, self.pictures = axes, panel, pictures
        self.image = axes.imshow(pictures[0], cmap="gray", vmin=0, vmax=1, animated=True)
        if panel is None:
            self.text = axes.set_title("", fontsize=9, color=INK, pad=4, animated=True)
            return
        axes.set_title(literal(panel.title), fontsize=9, color=INK, pad=4)
        self.values = over_frames(panel, len(pictures), pictures.shape[1])
        self.map = _coloured(axes, self.values[0], panel)
        self.map.set_animated(True)
        _legend(axes, self.map, panel)

    def draw(self, frame: int, time: str) -> None:
        self.image.set_data(self.pictures[frame])
        self.axes.draw_artist(self.image)
        if self.panel is None:
            self.text.set_text(time)
            self.axes.draw_artist(self.text)
            return
        self.map.set_data(self.values[frame])
        self.axes.draw_artist(self.map)
        for mark in _mark(self.axes, self.panel, frame, *self.pictures.shape[:2]):
            self.axes.draw_artist(mark)
            mark.remove()


def _rows(panels: Sequence[Panel]) -> list[list[Panel | None]]:
    """Panels in rows of at most `COLUMNS`; None stands for the frame, which comes first."""
    rows: list[list[Panel | None]] = [[None]]
    block = ""
    for panel in panels:
        begins_block = panel.query is not None and panel.block != block
        block = panel.block
        if begins_block or len(rows[-1]) == COLUMNS:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _placed(grid: NDArray[Any], rows: Sequence[Sequence[Panel | None]]) -> list[tuple[Axes, Panel | None]]:
    return [(grid[i, j], panel) for i, row in enumerate(rows) for j, panel in enumerate(row)]


def _pictures(frames: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames [T, 3, S, S] as pictures [T, S, S, 3], and grey in [0, 1], over which the colours of a map stand out."""
    pictures = frames.permute(0, 2, 3, 1).cpu()
    return pictures.numpy(), (pictures.float().mean(dim=-1) / 255).numpy()


def _time(time: float, unit: str) -> str:
    return f"{time:.2f} {unit}" if unit else f"frame {time:.0f}"


def _coloured(axes: Axes, values: NDArray[np.float32], panel: Panel) -> AxesImage:
    return axes.imshow(values, cmap=COLOURS, vmin=panel.low, vmax=panel.high, alpha=OPACITY)


def _mark(axes: Axes, panel: Panel, frame: int, num_frames: int, side: int) -> list[Line2D]:
    """A cross at the query: large in its own frame, small in the others."""
    if panel.query is None:
        return []
    time, top, left = panel.query
    is_own = int(time * num_frames) == frame
    where = ([left * side - 0.5], [top * side - 0.5])  # pixel 0 reaches from -0.5 to 0.5
    size = 9 if is_own else 4
    outline = axes.plot(*where, "x", ms=size + 1.5, mew=4 if is_own else 2.4, color="black")
    return outline + axes.plot(*where, "x", ms=size, mew=2 if is_own else 1.2, color="white")


def _legend(axes: Axes, image: AxesImage, panel: Panel) -> None:
    """The bar of colours with its values, right of the axes."""
    inside = axes.inset_axes((1.04, 0.0, 0.06, 1.0))
    ticks = [panel.low, (panel.low + panel.high) / 2, panel.high]
    bar = axes.figure.colorbar(image, cax=inside, ticks=ticks)
    labels = [f"{tick:.3g}" for tick in ticks]
    if float(panel.values.max()) > panel.high:
        labels[-1] = f"\u2265 {labels[-1]}"
    bar.ax.set_yticklabels(labels, fontsize=7, color=INK)
    low, _, high = bar.ax.get_yticklabels()
    low.set_verticalalignment("bottom")  # no text leaves the length of the bar: rows do not touch
    high.set_verticalalignment("top")
    bar.ax.tick_params(length=2, pad=1)
    bar.ax.set_title(panel.unit, fontsize=7, color=INK, pad=4, loc="left")


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
