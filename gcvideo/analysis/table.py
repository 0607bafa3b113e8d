"""The complexity table of GCNet's Kinetics rows, counted here and as published.

Source of the published figures: GCNet (arXiv:1904.11492), table "Results of GCNet and NLNet based on Slow-only
baseline": slow-only ResNet-50, 8 frames, 400 classes. Its absolute 39.29 G is not what plain counting of any common
form of this network gives (41.74 G at 8 x 224 x 224); the parameters are exact and the increments of SNL and GC agree.
The increment of NL (+20.31 G) is not reproduced either: +22.24 G with the keys pooled first.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch

from gcvideo.analysis.complexity import MACS_COUNTER, count_macs, count_parameters
from gcvideo.errors import UsageError
from gcvideo.models import BlocksName, NetworkName, create_model

ROWS: tuple[str, ...] = ("none", "nl5", "snl5", "gc5", "gc_all")

NOTE = (
    "Published (GCNet, table of the slow-only R50): its absolute 39.29 G is not what plain counting gives; compare the "
    "increments. That of nl5 is not reproduced (sub-sampling and its order are not published)."
)


class Published(NamedTuple):
    """A row of the paper: parameters in M, multiply-accumulates in G."""

    parameters_m: float
    macs_g: float


# blocks -> row of slow-only R50 as published.
PUBLISHED: dict[str, Published] = {
    "none": Published(32.45, 39.29),
    "nl5": Published(39.81, 59.60),
    "snl5": Published(36.13, 39.32),
    "gc5": Published(34.30, 39.31),
    "gc_all": Published(42.45, 39.35),
}
PUBLISHED_NETWORK, PUBLISHED_CLASSES, PUBLISHED_FRAMES, PUBLISHED_SIZE = "slowonly_r50", 400, 8, 224


@dataclass(frozen=True)
class Comparison:
    """What the paper prints for a row. The multiply-accumulates are None for clips of another size than the paper's."""

    parameters_m: float
    macs_g: float | None = None
    macs_increment_g: float | None = None


@dataclass(frozen=True)
class Row:
    """One choice of blocks; increments are over the network without blocks. `published` is None for other networks."""

    blocks: str
    parameters: int
    macs: int
    parameters_increment: int
    macs_increment: int
    published: Comparison | None


@dataclass(frozen=True)
class ComplexityTable:
    """Counts of a network; `input` is the shape [1, 3, T, S, S] of the clip that they are for."""

    network: str
    num_classes: int
    input: tuple[int, int, int, int, int]
    rows: tuple[Row, ...]
    counter: str = MACS_COUNTER

    @property
    def note(self) -> str:
        """How to read the published figures, or "" if there are none."""
        return NOTE if any(row.published and row.published.macs_g is not None for row in self.rows) else ""


class _Counts(NamedTuple):
    parameters: int
    macs: int


def complexity_table(
    network: NetworkName = PUBLISHED_NETWORK,
    blocks: Sequence[BlocksName] = ROWS,
    frames: int = PUBLISHED_FRAMES,
    size: int = PUBLISHED_SIZE,
    num_classes: int = PUBLISHED_CLASSES,
) -> ComplexityTable:
    """Count parameters and multiply-accumulates; nothing is computed, the networks live on the meta device.

    Defaults are those of the published table.

    Args:
        network: its name.
        blocks: rows.
        frames, size: of one clip, [1, 3, frames, size, size].
        num_classes: of the classifier.

    Raises:
        UsageError: see `create_model`; or the clip is too small for the strides of the network.
    """
    shape = (1, 3, frames, size, size)
    # "none" is always counted: the increments are over it.
    counts = {preset: _count(network, preset, num_classes, shape) for preset in dict.fromkeys(["none", *blocks])}
    # Of any size, because the parameters do not depend on it.
    in_paper = (network, num_classes, frames) == (PUBLISHED_NETWORK, PUBLISHED_CLASSES, PUBLISHED_FRAMES)
    rows = []
    for preset in blocks:
        rows.append(
            Row(
                blocks=preset,
                parameters=counts[preset].parameters,
                macs=counts[preset].macs,
                parameters_increment=counts[preset].parameters - counts["none"].parameters,
                macs_increment=counts[preset].macs - counts["none"].macs,
                published=_comparison(preset, size) if in_paper and preset in PUBLISHED else None,
            )
        )
    return ComplexityTable(network, num_classes, shape, tuple(rows))


def _count(network: NetworkName, blocks: BlocksName, num_classes: int, shape: tuple[int, ...]) -> _Counts:
    with torch.device("meta"):
        net = create_model(network, blocks, num_classes)
    try:
        return _Counts(count_parameters(net), count_macs(net, shape))
    except (RuntimeError, ValueError) as error:  # from torch: a kernel larger than its input
        reason = str(error).splitlines()[0]
        raise UsageError(f"{network} does not take a clip of {' x '.join(map(str, shape[2:]))}: {reason}") from error


def _comparison(blocks: str, size: int) -> Comparison:
    published = PUBLISHED[blocks]
    if size != PUBLISHED_SIZE:
        return Comparison(published.parameters_m)
    increment = round(published.macs_g - PUBLISHED["none"].macs_g, 2)  # published with two decimals
    return Comparison(published.parameters_m, published.macs_g, increment)


def as_dict(table: ComplexityTable) -> dict[str, Any]:
    """The table as plain values, without what is None in a comparison and without an empty note."""
    plain = asdict(table)
    plain["input"] = list(table.input)
    plain["rows"] = list(plain["rows"])
    for row in plain["rows"]:
        if row["published"] is not None:
            row["published"] = {key: value for key, value in row["published"].items() if value is not None}
    return {**plain, "note": table.note} if table.note else plain


def as_json(table: ComplexityTable) -> str:
    """The table as JSON."""
    return json.dumps(as_dict(table), indent=2) + "\n"


def as_text(table: ComplexityTable, markdown: bool = False) -> str:
    """The table in columns, for a terminal or as Markdown."""
    head = ("blocks", "parameters", "published", "GMACs", "published", "increment", "published")
    cells = [head] + [_cells(row) for row in table.rows]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|---" * len(head) + "|")
    else:
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    clip = " x ".join(map(str, table.input[2:]))
    lines += ["", f"{table.network}, {table.num_classes} classes, one clip of {clip}; GMACs by {table.counter}."]
    if table.note:
        lines.append(table.note)
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    published = row.published
    increments = row.blocks != "none"  # over itself it is zero

    def cell(value: float | None, form: str, unit: str = "") -> str:
        return "" if value is None else format(value, form) + unit

    return (
        row.blocks,
        f"{row.parameters:,}",
        cell(published.parameters_m if published else None, ".2f", " M"),
        f"{row.macs / 1e9:.3f}",
        cell(published.macs_g if published else None, ".2f"),
        cell(row.macs_increment / 1e9 if increments else None, "+.3f"),
        cell(published.macs_increment_g if published and increments else None, "+.2f"),
    )
