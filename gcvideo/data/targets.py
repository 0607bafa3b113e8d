"""Labels as numbers: one class index for each video, or for videos of several classes a row of K truth values.

Letters: N videos, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gcvideo.data.labels import labels_in
from gcvideo.data.listing import ManifestError


class Targets(NamedTuple):
    """What networks are trained towards.

    Attributes:
        values: class indices, N of them; or bool [N, K].
        unknown: row -> the first of its labels that is no class; such a row has no other meaning.
    """

    values: Sequence[int] | Tensor
    unknown: dict[int, str]


def targets_of(cells: Sequence[str], names: Sequence[str], separator: str | None = None) -> Targets:
    """Targets of the N cells of a column of labels. A class that is called "3" wins over the index 3.

    Args:
        cells: as written in the manifest.
        names: of the K classes.
        separator: of the labels in a cell; None for one label each.

    Raises:
        ManifestError: the name of a class contains the separator, so that it could not be told from two classes.
    """
    index_of = {str(index): index for index in range(len(names))}
    index_of |= {name: index for index, name in enumerate(names)}
    if separator is None:
        indices = [index_of.get(label, -1) for label in cells]
        bad = {row: cells[row] for row, index in enumerate(indices) if index < 0} if -1 in indices else {}
        return Targets(indices, bad)
    if (torn := next((name for name in names if separator in name), None)) is not None:
        raise ManifestError(f"expected class names without data.label_separator {separator!r}, got {torn!r}")
    rows = np.zeros((len(cells), len(names)), dtype=bool)
    unknown: dict[int, str] = {}
    for row, cell in enumerate(cells):
        for label in labels_in(cell, separator):
            if label in index_of:
                rows[row, index_of[label]] = True
            else:
                unknown.setdefault(row, label)
    return Targets(torch.from_numpy(rows), unknown)
