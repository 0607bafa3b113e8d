"""What report.json and predictions.csv hold."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gcvideo.files import csv_text
from gcvideo.report.summary import Summary
from gcvideo.training.metrics import VideoResults, predicted_classes


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
        official: rows of the official annotations; see `official_rows`.
        views, clip: how the videos were read.
        broken_videos: files that could not be decoded.
        model: size of the network.
        checkpoint: path of the weights.
        seed: of the test; None if it was not set.
        config: all settings of the test.
        versions: package -> version.
        commit: of the source tree; None outside a checkout.
        written: time of writing, ISO 8601.
    """

    summary: Summary
    official: int | None
    views: ViewCounts
    clip: ClipShape
    broken_videos: list[str]
    model: ModelFacts
    checkpoint: str
    seed: int | None
    config: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    written: str

    def json_text(self) -> str:
        """report.json; the accuracies are keys of the top level."""
        content = {
            **asdict(self.summary),
            "official": self.official,
            "views": asdict(self.views),
            "clip": asdict(self.clip),
            "broken_videos": self.broken_videos,
            "model": asdict(self.model),
            "checkpoint": self.checkpoint,
            "seed": self.seed,
            "config": self.config,
            "versions": self.versions,
            "commit": self.commit,
            "written": self.written,
        }
        return json.dumps(content, indent=2, default=str) + "\n"  # a config may hold objects, such as callbacks


def predictions_csv(results: VideoResults, class_names: Sequence[str], video_names: Sequence[str]) -> str:
    """predictions.csv: one line for each of the N videos.

    Args:
        results: of the N videos.
        class_names: of the K classes.
        video_names: of the N videos.
    """
    lines = []
    predicted = predicted_classes(results.scores, results.labels).tolist()
    rows = zip(video_names, results.labels.tolist(), predicted, results.scores, strict=True)
    for name, label, best, scores in rows:
        lines.append((name, class_names[label], class_names[best], f"{scores[best]:.5f}", f"{scores[label]:.5f}"))
    return csv_text(("path", "label", "predicted", "score_predicted", "score_label"), lines)
