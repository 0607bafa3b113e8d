"""Labels of a manifest: which are refused, and the classes that they make."""

from collections.abc import Iterable
from pathlib import Path

from gcvideo.data.listing import ManifestError, Rows, read_rows, together
from gcvideo.terminal import printable

MAX_CLASSES = 100_000
"""More labels are a mistake: a column of numbers or of names of files. (ImageNet-21k has 21,841 classes.)"""


def check_separator(separator: object) -> None:
    """Refuse a setting `data.label_separator` that can't separate labels.

    Raises:
        ManifestError: it is no text, empty, or has characters that no label may have.
    """
    if separator is None:
        return
    if not isinstance(separator, str) or not separator or not separator.isprintable():
        raise ManifestError(f"expected a data.label_separator such as '|', got {separator!r}")


def label_problem(label: str) -> str:
    """What is wrong with a label; "" if nothing is."""
    if not label or label != label.strip():
        return f"expected a label without blanks around it, got {label!r}"
    if "\n" in label or printable(label) != label:  # it would break lists, tables and terminals
        return f"expected a label without line ends and control characters, got {label[:300]!r}"
    return ""


def labels_in(cell: str, separator: str | None) -> list[str]:
    """The labels of a cell of the column `label`: without a separator one, the cell itself.

    With a separator its parts, without blanks around them, each once: "run | jump|run" are "run" and "jump". An empty
    cell is then a video of no class.
    """
    if separator is None:
        return [cell]
    return list(dict.fromkeys(part for text in cell.split(separator) if (part := text.strip())))


def distinct_labels(cells: Iterable[str], separator: str | None) -> set[str]:
    """The labels in all cells; cells are few where rows are many."""
    return {label for cell in set(cells) for label in labels_in(cell, separator)}


def complete_rows(manifest: Path, separator: str | None = None) -> Rows:
    """All rows of a manifest, of which each has a path and a good label.

    Args:
        manifest: see `listing`.
        separator: of the labels in a cell, where videos may have several or none; see `labels_in`.

    Raises:
        ManifestError: as `read_rows` and `check_separator`, or rows without path or label, with their lines.
    """
    check_separator(separator)
    rows = read_rows(manifest)
    problem_of: dict[str, str] = {}
    for cell in set(rows.labels):
        for label in labels_in(cell, separator):
            if problem := label_problem(label):
                problem_of.setdefault(cell, problem)
    if problem_of or "" in rows.paths:
        errors = [
            f"line {line}: {problem_of[cell] if path else 'no path'}"
            for line, path, cell in zip(rows.lines, rows.paths, rows.labels, strict=True)
            if cell in problem_of or not path
        ]
        raise ManifestError(together(manifest, errors, len(rows.paths)))
    return rows


def class_names_of(cells: Iterable[str], separator: str | None = None) -> list[str]:
    """Class names: sorted labels; for integer labels "0", "1", ... up to the largest.

    Sorted by name, classes have the usual order of Kinetics (0 is 'abseiling').

    Raises:
        ManifestError: too many, or none: of videos that may have several labels, none has any.
    """
    names = distinct_labels(cells, separator)
    if not names:
        raise ManifestError("no video has a label: expected at least two classes")
    # At most 6 digits: a label like 99999999999 is a name, not the length of a list of names.
    are_indices = all(name.isdecimal() and name.isascii() and len(name) < 7 for name in names)
    number = max(int(name) for name in names) + 1 if are_indices else len(names)
    if number > MAX_CLASSES:
        raise ManifestError(f"the labels make {number:,} classes, expected at most {MAX_CLASSES:,}")
    return [str(index) for index in range(number)] if are_indices else sorted(names)
