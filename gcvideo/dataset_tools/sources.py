"""What there is to prepare: rows of the official annotations matched to raw files.

Five layouts, told apart by what `annotations` is:

- Kinetics-400/600/700: CSV files with the columns youtube_id, time_start, time_end, label, split (by name; label and
  split may be missing in test files). Files are found anywhere below the raw folder (CVDF's archives unpack flat, by
  class, or deeper) by their names: `ID_START_END`, padded or not, or `ID`, where ID is the first 11 characters and
  may begin with '-' and contain '_'. A file whose path says 'replacement' (CVDF's archive for corrupted videos) goes
  before another of its name.
- A manifest of ours: a CSV file with the columns path and label, and split if there are any.
- UCF-101: a folder with trainlist0N.txt and testlist0N.txt.
- HMDB-51: a folder with CLASS_test_splitN.txt (1 is training, 2 is test, 0 neither).
- None: a folder split/class/file or class/file, of which all videos are taken.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_CLIP_NAME = re.compile(r"(.{11})(?:_(\d+)_(\d+))?", re.DOTALL)
_SPLIT_NAMES = {"validate": "val", "holdout_test": "test"}


class SourceError(ValueError):
    """The annotations or the raw folder can't be used."""


@dataclass(frozen=True, slots=True)
class Job:
    """One video to prepare.

    Attributes:
        source: raw file, relative to the raw folder.
        target: prepared file, relative to the output folder.
        label, split: of the manifest; split "" where there are none.
        trim: start and end in seconds that the annotation tells, for a file whose name does not say that it is cut.
    """

    source: str
    target: str
    label: str
    split: str
    trim: tuple[float, float] | None = None


