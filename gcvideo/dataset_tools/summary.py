"""The files that describe a prepared data set: manifest.csv, classes.txt, failures.csv and summary.json."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gcvideo.dataset_tools.plan import Job, Plan
from gcvideo.dataset_tools.records import Failed, Outcome, Prepared
from gcvideo.files import csv_text, json_text, write_text

COLUMNS = ("path", "label", "split", "num_frames", "fps", "width", "height", "sha256")
"""Of manifest.csv, before further columns of the annotations; `split` only if the data set has splits, `sha256` in its
first 16 digits.
"""


@dataclass(frozen=True)
class Coverage:
    """How many videos the annotations list, and how many of them are prepared."""

    listed: int
    present: int


@dataclass(frozen=True)
class Summary:
    """Which part of a data set is present: an accuracy can only be compared together with this number.

    Attributes:
        is_official: whether the rows are the published annotations of a data set. Without annotations, a row is a raw
            file of the folder.
        listed, present: number of rows with a label, and of those that are prepared.
        missing: rows without a raw file.
        failed: rows whose raw file can't be prepared.
        rejected_files, unlisted_files: raw files that are not used, and that no row names.
        rows_without_label: of the test annotations.
        splits: split -> coverage.
        classes: class -> split -> coverage.
    """

    is_official: bool
    listed: int
    present: int
    missing: int
    failed: int
    rejected_files: int
    unlisted_files: int
    rows_without_label: int
    splits: dict[str, Coverage]
    classes: dict[str, dict[str, Coverage]]


def finish(plan: Plan, out: Path, outcomes: Mapping[str, Outcome]) -> Summary:
    """Write the four files of a set of which every job has an outcome."""
    prepared: list[tuple[Job, Prepared]] = []
    failed: list[tuple[Job, Failed]] = []
    for job in plan.jobs:
        outcome = outcomes[job.target]
        if isinstance(outcome, Failed):
            failed.append((job, outcome))
        else:
            prepared.append((job, outcome))
    write_text(out / "manifest.csv", _manifest(plan, prepared))
    # Classes without a video too: in an incomplete set, an index still means the same class.
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in plan.class_names))
    write_text(out / "failures.csv", csv_text(("path", "label", "split", "reason"), _failures(plan, failed)))
    summary = summarise(plan, Counter((job.split, job.label) for job, _ in prepared))
    write_text(out / "summary.json", json_text(asdict(summary)))
    return summary


def _manifest(plan: Plan, prepared: list[tuple[Job, Prepared]]) -> str:
    has_splits = any(job.split for job, _ in prepared)
    header = [column for column in COLUMNS if column != "split" or has_splits]
    # Of the user's own columns, those that are measured here say what the raw file was.
    kept = dict.fromkeys(name for job, _ in prepared for name in plan.columns[job.target] if name not in COLUMNS)
    rows = []
    for job, video in prepared:
        row = [job.target, job.label, *([job.split] if has_splits else [])]
        row += [video.num_frames, video.fps, video.width, video.height, video.sha256[:16]]
        rows.append([*row, *(plan.columns[job.target].get(name, "") for name in kept)])
    return csv_text([*header, *kept], rows, exact=True)


def _failures(plan: Plan, failed: list[tuple[Job, Failed]]) -> Iterator[tuple[str, str, str, str]]:
    for job, failure in failed:
        yield job.source, job.label, job.split, failure.reason
    for target, label, split in plan.missing:
        yield target, label, split, "no raw file"
    for source, reason in plan.rejected:
        yield source, "", "", reason


def summarise(plan: Plan, present: Counter[tuple[str, str]]) -> Summary:
    """Count by split and class.

    Args:
        plan: all rows.
        present: (split, label) -> number of prepared videos.
    """
    listed = plan.listed()
    splits: dict[str, Coverage] = {}
    for split in sorted({split for split, _ in listed}):
        splits[split] = Coverage(_of_split(listed, split), _of_split(present, split))
    classes: dict[str, dict[str, Coverage]] = {}
    for label in plan.class_names:
        of_class = {split: Coverage(listed[split, label], present[split, label]) for split in splits}
        classes[label] = {split: coverage for split, coverage in of_class.items() if coverage.listed}
    return Summary(
        is_official=plan.is_official,
        listed=sum(listed.values()),
        present=sum(present.values()),
        missing=len(plan.missing),
        failed=len(plan.jobs) - sum(present.values()),
        rejected_files=len(plan.rejected),
        unlisted_files=plan.unlisted,
        rows_without_label=plan.unlabelled,
        splits=splits,
        classes=classes,
    )


def _of_split(counts: Counter[tuple[str, str]], split: str) -> int:
    return sum(count for (name, _), count in counts.items() if name == split)
