"""What the finished runs of a sweep report, and which of two networks is right on which video."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gcvideo.errors import UsageError
from gcvideo.fit_marker import digest_of
from gcvideo.report.interval import Interval
from gcvideo.report.report_files import classes_in
from gcvideo.sweep.file import Run, Sweep
from gcvideo.sweep.statistics import McNemar, mcnemar

FINISHED = "sweep-finished.json"
"""Written by a sweep after the test of a run; see `sweep.execute`."""

RESULTS = ("report.json", "predictions.csv")
"""Files that a sweep publishes."""


class ClassTop1(NamedTuple):
    """Top-1 (or average precision) of a class, and its number of videos."""

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


def read_outcome(sweep: Sweep, run: Run, folder: Path | None = None) -> Outcome | None:
    """Outcome of a finished run; None if it has not finished.

    Args:
        sweep: that the run belongs to.
        run: which run.
        folder: of the run, if the sweep's paths are relative to another folder than the current one.

    Raises:
        UsageError: the report has no such number as the metric.
    """
    folder = folder or sweep.run_folder(run)
    if not _is_finished(folder):
        return None
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        classes = _classes(report)
        bounds = report.get(f"{sweep.metric}_interval")
        interval = Interval(*bounds) if bounds else None
        separator = (report.get("data") or {}).get("label_separator")
        is_right = _read_predictions(folder / "predictions.csv", separator)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder}: unexpected content of report.json or predictions.csv: {error!r}") from error
    value = report.get(sweep.metric)
    if not isinstance(value, int | float):
        numbers = ", ".join(key for key, number in report.items() if isinstance(number, int | float))
        raise UsageError(f"expected one of {numbers} as metric, got {sweep.metric!r}")
    if not math.isfinite(value):
        raise UsageError(f"{folder}: expected a finite number as {sweep.metric}, got {value}")
    return Outcome(float(value), interval, classes, is_right)


def _is_finished(folder: Path) -> bool:
    """Whether the results in a folder are those that a sweep has recorded as final.

    Without predictions.csv, which may be large, networks can't be compared by video; the run is finished nevertheless.
    """
    if not (folder / FINISHED).exists():
        return False
    try:
        recorded = dict(json.loads((folder / FINISHED).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        print(f"{folder.name}: {FINISHED} is damaged: tested again", flush=True)
        return False
    for name in RESULTS:
        digest = digest_of(folder / name)
        if digest != recorded.get(name) and (digest is not None or name == "report.json"):
            print(f"{folder.name}: {name} is not what the test wrote: tested again", flush=True)
            return False
    return True


def read_outcomes(sweep: Sweep) -> dict[Run, Outcome]:
    """Outcomes of all finished runs."""
    outcomes = {run: read_outcome(sweep, run) for run in sweep.runs}
    return {run: outcome for run, outcome in outcomes.items() if outcome is not None}


def _classes(report: Mapping[str, Any]) -> dict[str, ClassTop1]:
    rows = [row for row in report.get("per_class", ()) if row["videos"]]
    return {row["name"]: ClassTop1(_accuracy_of(row), row["videos"]) for row in rows}


def _accuracy_of(row: Mapping[str, Any]) -> float:
    """Top-1 of a class or, where videos may have several classes, its average precision."""
    precision = row.get("average_precision")
    return float(row["top1"] if precision is None else precision)


def _read_predictions(path: Path, separator: str | None) -> dict[str, bool]:
    """Video -> whether it is right; a manifest lists no video twice."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["path"]: row["predicted"] in classes_in(row["label"], separator) for row in csv.DictReader(stream)}


def compare_videos(outcomes: Mapping[Run, Outcome], baseline: str) -> dict[Run, McNemar]:
    """Every run against the baseline's run of the same seed, where both have finished and share videos."""
    tests = {}
    for run, outcome in outcomes.items():
        base = outcomes.get(Run(baseline, run.seed))
        test = None if base is None or run.variant == baseline else mcnemar(outcome.is_right, base.is_right)
        if test is not None:
            tests[run] = test
    return tests
