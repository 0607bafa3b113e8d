"""What the finished runs of a sweep report, and which of two networks is right on which video."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gcvideo.errors import UsageError
from gcvideo.report.interval import Interval
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.statistics import McNemar, mcnemar


class ClassTop1(NamedTuple):
    """Top-1 of a class, and its number of videos."""

    top1: float
    videos: int


class Outcome(NamedTuple):
    """What a finished run reports.

    Args:
        value: the metric of the sweep.
        interval: its 95 % interval; None for a metric that has none.
        classes: class -> top-1, of classes with videos.
        is_right: video -> whether its predicted class is the true one; empty without predictions.csv.
    """

    value: float
    interval: Interval | None
    classes: dict[str, ClassTop1]
    is_right: dict[str, bool]


def read_outcome(sweep: Sweep, run: Run) -> Outcome | None:
    """Outcome of a finished run; None if it has not finished.

    Raises:
        UsageError: the report has no such number as the metric.
    """
    folder = sweep.run_folder(run)
    if not (folder / "report.json").exists():
        return None
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    value = report.get(sweep.metric)
    if not isinstance(value, int | float):
        numbers = ", ".join(key for key, number in report.items() if isinstance(number, int | float))
        raise UsageError(f"expected one of {numbers} as metric, got {sweep.metric!r}")
    bounds = report.get(f"{sweep.metric}_interval")
    return Outcome(
        value=float(value),
        interval=Interval(*bounds) if bounds else None,
        classes=_classes(report),
        is_right=_read_predictions(folder / "predictions.csv"),
    )


def _classes(report: Mapping[str, Any]) -> dict[str, ClassTop1]:
    rows = [row for row in report.get("per_class", ()) if row["videos"]]
    return {row["name"]: ClassTop1(row["top1"], row["videos"]) for row in rows}


def _read_predictions(path: Path) -> dict[str, bool]:
    """Video -> whether it is right; a manifest lists no video twice."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["path"]: row["predicted"] == row["label"] for row in csv.DictReader(stream)}


def compare_videos(outcomes: Mapping[Run, Outcome], baseline: str) -> dict[Run, McNemar]:
    """Every run against the baseline's run of the same seed, where both have finished and share videos."""
    tests = {}
    for run, outcome in outcomes.items():
        base = outcomes.get(Run(baseline, run.seed))
        test = None if base is None or run.variant == baseline else mcnemar(outcome.is_right, base.is_right)
        if test is not None:
            tests[run] = test
    return tests
