"""The files of a report in the folder of a run. Light: a comparison reads them."""

import re
from pathlib import Path
from typing import NamedTuple


class ReportFiles(NamedTuple):
    """The files of a report in the folder of a run."""

    page: Path
    numbers: Path
    predictions: Path


def classes_in(label: str, label_separator: str | None) -> tuple[str, ...]:
    """The classes that a cell `label` of predictions.csv names.

    Args:
        label: of a video.
        label_separator: in the section `data` of report.json; None where each video has one class.
    """
    return (label,) if label_separator is None else tuple(name for name in label.split(label_separator) if name)


def report_files(run_dir: Path, split: str | None, own_split: str | None) -> ReportFiles:
    """report.html, report.json and predictions.csv; of another split than the run's own report-SPLIT.html, ...

    So a report is replaced only by a newer one of the same split, and `report.*` is what a run is judged by.

    Args:
        run_dir: folder of the run.
        split: that was tested; None for the run's own.
        own_split: that the run's configuration names as its test split.
    """
    suffix = "" if split is None or split == own_split else "-" + re.sub(r"[^\w.-]", "_", split)
    names = (f"report{suffix}.html", f"report{suffix}.json", f"predictions{suffix}.csv")
    return ReportFiles(*(run_dir / name for name in names))
