"""The rows of a manifest in any of its three forms. Only the manifest is read; `manifest` looks for the videos.

- CSV with a header that has at least `path` and `label` (further columns, such as `split`, may follow);
- a folder: split/class/file, or class/file without splits, as ImageNet and many video sets are unpacked;
- the headerless lists of PySlowFast, pytorchvideo and mmaction2: `path label` a line, label an integer from 0, split
  at the last blank, so that paths may contain blanks.

Rows are stored as columns, because a manifest of Kinetics-700 has 650,000 of them.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from pathlib import Path

from gcvideo.errors import UsageError
from gcvideo.garbage import no_garbage_collection

MAX_ERRORS_SHOWN = 4  # with the line above them: five
MAX_CLASSES = 100_000
"""More labels are a mistake: a column of numbers or of names of files. (ImageNet-21k has 21,841 classes.)"""
MAX_DEPTH = 4
"""Of folders below a manifest's own: deep enough to find what does not fit, and an end for a link to a folder above."""
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".jpg", ".jpeg", ".png", ".webp")
"""Suffixes of the videos and images that are looked for in a folder."""


class ManifestError(UsageError):
    """The manifest can't be used; the message has every problem (or the first ones), each with its line."""


@dataclass(frozen=True)
class Rows:
    """Columns of a manifest, all of one length.

    Attributes:
        lines: number of each row's line, from 1.
        paths, labels: as written.
        splits: None if the manifest has no such column.
        shards: the tar file that each video lies in; None without such a column.
        has_header: whether the manifest is a CSV file with a header, which may name further columns.
    """

    lines: Sequence[int]
    paths: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str] | None = None
    shards: Sequence[str] | None = None
    has_header: bool = False

    def of_split(self, split: str) -> "Rows":
        """The rows of one split; none if the manifest has no column `split`."""
        if self.splits is None:
            return Rows((), (), ())
        if set(self.splits) == {split}:
            return self
        kept = [name == split for name in self.splits]
        return Rows(
            lines=list(compress(self.lines, kept)),
            paths=list(compress(self.paths, kept)),
            labels=list(compress(self.labels, kept)),
            splits=list(compress(self.splits, kept)),
            shards=None if self.shards is None else list(compress(self.shards, kept)),
            has_header=self.has_header,
        )


def read_rows(manifest: Path) -> Rows:
    """All rows of a manifest.

    Raises:
        ManifestError: no such file, not text, empty, a wrong header, or rows that do not fit it.
    """
    with no_garbage_collection():
        return _folder_rows(manifest) if manifest.is_dir() else _file_rows(manifest)


def _file_rows(manifest: Path) -> Rows:
    if not manifest.is_file():
        raise ManifestError(f"{manifest}: no such manifest file")
    try:
        text = manifest.read_text(encoding="utf-8-sig")  # a byte order mark is not part of the first column
    except UnicodeDecodeError as error:
        raise ManifestError(f"{manifest}: not a text file in UTF-8 ({error.reason})") from error
    if not text or text.isspace():
        raise ManifestError(f"{manifest}: the manifest is empty")
    # A first line with commas is a header; lists have spaces. The column "path" alone can only be a mistake.
    header = next(csv.reader([text.partition("\n")[0].rstrip("\r")]))
    if header == ["path"] or (len(header) > 1 and not {"path", "label"} <= set(header)):
        raise ManifestError(
            f"{manifest}: wrong header: expected at least the columns 'path' and 'label', got {','.join(header)!r} "
            f"(or no header and lines of 'path label')"
        )
    try:
        rows = _csv_rows(manifest, text, header) if len(header) > 1 else _list_rows(manifest, text)
    except csv.Error as error:
        raise ManifestError(f"{manifest}: not a CSV file that can be read ({error})") from None
    if not rows.paths:
        raise ManifestError(f"{manifest}: the manifest is empty: a header and no rows")
    return rows


