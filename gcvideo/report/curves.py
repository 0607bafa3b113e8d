"""Learning curves of a run, from the files of its CSV logger."""

import csv
from collections import defaultdict
from pathlib import Path

# Curve -> column of metrics.csv. Lightning logs the loss both for each step and, under this name, for each epoch.
COLUMNS = {
    "train/loss": "train/loss_epoch",
    "val/loss": "val/loss",
    "train/clip_top1": "train/clip_top1",
    "val/video_top1": "val/video_top1",
    "val/video_map": "val/video_map",
}

Curves = dict[str, list[tuple[float, float]]]


def read_curves(metrics_dir: Path) -> Curves:
    """Points (finished epochs, value) of every curve that was logged.

    Every `fit` into a run, such as the resumption of a stopped one, writes a file of its own:
    metrics/version_0/metrics.csv, version_1/metrics.csv, ... Epochs of a later file replace those of an earlier one,
    because a resumed run repeats the epoch in which it was stopped.
    """
    points: dict[str, dict[int, float]] = defaultdict(dict)  # curve -> epoch -> value
    for path in sorted(metrics_dir.glob("version_*/metrics.csv"), key=_session):
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                for curve, column in COLUMNS.items():
                    value = row.get(column)
                    if value:  # a row holds what was logged at one step; the other columns are empty
                        points[curve][int(row["epoch"])] = float(value)
    # Lightning counts epochs from 0 and logs during them: a value of epoch 0 describes the state after one epoch.
    return {curve: [(epoch + 1, by_epoch[epoch]) for epoch in sorted(by_epoch)] for curve, by_epoch in points.items()}


def _session(path: Path) -> int:
    """Number of the session: 10 of version_10/metrics.csv, which sorts after version_9."""
    return int(path.parent.name.split("_")[1])
