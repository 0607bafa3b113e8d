"""Annotations in CSV files.

- Kinetics-400/600/700: columns youtube_id, time_start, time_end, label, split in any order (label and split may be
  missing in test files). Files are found anywhere below the raw folder (archives unpack flat, by class, or deeper) by
  name: `ID_START_END`, padded or not, or `ID`, where ID is the first 11 characters and may begin with '-' and contain
  '_'. A file with 'replacement' in its path (CVDF's archive for corrupted videos) precedes another of its name.
- A manifest of ours: columns path and label, and split if there are any. Its further columns are kept.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gcvideo.data.kinetics import COLUMNS, SPLITS, clip_of
from gcvideo.data.labels import label_problem
from gcvideo.dataset_tools.layouts.listing import Listing, Row, folder_name
from gcvideo.errors import UsageError

# The id ends by its length: a "_" may be part of it.
_CLIP_NAME = re.compile(r"(.{11})(?:_(\d+)_(\d+))?", re.DOTALL)


def read_csv_files(annotations: Sequence[Path], files: Sequence[str]) -> Listing:
    """The rows of all files; a row without a label is only counted.

    Raises:
        UsageError: other columns, or a row that can't be read, with its line.
    """
    try:
        rows = [row for path in annotations for row in _rows(path)]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"the annotations {', '.join(map(str, annotations))} can't be read ({error})") from None
    labelled = [row for row in rows if row.label]
    # Kinetics names a file by its clip, a manifest of ours by its path.
    file_of = _files_by_clip(files) | {file: file for file in files}
    is_official = all(row.times is not None for row in rows)  # only Kinetics has times
    return Listing(labelled, file_of, (), len(rows) - len(labelled), is_official)


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or ()
        layout = next((layout for layout in _LAYOUTS if layout.columns <= set(header)), None)
        if layout is None:
            raise UsageError(
                f"{path}: expected the columns youtube_id, time_start, time_end (and label, split), or path, label "
                f"(and split), got {','.join(header)[:100]!r}"
            )
        for fields in reader:
            try:
                row = layout.row(fields, path)
                if row.label and (problem := label_problem(row.label)):
                    raise ValueError(problem)
                yield row
            except (TypeError, ValueError, AttributeError, OverflowError) as error:  # missing columns, not a number
                raise UsageError(f"{path}: line {reader.line_num} can't be read ({error})") from None


def _kinetics_row(fields: dict[str, str], path: Path) -> Row:
    clip = clip_of(fields)
    # Without the column, the name of the file says it.
    split = folder_name(clip.split or SPLITS.get(path.stem, path.stem), path)
    target = f"{split}/{folder_name(clip.label, path)}/{clip.name}.mp4"
    keys = (f"{clip.youtube_id}_{int(clip.start_s)}_{int(clip.end_s)}", clip.youtube_id)
    return Row(keys, target, clip.label, split, (clip.start_s, clip.end_s))


def _manifest_row(fields: dict[str, str], path: Path) -> Row:
    source = PurePosixPath(fields["path"])
    if source.is_absolute() or ".." in source.parts:
        raise ValueError(f"{fields['path']!r} leads out of the raw folder")
    columns = {name: value for name, value in fields.items() if name not in ("path", "label", "split")}
    if None in fields or None in fields.values():
        raise ValueError("expected as many columns as in the header")
    target = str(source.with_suffix(".mp4"))
    return Row((str(source),), target, fields["label"], fields.get("split", ""), columns=columns)


@dataclass(frozen=True)
class _Layout:
    """Columns by which a CSV file is recognised, and how one of its rows is read."""

    columns: frozenset[str]
    row: Callable[[dict[str, str], Path], Row]


_LAYOUTS = (
    _Layout(COLUMNS, _kinetics_row),
    _Layout(frozenset({"path", "label"}), _manifest_row),
)


def _files_by_clip(files: Sequence[str]) -> dict[str, str]:
    """'ID_START_END' with unpadded numbers, or 'ID' -> file.

    "val/-abc_efghi__000010_000020.mp4" has the key "-abc_efghi__10_20".
    """
    file_of: dict[str, str] = {}
    # False sorts first, and setdefault keeps the first: replacements win.
    for file in sorted(files, key=lambda file: ("replacement" not in file.lower(), file)):
        match = _CLIP_NAME.fullmatch(PurePosixPath(file).stem)
        if match:
            clip, start, end = match.groups()
            file_of.setdefault(clip if start is None else f"{clip}_{int(start)}_{int(end)}", file)
    return file_of
