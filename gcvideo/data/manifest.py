"""Manifests: which videos there are, and their labels.

Three forms are read:

- CSV with a header that has at least `path` and `label` (further columns, such as `split`, may follow);
- a folder: split/class/file, or class/file without splits, as ImageNet and many video sets are unpacked;
- the headerless lists of PySlowFast, pytorchvideo and mmaction2: `path label` a line, label an integer from 0, split
  at the last blank, so that paths may contain blanks.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_ERRORS_SHOWN = 10
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".jpg", ".jpeg", ".png", ".webp")
"""Of the videos and images that are looked for in a folder."""


class ManifestError(ValueError):
    """The manifest can't be used; the message has every problem (the first ones), each with its line."""


@dataclass(frozen=True, slots=True)
class Video:
    """One row: where the file is, its class index, and its path as written in the manifest."""

    file: str
    label: int
    name: str


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    label: str
    split: str | None


def read_manifest(
    manifest: str | Path,
    split: str | None = None,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
) -> list[Video]:
    """Videos of one split.

    Args:
        manifest: CSV file, list or folder; see the head of this module.
        split: value of the column `split` to keep; None keeps all rows.
        root: folder that the paths are relative to; default the manifest's own, or the manifest if it is a folder.
            Absolute paths stay.
        class_names: index -> name; default `read_class_names(manifest)`. Labels may be names or indices.

    Raises:
        ManifestError: no such file, wrong header or row, no rows (of this split), a label that is not in the class
            list, a file that is missing or not a regular file, or listed twice. All problems are reported together.
    """
    manifest = Path(manifest)
    rows = _read_rows(manifest)
    names = list(class_names) if class_names is not None else _names_from(rows)
    if split is not None:
        present = sorted({row.split or "" for row in rows})
        rows = [row for row in rows if row.split == split]
        if not rows:
            raise ManifestError(f"{manifest}: no rows of split {split!r}; splits there: {', '.join(present)}")
    index_of = {name: index for index, name in enumerate(names)}
    folder = Path(root) if root is not None else manifest if manifest.is_dir() else manifest.parent
    videos: list[Video] = []
    errors: list[str] = []
    first_line: dict[str, int] = {}
    for row in rows:
        label = index_of.get(row.label)
        if label is None and row.label.isdigit() and int(row.label) < len(names):
            label = int(row.label)
        file = folder / row.path
        if label is None:
            errors.append(f"line {row.line}: label {row.label!r} is not in the class list of {len(names)}")
        elif row.path in first_line:
            errors.append(f"line {row.line}: {row.path!r} is listed in line {first_line[row.path]} already")
        elif not file.is_file():
            errors.append(f"line {row.line}: {'not a regular file' if file.exists() else 'missing file'}: {file}")
        else:
            videos.append(Video(str(file), label, row.path))
        first_line.setdefault(row.path, row.line)
    if errors:
        raise ManifestError(_together(manifest, errors, len(rows)))
    return videos


def read_class_names(manifest: str | Path) -> list[str]:
    """Class names of a manifest, all splits: sorted labels; for integer labels "0", "1", ... up to the largest.

    Sorting by name gives the usual order of Kinetics (0 is 'abseiling').
    """
    return _names_from(_read_rows(Path(manifest)))


def _names_from(rows: Sequence[_Row]) -> list[str]:
    labels = {row.label for row in rows}
    if all(label.isdigit() for label in labels):
        return [str(index) for index in range(max(int(label) for label in labels) + 1)]
    return sorted(labels)


def _read_rows(manifest: Path) -> list[_Row]:
    if manifest.is_dir():
        return _folder_rows(manifest)
    if not manifest.is_file():
        raise ManifestError(f"{manifest}: no such manifest file")
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{manifest}: not a text file in UTF-8 ({error.reason})") from error
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise ManifestError(f"{manifest}: the manifest is empty")
    header = next(csv.reader(lines[:1]))
    rows, errors = _csv_rows(lines, header) if len(header) > 1 else _list_rows(lines)
    if header == ["path"] or (len(header) > 1 and not {"path", "label"} <= set(header)):
        raise ManifestError(
            f"{manifest}: wrong header: got {','.join(header)!r}, wanted at least the columns 'path' and 'label' "
            f"(or no header and lines of 'path label')"
        )
    if errors:
        raise ManifestError(_together(manifest, errors, len(lines)))
    if not rows:
        raise ManifestError(f"{manifest}: the manifest is empty: a header and no rows")
    return rows


def _folder_rows(folder: Path) -> list[_Row]:
    """Videos and images in the order of their paths, links followed; other and hidden files are passed over."""
    files = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name).relative_to(folder) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    files.sort()
    depth = 3 if any(len(path.parts) == 3 for path in files) else 2
    errors = [
        f"{path} is not in {'split/class/' if depth == 3 else 'class/'}" for path in files if len(path.parts) != depth
    ]
    if errors:
        raise ManifestError(_together(folder, errors, len(files)))
    if not files:
        raise ManifestError(f"{folder}: expected a folder split/class/file or class/file, found no video or image")
    return [
        _Row(number, str(path), path.parts[-2], path.parts[0] if depth == 3 else None)
        for number, path in enumerate(files, start=1)
    ]


def _csv_rows(lines: Sequence[str], header: Sequence[str]) -> tuple[list[_Row], list[str]]:
    rows, errors = [], []
    reader = csv.DictReader(lines)
    for fields in reader:
        if None in fields or None in fields.values():
            errors.append(f"line {reader.line_num}: expected {len(header)} columns as in the header")
        elif "path" in fields and "label" in fields:
            rows.append(_Row(reader.line_num, fields["path"], fields["label"], fields.get("split")))
    return rows, errors


def _list_rows(lines: Sequence[str]) -> tuple[list[_Row], list[str]]:
    rows, errors = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, _, label = line.rstrip().rpartition(" ")
        if not path or not label.isdigit():
            errors.append(f"line {number}: expected 'path label' with an integer label, got {line!r}")
        else:
            rows.append(_Row(number, path, label, None))
    return rows, errors


def _together(manifest: Path, errors: Sequence[str], rows: int) -> str:
    shown = "\n  ".join(errors[:MAX_ERRORS_SHOWN])
    more = f"\n  ... and {len(errors) - MAX_ERRORS_SHOWN} more" if len(errors) > MAX_ERRORS_SHOWN else ""
    return f"{manifest}: {len(errors)} problem(s) in {rows} rows:\n  {shown}{more}"
