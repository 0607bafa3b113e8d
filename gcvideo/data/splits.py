"""What the splits of a manifest have in common although they should not, and lack although they should not.

Neither is an error: some published lists have both. Both make an accuracy mean something else.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from gcvideo.data.labels import distinct_labels, labels_in
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
    labels = {name: distinct_labels(kept.labels, label_separator) for name, kept in of.items()}
    for name in of if labels.get(train) else ():
        unseen = labels[name] - labels[train]
        if unseen:
            line, label = next(
                (line, label)
                for line, cell in zip(of[name].lines, of[name].labels, strict=True)
                for label in labels_in(cell, label_separator)
                if label in unseen
            )
            yield (
                f"{len(unseen)} label(s) of split {name!r} never occur in split {train!r}, such as {label!r} (line "
                f"{line}): no training can learn them"
            )
