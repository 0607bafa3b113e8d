"""The rows of a manifest in any of its forms. Only the manifest is read; `locating` looks for the videos.

- CSV with a header that has at least `path` and `label` (further columns, such as `split`, may follow);
- the annotations of Kinetics: CSV with `label,youtube_id,time_start,time_end` and perhaps `split`, see `kinetics`;
- a folder: split/class/file, or class/file without splits, as ImageNet and many video sets are unpacked;
- the headerless lists of PySlowFast, pytorchvideo and mmaction2: `path label` or `path,label` a line, label an integer
  from 0, cut at the last blank or comma, so that paths may contain blanks.

Rows are stored as columns, because a manifest of Kinetics-700 has 650,000 of them.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import itemgetter
from pathlib import Path

from gcvideo.data.kinetics import COLUMNS, clip_of
from gcvideo.errors import UsageError
from gcvideo.garbage import no_garbage_collection

MAX_ERRORS_SHOWN = 4  # with the line above them: five
MAX_DEPTH = 4
"""Of folders below a manifest's own: deep enough to find what does not fit, and an end for a link to a folder above."""
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".jpg", ".jpeg", ".png", ".webp")
"""Suffixes of the videos and images that are looked for in a folder."""


class ManifestError(UsageError):
    """The manifest can't be used; the message has every problem (or the first ones), each with its line."""


class NoRowsError(ManifestError):
    """The manifest has no rows of a split; the message says which splits there are."""


@dataclass(frozen=True)
class Rows:
    """Columns of a manifest, all of one length.

    Attributes:
        lines: number of each row's line, from 1.
        paths, labels: as written.
        splits: None if the manifest has no such column.
        shards: the tar file that each video lies in; None without such a column.
        has_header: whether the manifest is a CSV file with a header, which may name further columns.
        are_clips: whether `paths` are names of clips, without suffix, that may lie in any folder below the root.
    """

    lines: Sequence[int]
    paths: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str] | None = None
    shards: Sequence[str] | None = None
    has_header: bool = False
    are_clips: bool = False

    def of_split(self, split: str) -> "Rows":
        """The rows of one split; none if the manifest has no column `split`."""
        if self.splits is None:
            return Rows((), (), ())
        return self if set(self.splits) == {split} else self.where([name == split for name in self.splits])

    def where(self, kept: Sequence[bool]) -> "Rows":
        """The rows for which `kept` is true."""
        return replace(
            self,
            lines=list(compress(self.lines, kept)),
            paths=list(compress(self.paths, kept)),
            labels=list(compress(self.labels, kept)),
            splits=None if self.splits is None else list(compress(self.splits, kept)),
            shards=None if self.shards is None else list(compress(self.shards, kept)),
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
    first_line = text.partition("\n")[0].rstrip("\r")
    header = next(csv.reader([first_line]))
    is_list = _cut(first_line)[0] != ""
    is_kinetics = COLUMNS | {"label"} <= set(header) and "path" not in header
    # Another first line with commas is a header. The column "path" alone can only be a mistake.
    is_header = not is_list and (header == ["path"] or len(header) > 1)
    if is_header and not is_kinetics and not {"path", "label"} <= set(header):
        raise ManifestError(
            f"{manifest}: wrong header: expected at least the columns 'path' and 'label', got {','.join(header)!r} "
            f"(or no header and lines of 'path label')"
        )
    try:
        if not is_header:
            rows = _list_rows(manifest, text)
        elif is_kinetics:
            rows = _kinetics_rows(manifest, text, header)
        else:
            rows = _csv_rows(manifest, text, header)
    except csv.Error as error:
        raise ManifestError(f"{manifest}: not a CSV file that can be read ({error})") from None
    if not rows.paths:
        raise ManifestError(f"{manifest}: the manifest is empty: a header and no rows")
    return rows


def together(manifest: Path, errors: Sequence[str], rows: int) -> str:
    """One message of many problems, the first ones shown; at most five lines."""
    shown = list(errors)
    if len(errors) > MAX_ERRORS_SHOWN:
        shown = [*errors[: MAX_ERRORS_SHOWN - 1], f"... and {len(errors) - MAX_ERRORS_SHOWN + 1} more"]
    return "\n  ".join([f"{manifest}: {len(errors)} problem(s) in {rows} rows:", *shown])


def _csv_rows(manifest: Path, text: str, header: Sequence[str]) -> Rows:
    numbers, rows = _table(manifest, text, len(header))

    def column(name: str) -> list[str] | None:
        return list(map(itemgetter(header.index(name)), rows)) if name in header else None

    return Rows(numbers, column("path") or (), column("label") or (), column("split"), column("shard"), True)


def _table(manifest: Path, text: str, width: int) -> tuple[Sequence[int], list[list[str]]]:
    """Numbers and cells of the rows after the header; blank lines do not count."""
    # newline="": the reader ends rows itself, because a quoted path may contain line ends.
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    numbers: Sequence[int] = range(2, len(rows) + 2)  # line 1 is the header
    if set(map(len, rows)) - {width}:  # blank lines, or worse
        numbers = [number for number, row in zip(numbers, rows, strict=True) if row]
        rows = [row for row in rows if row]
        bad = [number for number, row in zip(numbers, rows, strict=True) if len(row) != width]
        if bad:
            errors = [f"line {number}: expected {width} columns as in the header" for number in bad]
            raise ManifestError(together(manifest, errors, len(rows)))
    return numbers, rows


def _kinetics_rows(manifest: Path, text: str, header: Sequence[str]) -> Rows:
    numbers, rows = _table(manifest, text, len(header))
    clips, errors = [], []
    for number, row in zip(numbers, rows, strict=True):
        try:
            clips.append(clip_of(dict(zip(header, row, strict=True))))
        except ValueError as error:
            errors.append(f"line {number}: {error}")
    if errors:
        raise ManifestError(together(manifest, errors, len(rows)))
    names, labels = [clip.name for clip in clips], [clip.label for clip in clips]
    splits = [clip.split for clip in clips] if "split" in header else None
    return Rows(numbers, names, labels, splits, has_header=True, are_clips=True)


def _list_rows(manifest: Path, text: str) -> Rows:
    rows, errors = [], []
    lines = text.split("\n")  # not splitlines: a path may contain other characters that end lines
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, label = _cut(line)
        if not path:
            errors.append(f"line {number}: expected 'path label' with an integer label, got {line.rstrip()!r}")
        else:
            rows.append((number, path, label))
    if errors:
        raise ManifestError(together(manifest, errors, len(lines)))
    numbers, paths, labels = zip(*rows, strict=True)
    return Rows(numbers, paths, labels)


def _cut(line: str) -> tuple[str, str]:
    """Path and label of a line of a list, "path label" or "path,label"; two empty strings if it is none."""
    line = line.rstrip()
    before = line.rstrip("0123456789")  # ASCII: digits of other scripts are decimal to Python, too
    path = before.rstrip(" \t")
    if len(before) == len(line) or (path == before and not path.endswith(",")):
        return "", ""
    path = path.removesuffix(",").rstrip(" \t")
    if len(path) > 2 and path[0] == path[-1] == '"':  # as a CSV file quotes a path with commas
        path = path[1:-1].replace('""', '"')
    return path, line[len(before) :]


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
