"""What the splits of a manifest have in common although they should not, and lack although they should not.

Neither is an error: some published lists have both. Both make an accuracy mean something else.
"""

import os
from collections.abc import Iterator, Sequence

from gcvideo.data.listing import Rows


def split_warnings(rows: Rows, train: str, evaluated: Sequence[str]) -> Iterator[str]:
    """One line for each finding: files in two splits, and labels that training never sees.

    Args:
        rows: all rows of a manifest.
        train: split that is trained on.
        evaluated: splits that are evaluated; those that are `train` itself, or not there, do not count.
    """
    found = set(rows.splits or ())
    names = [name for name in dict.fromkeys((train, *evaluated)) if name in found]
    line_of = {name: _first_lines(rows, name) for name in names}
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            both = line_of[first].keys() & line_of[second].keys()
            if both:
                path = min(both, key=line_of[first].__getitem__)
                yield (
                    f"{len(both)} file(s) in both split {first!r} and split {second!r}, such as {path!r} (lines "
                    f"{line_of[first][path]} and {line_of[second][path]}): the accuracy counts videos of the training"
                )
    if train in names:
        yield from _unseen_labels(rows, train, names[1:])


def _first_lines(rows: Rows, split: str) -> dict[str, int]:
    """Path -> its first line in a split, every path in one spelling."""
    kept = rows.of_split(split)
    lines: dict[str, int] = {}
    for path, line in zip(kept.paths, kept.lines, strict=True):
        # Normalising costs a microsecond or two, for each of perhaps 650,000 rows.
        lines.setdefault(os.path.normpath(path) if "./" in path or "//" in path else path, line)
    return lines


def _unseen_labels(rows: Rows, train: str, evaluated: Sequence[str]) -> Iterator[str]:
    trained = set(rows.of_split(train).labels)
    for split in evaluated:
        kept = rows.of_split(split)
        unseen = set(kept.labels) - trained
        if unseen:
            line, label = next(
                (line, label) for line, label in zip(kept.lines, kept.labels, strict=True) if label in unseen
            )
            yield (
                f"{len(unseen)} label(s) of split {split!r} never occur in split {train!r}, such as {label!r} (line "
                f"{line}): no training can learn them"
            )
