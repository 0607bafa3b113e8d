"""What the splits of a manifest have in common although they should not, and lack although they should not.

Neither is an error: some published lists have both. Both make an accuracy mean something else.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from gcvideo.data.labels import labels_in
from gcvideo.data.listing import Rows


def split_warnings(
    rows: Rows, train: str, evaluated: Sequence[str], label_separator: str | None = None
) -> Iterator[str]:
    """One line for each finding: files in two splits, and labels that training never sees.

    Args:
        rows: all rows of a manifest, with one spelling of each path.
        train: split that is trained on.
        evaluated: splits that are evaluated; those that are `train` itself, or not there, do not count.
        label_separator: of the labels in a cell; see `labels_in`.
    """
    found = set(rows.splits or ())
    of = {name: rows.of_split(name) for name in dict.fromkeys((train, *evaluated)) if name in found}
    paths = {name: set(kept.paths) for name, kept in of.items()}
    for first, second in combinations(of, 2):
        both = paths[first] & paths[second]
        if both:
            path = next(path for path in of[first].paths if path in both)
            lines = [of[name].lines[of[name].paths.index(path)] for name in (first, second)]
            yield (
                f"{len(both)} file(s) in both split {first!r} and split {second!r}, such as {path!r} (lines "
                f"{lines[0]} and {lines[1]}): the accuracy does not tell how the model does on new videos"
            )
    labels = {name: _first_lines(kept, label_separator) for name, kept in of.items()}
    for name in of if labels.get(train) else ():
        unseen = {label: line for label, line in labels[name].items() if label not in labels[train]}
        if unseen:
            label, line = min(unseen.items(), key=lambda pair: pair[1])
            yield (
                f"{len(unseen)} label(s) of split {name!r} never occur in split {train!r}, such as {label!r} (line "
                f"{line}): no training can learn them"
            )


def _first_lines(rows: Rows, separator: str | None) -> dict[str, int]:
    """Label -> number of the first line that has it."""
    first: dict[str, int] = {}
    # Backwards, so that the first line of a cell stays; cells are few where rows are many.
    for cell, line in dict(zip(reversed(rows.labels), reversed(rows.lines), strict=True)).items():
        for label in labels_in(cell, separator):
            first[label] = min(line, first.get(label, line))
    return first
