"""What there is to prepare: rows of the annotations matched to raw files."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gcvideo.dataset_tools.layouts import Listing, read_listing
from gcvideo.errors import UsageError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


@dataclass(frozen=True, slots=True)
class Job:
    """One video to prepare.

    Attributes:
        source: raw file, relative to the raw folder.
        target: prepared file, relative to the output folder.
        label, split: of the manifest; split "" if the data set has none.
        trim: start and end in seconds to cut out, if the file name does not say that it is cut already.
    """

    source: str
    target: str
    label: str
    split: str
    trim: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `count`, from 1: the share of one task of a job array."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"expected K/N with 1 <= K <= N, got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Every `count`-th job: the jobs are sorted by class, and long classes are spread over all parts."""
        return jobs[self.number - 1 :: self.count]


@dataclass
class Plan:
    """All there is to prepare, and what is missing.

    Attributes:
        raw: folder of the raw videos.
        jobs: ascending by target, each target once.
        missing: (target, label, split) of the rows without a file.
        rejected: (source, reason) of raw files that are not used.
        unlisted: number of raw files that no row names.
        unlabelled: number of rows without a label.
        is_official: whether the rows are the published annotations of a data set, and not a user's own.
        columns: target -> further columns of its row, name -> value.
    """

    raw: Path
    jobs: list[Job] = field(default_factory=list)
    missing: list[tuple[str, str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    unlisted: int = 0
    unlabelled: int = 0
    is_official: bool = False
    columns: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """Sorted labels of all rows, including those without a file."""
        return sorted({job.label for job in self.jobs} | {label for _, label, _ in self.missing})

    def listed(self) -> Counter[tuple[str, str]]:
        """(split, label) -> number of rows."""
        matched = [(job.split, job.label) for job in self.jobs]
        missing = [(split, label) for _, label, split in self.missing]
        return Counter(matched + missing)


def make_plan(raw: str | Path, annotations: Sequence[str | Path] = (), split_number: int = 1) -> Plan:
    """Match rows to files.

    Args:
        raw: folder of the raw videos.
        annotations: CSV files, or one folder of UCF-101's or HMDB-51's lists; empty for a folder by class.
        split_number: which of the three splits of UCF-101 and HMDB-51.

    Raises:
        UsageError: no such folder or file, or an unknown layout.
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise UsageError(f"{raw}: no such folder of raw videos")
    paths = [Path(path) for path in annotations]
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such annotations")
    plan = Plan(raw)
    files = _find_videos(raw, plan)
    listing = read_listing(paths, files, split_number)
    plan.rejected += listing.rejected
    plan.unlabelled, plan.is_official = listing.unlabelled, listing.is_official
    _match(listing, plan)
    used = {job.source for job in plan.jobs}
    plan.unlisted = sum(file not in used for file in files)
    if not plan.jobs:
        raise UsageError(
            f"{raw}: none of {len(listing.rows)} rows of the annotations has a file here ({len(files)} video files "
            f"found, links to folders not followed); the raw folder and the annotations do not match"
        )
    return plan


def _find_videos(raw: Path, plan: Plan) -> list[str]:
    """Video files below `raw`, as relative paths, sorted; links out of it are rejected."""
    real_raw = os.path.realpath(raw)
    found = []
    for folder, subfolders, names in os.walk(raw):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            if name.startswith(".") or not name.lower().endswith(VIDEO_SUFFIXES):
                continue  # "._clip.mp4" is what macOS leaves in archives
            file = os.path.join(folder, name)
            relative = os.path.relpath(file, raw)
            if not relative.isprintable():  # not UTF-8, or with line ends: a row of a manifest could not hold it
                plan.rejected.append((ascii(relative), "a name with unprintable characters"))
            elif os.path.islink(file) and not os.path.realpath(file).startswith(real_raw + os.sep):
                plan.rejected.append((relative, "a link that leads out of the raw folder"))
            elif not os.path.isfile(file):  # a FIFO, on which a decoder hangs, or a dangling link
                plan.rejected.append((relative, "not a regular file"))
            else:
                found.append(relative)
    return sorted(found)


def _match(listing: Listing, plan: Plan) -> None:
    """Sort rows and files into `plan.jobs`, `plan.missing` and `plan.rejected`."""
    source_of: dict[str, str] = {}  # target -> source
    for row in listing.rows:
        source = next((listing.file_of[key] for key in row.keys if key in listing.file_of), None)
        if source is None:
            plan.missing.append((row.target, row.label, row.split))
        elif row.target not in source_of:
            source_of[row.target] = source
            plan.columns[row.target] = row.columns
            # The last key of a Kinetics row is the bare id: a file of that name may be the whole YouTube video.
            is_cut = row.times is None or PurePosixPath(source).stem != row.keys[-1]
            plan.jobs.append(Job(source, row.target, row.label, row.split, None if is_cut else row.times))
        elif source_of[row.target] != source:  # else the row is a duplicate
            plan.rejected.append((source, f"would be written to {row.target}, like {source_of[row.target]}"))
    # All parts of a job array must see the same order, and it is the order of the manifest.
    plan.jobs.sort(key=lambda job: job.target)
    plan.missing.sort()
