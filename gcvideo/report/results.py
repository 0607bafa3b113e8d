"""What report.json and predictions.csv hold."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gcvideo.files import csv_text
from gcvideo.fit_marker import FitFacts
from gcvideo.report.summary import Summary
from gcvideo.training.metrics import VideoResults, predicted_classes, true_classes


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Which videos were tested.

    Args:
        name: of the data set's folder.
        manifest: its path.
        split: that was tested.
        label_separator: of the labels of a video in predictions.csv, where videos may have several.
    """

    name: str
    manifest: str
    split: str
    label_separator: str | None = None


@dataclass(frozen=True, slots=True)
class ViewCounts:
    """Views of a video: `temporal` clips, `spatial` crops of each."""

    temporal: int
    spatial: int


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What a view shows: `frames`, `stride` frames apart (at `target_fps`, or in the file), `size` pixels square."""

    frames: int
    stride: int
    target_fps: float | None
    size: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Size of the network.

    Args:
        parameters: number of parameters.
        macs_per_view: multiply-accumulates of one view; None if they can't be counted.
        macs_counter: what counted them.
        input: shape of a view, (3, T, S, S).
    """

    parameters: int
    macs_per_view: int | None
    macs_counter: str
    input: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything in report.json.

    Args:
        summary: the accuracies.
        data: which videos were tested.
        official: rows of the official annotations; see `official_rows`.
        views, clip: how the videos were read.
        broken_videos: files that could not be decoded.
        model: size of the network.
        training: what the fit took; None if it is not known, or not finished.
        checkpoint: path of the weights.
        seed: of the training, else of the test; None if neither was set.
        config: all settings of the training; without its config.yaml those of the model.
        test_config: all settings of the test.
        versions: package -> version.
        commit: of the source tree; None outside a checkout.
        written: time of writing, ISO 8601.
    """

    summary: Summary
    data: DataFacts
    official: int | None
    views: ViewCounts
    clip: ClipShape
    broken_videos: list[str]
    model: ModelFacts
    training: FitFacts | None
    checkpoint: str
    seed: int | None
    config: dict[str, Any]
    test_config: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    written: str

    def headline(self) -> str:
        """The result in one line."""
        summary = self.summary
        score = summary.mean_average_precision
        return ("" if score is None else f"mAP {score:.3f}, ") + (
            f"video top-1 {summary.video_top1:.3f} (95 %: {summary.video_top1_interval}), mean of the classes "
            f"{summary.mean_class_top1:.3f}, {summary.evaluated} of {summary.listed} videos of split {self.data.split}"
        )

    def json_text(self) -> str:
        """report.json; the accuracies are keys of the top level."""
        content = {
            **asdict(self.summary),
            "data": asdict(self.data),
            "official": self.official,
            "views": asdict(self.views),
            "clip": asdict(self.clip),
            "broken_videos": self.broken_videos,
            "model": asdict(self.model),
            "training": None if self.training is None else asdict(self.training),
            "checkpoint": self.checkpoint,
            "seed": self.seed,
            "config": self.config,
            "test_config": self.test_config,
            "versions": self.versions,
            "commit": self.commit,
            "written": self.written,
        }
        return json.dumps(content, indent=2, default=str) + "\n"  # a config may hold objects, such as callbacks


def predictions_csv(
    results: VideoResults, class_names: Sequence[str], video_names: Sequence[str], label_separator: str | None = None
) -> str:
    """predictions.csv: one line for each of the N videos, with the scores of all classes in the last K columns.

    Of several labels of a video, `score_label` is the highest score; it is empty for a video without any.

    Args:
        results: of the N videos.
        class_names: of the K classes.
        video_names: of the N videos.
        label_separator: of the labels of a video that may have several.
    """
    lines = []
    predicted = predicted_classes(results.scores, results.labels).tolist()
    is_true = true_classes(results.labels, len(class_names))
    rows = zip(video_names, is_true, predicted, results.scores.tolist(), strict=True)
    for name, classes, best, scores in rows:
        of_classes = (f"{round(score, 5):g}" for score in scores)  # "0" and not "0.00000": most scores of many classes
        labels = classes.nonzero().flatten().tolist()
        label = (label_separator or "").join(class_names[index] for index in labels)
        score_label = f"{max(scores[index] for index in labels):.5f}" if labels else ""
        lines.append((name, label, class_names[best], f"{scores[best]:.5f}", score_label, *of_classes))
    header = ("path", "label", "predicted", "score_predicted", "score_label")
    return csv_text((*header, *(f"score:{name}" for name in class_names)), lines)
