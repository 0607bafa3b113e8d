"""From the results of a test to accuracies: of clips, of videos, of classes.

Letters: N videos, V views, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gcvideo.errors import GcvideoError
from gcvideo.report.interval import Interval, mean_interval, wilson
from gcvideo.training.doubts import doubt_of_predictions
from gcvideo.training.metrics import VideoResults, average_precisions, predicted_classes, true_classes

MAX_CONFUSED = 20
TOP5_CLASSES = 10
"""Number of classes from which top-5 is shown: of fewer, guessing has at least every other video right."""


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """One class; `top1` and its 95 % interval are None without videos of it.

    Where videos may have several classes, `top1` is the share of the class's videos that are right by any of their
    classes, and `average_precision` tells how the class's own score ranks them.
    """

    name: str
    videos: int
    top1: float | None
    top1_interval: Interval | None
    average_precision: float | None = None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two classes that are mixed up: `videos` of the `of` videos of class `label` are called `predicted`."""

    label: str
    predicted: str
    videos: int
    of: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The accuracies of a test, in [0, 1]; the fields are keys of report.json.

    A video of several classes is right in top-1 if the class with the highest score is one of them.

    Args:
        evaluated: number of videos that were counted.
        listed: number of videos in the manifest's split; more than `evaluated` where broken ones were skipped.
        video_top1, video_top5: of the scores averaged over the views of a video.
        clip_top1, clip_top5: of single views.
        mean_class_top1: mean over the classes that have videos of the class's share of right videos.
        video_top1_interval, ...: 95 % interval of each; see `wilson` for that of clips.
        per_class: the K classes, in the order of their indices.
        confused: the pairs that are mixed up most, at most `MAX_CONFUSED`.
        confusion: [K, K] numbers of videos, row true, column predicted; empty where videos may have several classes.
        mean_average_precision: mAP over the classes that have videos; None where each video has one class.
    """

    evaluated: int
    listed: int
    video_top1: float
    video_top5: float
    clip_top1: float
    clip_top5: float
    mean_class_top1: float
    video_top1_interval: Interval
    video_top5_interval: Interval
    clip_top1_interval: Interval
    clip_top5_interval: Interval
    mean_class_top1_interval: Interval
    per_class: list[ClassAccuracy]
    confused: list[Confusion]
    confusion: list[list[int]]
    mean_average_precision: float | None = None


def summarise(results: VideoResults, names: Sequence[str], num_listed: int) -> Summary:
    """Accuracies for each clip, video and class.

    Args:
        results: of the N videos.
        names: the K class names.
        num_listed: number of videos in the manifest's split, M of "evaluated N of M".

    Raises:
        GcvideoError: no video has a label, of videos that may have several or none.
    """
    video_better = results.video_better  # [N]
    num_videos = len(results.labels)
    video_top1 = _share(video_better < 1)
    video_top5 = _share(video_better < 5)
    clip_top1 = _share(results.better < 1)
    clip_top5 = _share(results.better < 5)
    is_true = true_classes(results.labels, len(names))  # [N, K]
    precisions = average_precisions(results.scores, is_true) if results.multi_label else None  # [K]
    per_class = class_accuracies(is_true, video_better < 1, names, precisions)
    matrix = torch.zeros((0, 0), dtype=torch.int64)
    if not results.multi_label:
        predicted = predicted_classes(results.scores, results.labels)  # [N]
        matrix = confusion_matrix(results.labels, predicted, len(names))
    of_classes = [(row.top1, row.videos) for row in per_class if row.top1 is not None]
    if not of_classes:
        raise GcvideoError(f"none of {num_videos} videos has a label: there is nothing to measure")
    return Summary(
        evaluated=num_videos,
        listed=num_listed,
        video_top1=video_top1,
        video_top5=video_top5,
        clip_top1=clip_top1,
        clip_top5=clip_top5,
        mean_class_top1=sum(top1 for top1, _ in of_classes) / len(of_classes),
        video_top1_interval=wilson(video_top1, num_videos),
        video_top5_interval=wilson(video_top5, num_videos),
        clip_top1_interval=wilson(clip_top1, num_videos),
        clip_top5_interval=wilson(clip_top5, num_videos),
        mean_class_top1_interval=mean_interval(of_classes),
        per_class=per_class,
        confused=most_confused(matrix, names),
        confusion=matrix.tolist(),
        mean_average_precision=None if precisions is None else float(precisions.double().nanmean()),
    )


def _share(is_right: Tensor) -> float:
    return is_right.double().mean().item()  # double: two reports of 220 right of 300 compare equal to 220 / 300


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Number of videos [K, K]: row true, column predicted.

    Args:
        labels: true classes [N].
        predicted: see `predicted_classes` [N].
        num_classes: K.
    """
    # One bin for each pair of classes. With K = 3 a video of class 1 that is taken for class 2 is counted in bin
    # 1 * 3 + 2 = 5, which is row 1, column 2 of the matrix.
    pair = labels * num_classes + predicted
    return torch.bincount(pair, minlength=num_classes**2).view(num_classes, num_classes)


def class_accuracies(
    is_true: Tensor, is_right: Tensor, names: Sequence[str], precisions: Tensor | None = None
) -> list[ClassAccuracy]:
    """The accuracy of each class.

    Args:
        is_true: classes of the videos, bool [N, K].
        is_right: which videos are right, bool [N].
        names: of the K classes.
        precisions: average precisions [K], NaN for classes without videos; None where each video has one class.
    """
    rows = []
    totals, rights = is_true.sum(dim=0).tolist(), (is_true & is_right[:, None]).sum(dim=0).tolist()
    values = [math.nan] * len(names) if precisions is None else precisions.tolist()
    for name, total, right, value in zip(names, totals, rights, values, strict=True):
        top1 = right / total if total else None
        interval = None if top1 is None else wilson(top1, total)
        rows.append(ClassAccuracy(name, total, top1, interval, None if math.isnan(value) else value))
    return rows


def most_confused(matrix: Tensor, names: Sequence[str]) -> list[Confusion]:
    """The pairs of different classes with the most videos, largest first, from the confusion matrix [K, K] if any."""
    totals = matrix.sum(dim=1).tolist()
    pairs = [
        Confusion(names[row], names[column], int(matrix[row, column]), totals[row])
        for row, column in matrix.nonzero().tolist()
        if row != column
    ]
    return sorted(pairs, key=lambda pair: -pair.videos)[:MAX_CONFUSED]  # stable: ties in the order of the classes


def collapsed(summary: Summary) -> str | None:
    """A warning if almost all predictions are one class, which few of the videos are; else None.

    None as well where videos may have several classes: a frequent one may then score highest everywhere.
    """
    if not summary.confusion:
        return None
    matrix = torch.tensor(summary.confusion)
    return doubt_of_predictions(matrix.sum(dim=1), matrix.sum(dim=0), [row.name for row in summary.per_class])


def most_confident(results: VideoResults, count: int) -> tuple[list[int], list[int]]:
    """Rows of the correct videos with the highest scores and of such wrong ones, at most `count` of each."""
    confidence = results.scores.amax(dim=1)  # [N]
    is_correct = (results.video_better == 0).tolist()
    descending = confidence.argsort(descending=True).tolist()
    correct = [row for row in descending if is_correct[row]]
    wrong = [row for row in descending if not is_correct[row]]
    return correct[:count], wrong[:count]
