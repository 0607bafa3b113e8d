"""Rows of the official annotations of Kinetics-400/600/700: which clip they name, its class and its split."""

import re
from collections.abc import Mapping
from typing import NamedTuple

COLUMNS = frozenset({"youtube_id", "time_start", "time_end"})
"""Columns by which the annotations are recognised. Test files may lack `label` and `split`."""

SPLITS = {"validate": "val", "holdout_test": "test"}
"""Splits as some releases spell them."""


class Clip(NamedTuple):
    """One row.

    Attributes:
        youtube_id: 11 characters; may begin with "-" and contain "_".
        start_s, end_s: of the action in the original video, in seconds.
        label: class; "" if the row has none.
        split: "train", "val", "test", or "" if the row has none.
    """

    youtube_id: str
    start_s: float
    end_s: float
    label: str
    split: str

    @property
    def name(self) -> str:
        """Name of its file, without suffix: "-3B32lodo2M_000059_000069"."""
        return f"{self.youtube_id}_{int(self.start_s):06d}_{int(self.end_s):06d}"


def clip_of(fields: Mapping[str, str | None]) -> Clip:
    """The clip of a row, given by its columns.

    Raises:
        ValueError: no YouTube id (it becomes a part of a path), or times that are not an interval.
    """
    # Some releases quote twice.
    texts = {name: (fields.get(name) or "").strip('"') for name in (*COLUMNS, "label", "split")}
    if not re.fullmatch(r"[\w-]{11}", texts["youtube_id"], re.ASCII):
        raise ValueError(f"{texts['youtube_id']!r} is not a YouTube id of 11 characters")
    start_s, end_s = float(texts["time_start"]), float(texts["time_end"])
    if not 0 <= start_s <= end_s < 1e6:  # False for nan, too
        raise ValueError(f"expected 0 <= time_start <= time_end, got {start_s} and {end_s}")
    split = texts["split"]
    return Clip(texts["youtube_id"], start_s, end_s, texts["label"], SPLITS.get(split, split))
