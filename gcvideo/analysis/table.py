"""The complexity table of GCNet's Kinetics rows, counted here and as published.

Source of the published figures: GCNet (arXiv:1904.11492), table "Results of GCNet and NLNet based on Slow-only
baseline": slow-only ResNet-50, 8 frames, 400 classes. Its absolute 39.29 G is not what plain counting of any common
form of this network gives (41.74 G at 8 x 224 x 224); the parameters are exact and the increments of SNL and GC agree.
The increment of NL (+20.31 G) is not reproduced either: +22.24 G with the keys pooled first.
"""

import json
from collections.abc import Sequence
from typing import Any, cast

import torch

from gcvideo.analysis.complexity import MACS_COUNTER, count_macs, count_parameters
from gcvideo.models import BlocksName, NetworkName, create_model

ROWS: tuple[BlocksName, ...] = ("none", "nl5", "snl5", "gc5", "gc_all")

# blocks -> (parameters in M, multiply-accumulates in G) of slow-only R50 as published.
PUBLISHED: dict[str, tuple[float, float]] = {
    "none": (32.45, 39.29),
    "nl5": (39.81, 59.60),
    "snl5": (36.13, 39.32),
    "gc5": (34.30, 39.31),
    "gc_all": (42.45, 39.35),
}
PUBLISHED_MODEL, PUBLISHED_CLASSES, PUBLISHED_FRAMES, PUBLISHED_SIZE = "slowonly_r50", 400, 8, 224

NOTE = (
    "Published (GCNet, table of the slow-only R50): its absolute 39.29 G is not what plain counting gives; compare the "
    "increments. That of nl5 is not reproduced (sub-sampling and its order are not published)."
)


def complexity_table(
    network: NetworkName = "slowonly_r50",
    blocks: Sequence[BlocksName] = ROWS,
    frames: int = 8,
    size: int = 224,
    num_classes: int = 400,
) -> dict[str, Any]:
    """Count parameters and multiply-accumulates; nothing is computed, the models live on the meta device.

    Args:
        network: its name.
        blocks: rows; increments are over the network without blocks.
        frames, size: of one clip, [1, 3, frames, size, size].
        num_classes: of the classifier.

    Returns:
        The setting, and rows with `parameters`, `macs`, their increments, and `published` where the paper has the row
        for this model (None otherwise).
    """
    shape = (1, 3, frames, size, size)
    counts = {preset: _count(network, preset, num_classes, shape) for preset in dict.fromkeys(["none", *blocks])}
    base_parameters, base_macs = counts["none"]
    comparable = (network, num_classes, frames) == (PUBLISHED_MODEL, PUBLISHED_CLASSES, PUBLISHED_FRAMES)
    rows = []
    for preset in blocks:
        parameters, macs = counts[preset]
        row: dict[str, Any] = {
            "blocks": preset,
            "parameters": parameters,
            "macs": macs,
            "parameters_increment": parameters - base_parameters,
            "macs_increment": macs - base_macs,
            "published": None,
        }
        if comparable and preset in PUBLISHED:
            millions, giga = PUBLISHED[preset]
            row["published"] = {"parameters_m": millions}
            if size == PUBLISHED_SIZE:
                row["published"] |= {
                    "macs_g": giga,
                    "macs_increment_g": round(giga - PUBLISHED["none"][1], 2),
                }
        rows.append(row)
    table = {
        "network": network,
        "num_classes": num_classes,
        "input": list(shape),
        "counter": MACS_COUNTER,
        "rows": rows,
    }
    if any(row["published"] and "macs_g" in row["published"] for row in rows):
        table["note"] = NOTE
    return table


def _count(network: NetworkName, blocks: BlocksName, num_classes: int, shape: tuple[int, ...]) -> tuple[int, int]:
    with torch.device("meta"):
        net = create_model(network, blocks, num_classes)
    return count_parameters(net), count_macs(net, shape)


def as_json(table: dict[str, Any]) -> str:
    """The table as JSON."""
    return json.dumps(table, indent=2) + "\n"


def as_text(table: dict[str, Any], markdown: bool = False) -> str:
    """The table in columns, for a terminal or as Markdown."""
    head = ("blocks", "parameters", "published", "GMACs", "published", "increment", "published")
    cells = [head] + [_cells(row) for row in cast(list[dict[str, Any]], table["rows"])]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|---" * len(head) + "|")
    else:
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    clip = " x ".join(map(str, table["input"][2:]))
    note = f"{table['network']}, {table['num_classes']} classes, one clip of {clip}; GMACs by {table['counter']}."
    lines += ["", note]
    if "note" in table:
        lines.append(table["note"])
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    published = row["published"] or {}

    def told(key: str, form: str, unit: str = "") -> str:
        return format(published[key], form) + unit if key in published else ""

    plain = row["blocks"] == "none"
    return (
        row["blocks"],
        f"{row['parameters']:,}",
        told("parameters_m", ".2f", " M"),
        f"{row['macs'] / 1e9:.3f}",
        told("macs_g", ".2f"),
        "" if plain else f"{row['macs_increment'] / 1e9:+.3f}",
        "" if plain else told("macs_increment_g", "+.2f"),
    )