def class_names_of(rows: Rows) -> list[str]:
    """Class names: sorted labels; for integer labels "0", "1", ... up to the largest.

    Sorted by name, classes have the usual order of Kinetics (0 is 'abseiling').
    """
    labels = set(rows.labels)
    # At most 6 digits: a label like 99999999999 is a name, not the length of a list of names.
    are_indices = all(label.isdecimal() and label.isascii() and len(label) < 7 for label in labels)
    number = max(int(label) for label in labels) + 1 if are_indices else len(labels)
    if number > MAX_CLASSES:
        raise ManifestError(f"the labels make {number:,} classes, expected at most {MAX_CLASSES:,}")
    return [str(index) for index in range(number)] if are_indices else sorted(labels)


def together(manifest: Path, errors: Sequence[str], rows: int) -> str:
    """One message of many problems, the first ones shown; at most five lines."""
    shown = list(errors)
    if len(errors) > MAX_ERRORS_SHOWN:
        shown = [*errors[: MAX_ERRORS_SHOWN - 1], f"... and {len(errors) - MAX_ERRORS_SHOWN + 1} more"]
    return "\n  ".join([f"{manifest}: {len(errors)} problem(s) in {rows} rows:", *shown])


def _csv_rows(manifest: Path, text: str, header: Sequence[str]) -> Rows:
    # newline="": the reader ends rows itself, because a quoted path may contain line ends.
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    numbers: Sequence[int] = range(2, len(rows) + 2)  # line 1 is the header
    if set(map(len, rows)) - {len(header)}:  # blank lines, or worse
        numbers = [number for number, row in zip(numbers, rows, strict=True) if row]
        rows = [row for row in rows if row]
        bad = [number for number, row in zip(numbers, rows, strict=True) if len(row) != len(header)]
        if bad:
            errors = [f"line {number}: expected {len(header)} columns as in the header" for number in bad]
            raise ManifestError(together(manifest, errors, len(rows)))

    def column(name: str) -> list[str] | None:
        return list(map(itemgetter(header.index(name)), rows)) if name in header else None

    return Rows(numbers, column("path") or (), column("label") or (), column("split"), column("shard"), True)


def _list_rows(manifest: Path, text: str) -> Rows:
    rows, errors = [], []
    lines = text.split("\n")  # not splitlines: a path may contain other characters that end lines
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, _, label = line.rstrip().rpartition(" ")
        # isascii(): digits of other scripts are decimal to Python, too.
        if not path or not (label.isdecimal() and label.isascii()):
            errors.append(f"line {number}: expected 'path label' with an integer label, got {line!r}")
        else:
            rows.append((number, path, label))
    if errors:
        raise ManifestError(together(manifest, errors, len(lines)))
    numbers, paths, labels = zip(*rows, strict=True)
    return Rows(numbers, paths, labels)


def _folder_rows(folder: Path) -> Rows:
    """Videos and images in the order of their paths, links followed; other and hidden files are ignored."""
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]  # in place: os.walk enters what is left
        if folders and len(Path(parent).relative_to(folder).parts) == MAX_DEPTH:
            raise ManifestError(f"{parent}/{min(folders)} is nested too deeply: expected split/class/file")
        paths = [Path(parent, name).relative_to(folder) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    files.sort()  # os.walk has the order of the file system, which differs between machines
    # One file at split/class/file settles it. What does not fit is an error: a stray file would make a class.
    depth = 3 if any(len(path.parts) == 3 for path in files) else 2
    errors = [
        f"{path} is not in {'split/class/' if depth == 3 else 'class/'}" for path in files if len(path.parts) != depth
    ]
    if errors:
        raise ManifestError(together(folder, errors, len(files)))
    if not files:
        raise ManifestError(f"{folder}: expected a folder split/class/file or class/file, found no video or image")
    return Rows(
        range(1, len(files) + 1),
        [str(path) for path in files],
        [path.parts[-2] for path in files],
        [path.parts[0] for path in files] if depth == 3 else None,
    )
