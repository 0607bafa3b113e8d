"""Predictions and timelines as files."""

import json
from collections.abc import Sequence
from pathlib import Path

from gcvideo.errors import UsageError
from gcvideo.files import csv_text
from gcvideo.recognition.recognizer import Prediction

TABLE_SUFFIXES = (".csv", ".jsonl")


def check_table_path(path: str | Path) -> None:
    """Refuse a file that can't be written, before the videos are read.

    Raises:
        UsageError: another suffix than those of `TABLE_SUFFIXES`, or no such folder.
    """
    if Path(path).suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"expected a file {' or '.join(TABLE_SUFFIXES)}, got {path}")
    if not Path(path).parent.is_dir():
        raise UsageError(f"no folder {Path(path).parent} to write {path} into")


def table_text(
    path: str | Path, predictions: Sequence[Prediction], labels: Sequence[str | None], class_names: Sequence[str]
) -> str:
    """Predictions as CSV or as lines of JSON, by the suffix of the file.

    CSV: path, label (empty if unknown), top1, top2, ..., and `score NAME` of every class in the order of the model.

    Args:
        path: of the file.
        predictions: one a line.
        labels: the true class of each; None if unknown.
        class_names: of the model.
    """
    pairs = zip(predictions, labels, strict=True)
    if Path(path).suffix.lower() == ".jsonl":
        return "".join(json.dumps(_as_json(*pair, class_names), ensure_ascii=False) + "\n" for pair in pairs)
    top = len(predictions[0].names) if predictions else 0
    ranks = [f"top{rank}" for rank in range(1, top + 1)]
    header = ["path", "label", *ranks, *(f"score {name}" for name in class_names)]
    rows = (
        (prediction.path, label or "", *prediction.names, *(f"{score:.5f}" for score in prediction.scores.tolist()))
        for prediction, label in pairs
    )
    return csv_text(header, rows)


def _as_json(prediction: Prediction, label: str | None, class_names: Sequence[str]) -> dict[str, object]:
    best = zip(prediction.names, prediction.probabilities, strict=True)
    return {
        "path": prediction.path,
        "label": label,
        "top": [{"label": name, "score": round(score, 5)} for name, score in best],
        "scores": {name: round(score, 5) for name, score in zip(class_names, prediction.scores.tolist(), strict=True)},
    }
