"""Labels of a manifest: which are refused, and the classes that they make."""

from collections.abc import Iterable
from pathlib import Path

from gcvideo.data.listing import ManifestError, Rows, read_rows, together
from gcvideo.terminal import printable

MAX_CLASSES = 100_000
"""More labels are a mistake: a column of numbers or of names of files. (ImageNet-21k has 21,841 classes.)"""


def label_problem(label: str) -> str:
    """What is wrong with a label; "" if nothing is."""
    if not label or label != label.strip():
        return f"expected a label without blanks around it, got {label!r}"
    if "\n" in label or printable(label) != label:  # it would break lists, tables and terminals
        return f"expected a label without line ends and control characters, got {label[:300]!r}"
    return ""


def complete_rows(manifest: Path) -> Rows:
    """All rows of a manifest, of which each has a path and a good label.

    Raises:
        ManifestError: as `read_rows`, or rows without them, with their lines.
    """
    rows = read_rows(manifest)
    problem_of = {label: problem for label in set(rows.labels) if (problem := label_problem(label))}
    if problem_of or "" in rows.paths:
        errors = [
            f"line {line}: {problem_of[label] if path else 'no path'}"
            for line, path, label in zip(rows.lines, rows.paths, rows.labels, strict=True)
            if label in problem_of or not path
        ]
        raise ManifestError(together(manifest, errors, len(rows.paths)))
    return rows


def class_names_of(labels: Iterable[str]) -> list[str]:
    """Class names: sorted labels; for integer labels "0", "1", ... up to the largest.

    Sorted by name, classes have the usual order of Kinetics (0 is 'abseiling').

    Raises:
        ManifestError: too many.
    """
    names = set(labels)
    # At most 6 digits: a label like 99999999999 is a name, not the length of a list of names.
    are_indices = all(name.isdecimal() and name.isascii() and len(name) < 7 for name in names)
    number = max(int(name) for name in names) + 1 if are_indices else len(names)
    if number > MAX_CLASSES:
        raise ManifestError(f"the labels make {number:,} classes, expected at most {MAX_CLASSES:,}")
    return [str(index) for index in range(number)] if are_indices else sorted(names)
