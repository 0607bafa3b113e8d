"""What the test of one run has left: its accuracies, and its answer to every video."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gcvideo.errors import UsageError
from gcvideo.report.curves import Curves, read_curves
from gcvideo.report.interval import Interval
from gcvideo.report.report_files import classes_in, report_files


class Answer(NamedTuple):
    """The label of a video, its classes, and the one that a run predicts."""

    label: str
    classes: tuple[str, ...]
    predicted: str

    @property
    def is_right(self) -> bool:
        return self.predicted in self.classes


@dataclass(frozen=True, slots=True)
class RunResults:
    """A run and its report.

    Args:
        name: as the comparison calls it.
        folder: of the run.
        data: name and split of the data set that was tested.
        views: of a video, such as "10 x 3".
        checkpoint: path of the weights.
        accuracies: name -> value and 95 % interval, if it has one, of those in `ACCURACIES` that the report has.
        precisions: class -> average precision, where videos may have several classes.
        answers: video -> what the run says.
        curves: of its training.
    """

    name: str
    folder: Path
    data: str
    views: str
    checkpoint: str
    accuracies: dict[str, tuple[float, Interval | None]]
    precisions: dict[str, float]
    answers: dict[str, Answer]
    curves: Curves


ACCURACIES = {
    "mean_average_precision": "mAP",
    "video_top1": "video top-1",
    "mean_class_top1": "mean of the classes' top-1",
    "clip_top1": "clip top-1",
}
"""Keys of report.json, and their names in tables; the first that a run has is its main one."""


def read_run(folder: Path, name: str, split: str | None = None) -> RunResults:
    """The results of a run.

    Args:
        folder: of the run.
        name: of it in the comparison.
        split: whose report is read; default the one that the run's configuration names as its test split.

    Raises:
        UsageError: the run has not been tested, or its files hold something else.
    """
    _, numbers, predictions = report_files(folder, split, own_split=None)
    for path in (numbers, predictions):
        if not path.is_file():
            raise UsageError(f"no {path}: test the run first (gcvideo test --name {folder.name})")
    try:
        report: dict[str, Any] = json.loads(numbers.read_text(encoding="utf-8"))
        data, views = report.get("data") or {}, report["views"]
        return RunResults(
            name=name,
            folder=folder,
            data=f"{data.get('name', 'unknown')}, split {data.get('split', 'unknown')}",
            views=f"{int(views['temporal'])} x {int(views['spatial'])}",
            checkpoint=str(report["checkpoint"]),
            accuracies={key: _accuracy(report, key) for key in ACCURACIES if report.get(key) is not None},
            precisions={
                row["name"]: float(row["average_precision"])
                for row in report.get("per_class", ())
                if row.get("average_precision") is not None
            },
            answers=_read_answers(predictions, data.get("label_separator")),
            curves=read_curves(folder / "metrics"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder}: unexpected content of {numbers.name} or {predictions.name}: {error!r}") from error


def _accuracy(report: dict[str, Any], key: str) -> tuple[float, Interval | None]:
    bounds = report.get(f"{key}_interval")
    return float(report[key]), None if bounds is None else Interval(*map(float, bounds))


def _read_answers(path: Path, separator: str | None) -> dict[str, Answer]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)  # not by name: a row may have 700 scores
        header = next(rows, [])[:3]
        if header != ["path", "label", "predicted"]:
            raise ValueError(f"expected the columns path, label, predicted first, got {header}")
        return {name: Answer(label, classes_in(label, separator), predicted) for name, label, predicted, *_ in rows}