@dataclass
class Plan:
    """All there is to prepare, and what is not there.

    Attributes:
        jobs: ascending by target, each target once.
        missing: (target, label, split) of the official rows without a file.
        rejected: (source, reason) of raw files that are not taken.
        unlisted: raw files that no row names.
        unlabelled: official rows without a label.
    """

    jobs: list[Job] = field(default_factory=list)
    missing: list[tuple[str, str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    unlisted: int = 0
    unlabelled: int = 0

    @property
    def class_names(self) -> list[str]:
        """Sorted labels of all official rows, those without a file too."""
        return sorted({job.label for job in self.jobs} | {label for _, label, _ in self.missing})

    def official(self) -> Counter[tuple[str, str]]:
        """(split, label) -> number of official rows."""
        return Counter([(job.split, job.label) for job in self.jobs] + [(s, label) for _, label, s in self.missing])


@dataclass(frozen=True, slots=True)
class _Row:
    """An official row: its files are looked up by `keys`, the first found is taken."""

    keys: tuple[str, ...]
    target: str
    label: str
    split: str
    times: tuple[float, float] | None = None


def make_plan(raw: str | Path, annotations: Sequence[str | Path] = (), split_number: int = 1) -> Plan:
    """Match rows to files.

    Args:
        raw: folder of the raw videos.
        annotations: CSV files, or one folder of UCF-101's or HMDB-51's lists; nothing for a folder by class.
        split_number: which of the three splits of UCF-101 and HMDB-51.

    Raises:
        SourceError: no such folder or file, or not of a known layout.
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise SourceError(f"{raw}: no such folder of raw videos")
    plan = Plan()
    files = _find(raw, plan)
    places = [Path(place) for place in annotations]
    for place in places:
        if not place.exists():
            raise SourceError(f"{place}: no such annotations")
    if not places:
        rows, keyed = _folder_rows(files, plan)
    elif len(places) == 1 and places[0].is_dir():
        rows, keyed = _list_rows(places[0], split_number), {_plain(file): file for file in reversed(files)}
        keyed |= {_plain(PurePosixPath(file).name): file for file in reversed(files)}
    else:
        try:
            rows = [row for place in places for row in _csv_rows(place, plan)]
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise SourceError(f"the annotations {', '.join(map(str, places))} can't be read ({error})") from None
        keyed = _by_clip(files) | {file: file for file in files}
    _match(rows, keyed, plan)
    used = {job.source for job in plan.jobs}
    plan.unlisted = sum(file not in used for file in files)
    if not plan.jobs:
        raise SourceError(
            f"{raw}: none of {len(rows)} official rows has a file here ({len(files)} video files found, links to "
            f"folders not followed); the raw folder and the annotations do not fit"
        )
    return plan


def _find(raw: Path, plan: Plan) -> list[str]:
    """Video files below `raw`, as relative paths, sorted; links out of it are rejected."""
    real_raw = os.path.realpath(raw)
    found = []
    for place, folders, names in os.walk(raw):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith(".") or not name.lower().endswith(VIDEO_SUFFIXES):
                continue  # "._clip.mp4" is what macOS leaves in archives
            file = os.path.join(place, name)
            relative = os.path.relpath(file, raw)
            if not relative.isprintable():  # no UTF-8, or with signs that end lines: no row of a manifest could hold it
                plan.rejected.append((ascii(relative), "a name with characters that can't be printed"))
            elif os.path.islink(file) and not os.path.realpath(file).startswith(real_raw + os.sep):
                plan.rejected.append((relative, "a link that leads out of the raw folder"))
            elif not os.path.isfile(file):
                plan.rejected.append((relative, "not a regular file"))
            else:
                found.append(relative)
    return sorted(found)


def _match(rows: Sequence[_Row], keyed: dict[str, str], plan: Plan) -> None:
    taken: dict[str, str] = {}
    for row in rows:
        source = next((keyed[key] for key in row.keys if key in keyed), None)
        if source is None:
            plan.missing.append((row.target, row.label, row.split))
        elif taken.get(row.target) == source:
            continue  # the row is there twice
        elif row.target in taken:
            plan.rejected.append((source, f"would be written to {row.target}, as {taken[row.target]}"))
        else:
            taken[row.target] = source
            is_cut = row.times is None or PurePosixPath(source).stem != row.keys[-1]
            plan.jobs.append(Job(source, row.target, row.label, row.split, None if is_cut else row.times))
    plan.jobs.sort(key=lambda job: job.target)
    plan.missing.sort()


def _folder_name(label: str, path: Path) -> str:
    """A label as the name of a folder; labels come from strangers."""
    name = label.replace("/", "_").replace("\\", "_").replace("\0", "_").strip()
    if name.startswith("."):
        raise SourceError(f"{path}: a label can't begin with a dot: {label!r}")
    return name


def _csv_rows(path: Path, plan: Plan) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = set(reader.fieldnames or ())
        if {"youtube_id", "time_start", "time_end"} <= header:
            read = _kinetics_row
        elif {"path", "label"} <= header:
            read = _manifest_row
        else:
            raise SourceError(
                f"{path}: expected the columns youtube_id, time_start, time_end (and label, split), or path, label "
                f"(and split), got {','.join(reader.fieldnames or ())[:100]!r}"
            )
        for fields in reader:
            try:
                row = read(fields, path)
            except (TypeError, ValueError, AttributeError, OverflowError) as error:  # columns that lack, no numbers
                raise SourceError(f"{path}: line {reader.line_num} can't be read ({error})") from None
            if row.label:
                yield row
            else:
                plan.unlabelled += 1


def _kinetics_row(fields: dict[str, str], path: Path) -> _Row:
    start, end = float(fields["time_start"]), float(fields["time_end"])
    clip, label = fields["youtube_id"].strip('"'), (fields.get("label") or "").strip('"')
    split = (fields.get("split") or path.stem).strip('"')
    if not re.fullmatch(r"[\w-]{11}", clip, re.ASCII):
        raise ValueError(f"{clip!r} is no YouTube id of 11 characters")
    split = _folder_name(_SPLIT_NAMES.get(split, split), path)
    target = f"{split}/{_folder_name(label, path)}/{clip}_{int(start):06d}_{int(end):06d}.mp4"
    return _Row((f"{clip}_{int(start)}_{int(end)}", clip), target, label, split, (start, end))


def _manifest_row(fields: dict[str, str], path: Path) -> _Row:
    source = PurePosixPath(fields["path"])
    if source.is_absolute() or ".." in source.parts:
        raise ValueError(f"{fields['path']!r} leads out of the raw folder")
    return _Row((str(source),), str(source.with_suffix(".mp4")), fields["label"], fields.get("split") or "")


def _by_clip(files: Sequence[str]) -> dict[str, str]:
    """'ID_START_END' with plain numbers, or 'ID', -> file."""
    keyed: dict[str, str] = {}
    for file in sorted(files, key=lambda file: ("replacement" not in file.lower(), file)):
        match = _CLIP_NAME.fullmatch(PurePosixPath(file).stem)
        if match:
            clip, start, end = match.groups()
            keyed.setdefault(clip if start is None else f"{clip}_{int(start)}_{int(end)}", file)
    return keyed


def _plain(path: str) -> str:
    """Path without suffix in lower case: UCF-101 spells HandStandPushups in two ways."""
    return str(PurePosixPath(path).with_suffix("")).lower()


def _list_rows(folder: Path, number: int) -> list[_Row]:
    ucf = {split: folder / f"{split}list{number:02d}.txt" for split in ("train", "test")}
    if all(path.is_file() for path in ucf.values()):
        lines = [
            (split, line.split(" ")[0].strip())
            for split, path in ucf.items()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        return [_list_row(PurePosixPath(name).parent.name, name, split, folder) for split, name in lines]
    rows = []
    for path in sorted(folder.glob(f"*_test_split{number}.txt")):
        label = path.name.removesuffix(f"_test_split{number}.txt")
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, tag = line.strip().rpartition(" ")
            if tag not in ("", "0", "1", "2"):
                raise SourceError(f"{path}: expected lines of 'file tag' with tag 0, 1 or 2, got {line!r}")
            if tag in ("1", "2"):
                rows.append(_list_row(label, f"{label}/{name.strip()}", "train" if tag == "1" else "test", folder))
    if not rows:
        raise SourceError(
            f"{folder}: found neither trainlist{number:02d}.txt and testlist{number:02d}.txt (UCF-101) nor "
            f"CLASS_test_split{number}.txt (HMDB-51)"
        )
    return rows


def _list_row(label: str, name: str, split: str, folder: Path) -> _Row:
    stem = PurePosixPath(name).stem
    target = f"{_folder_name(label, folder)}/{_folder_name(stem, folder)}.mp4"
    return _Row((_plain(name), _plain(PurePosixPath(name).name)), target, label, split)


def _folder_rows(files: Sequence[str], plan: Plan) -> tuple[list[_Row], dict[str, str]]:
    depths = Counter(len(PurePosixPath(file).parts) for file in files)
    depth = 3 if depths[3] > depths[2] else 2
    rows = []
    for file in files:
        parts = PurePosixPath(file).parts
        if len(parts) != depth:
            plan.rejected.append((file, f"not in {'split/class/' if depth == 3 else 'class/'}"))
            continue
        target = str(PurePosixPath(file).with_suffix(".mp4"))
        rows.append(_Row((file,), target, parts[-2], parts[0] if depth == 3 else ""))
    return rows, {row.keys[0]: row.keys[0] for row in rows}
