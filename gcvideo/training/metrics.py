"""From logits of views to accuracies of clips and of videos.

Letters: B videos of a batch, N videos of the whole evaluation, V views of a video, K classes.
"""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.functional.classification import multilabel_average_precision

from gcvideo.errors import GcvideoError
from gcvideo.training.objective import probabilities


def average_views(logits: Tensor, multi_label: bool = False) -> Tensor:
    """Scores of a video: the mean of its views' probabilities, as papers average 10 x 3 views. [B, V, K] -> [B, K]."""
    return probabilities(logits.float(), multi_label).mean(dim=1)  # float(): bfloat16 has 8 bits for a sum of 30 views


def true_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Which classes a video has: class indices [N] to bool [N, K]; truth values [N, K] stay as they are."""
    if labels.ndim == 2:
        return labels.bool()
    # Not `one_hot`, whose int64 takes eight times the memory.
    classes = torch.zeros((len(labels), num_classes), dtype=torch.bool, device=labels.device)
    return classes.scatter_(1, labels[:, None], True)


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """How many videos are of each class, int64 [K], from class indices [N] or truth values [N, K]."""
    return labels.sum(dim=0) if labels.ndim == 2 else torch.bincount(labels, minlength=num_classes)


def num_better(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of other classes that score at least as high as the true one, in each view.

    0 is a correct view, below 5 is correct in top-5. Ties count against the network: one that gives all classes the
    same score has recognised nothing. So does NaN, which is neither higher nor lower.

    Of several true classes the best one counts: 0 says that the class with the highest score is one of them. A video
    without any is never right, neither in top-1 nor in top-5.

    Every accuracy of gcvideo, printed or in a report, is counted from these numbers.

    Args:
        logits: [B, V, K]; or any scores.
        labels: true classes [B], or truth values [B, K] of several.

    Returns:
        int64 [B, V].
    """
    is_true = true_classes(labels, logits.shape[2])[:, None]  # [B, 1, K]
    true_logit = logits.masked_fill(~is_true, -math.inf).amax(dim=2, keepdim=True)  # [B, V, 1]
    not_worse = ~(logits < true_logit)
    better = (not_worse & ~is_true).sum(dim=2)
    return better if labels.ndim == 1 else better.masked_fill(~is_true.any(dim=2), max(logits.shape[2], 5))


def is_correct(scores: Tensor, label: int | Tensor) -> bool:
    """Whether the true class, or one of several [K], has the highest of the scores [K]; see `num_better`."""
    return int(num_better(scores[None, None], torch.as_tensor(label)[None])) == 0


def predicted_classes(scores: Tensor, labels: Tensor) -> Tensor:
    """The class with the highest score, which is a true one only if no other ties with it; see `num_better`.

    Args:
        scores: [N, K].
        labels: true classes [N], or truth values [N, K] of several.

    Returns:
        int64 [N].
    """
    is_true = true_classes(labels, scores.shape[1])
    best_true, best_other = (scores.masked_fill(~wanted, -math.inf).argmax(dim=1) for wanted in (is_true, ~is_true))
    is_correct = num_better(scores[:, None], labels)[:, 0] == 0
    return torch.where(is_correct, best_true, best_other)


def average_precisions(scores: Tensor, labels: Tensor) -> Tensor:
    """Average precision of each class, of videos ranked by its score; NaN for a class that no video has.

    The sum over the ranks of (recall - recall at the rank before) x precision, as scikit-learn and PySlowFast compute
    it. Their mean over the classes is mAP.

    Args:
        scores: [N, K].
        labels: truth values [N, K].

    Returns:
        float [K].
    """
    with warnings.catch_warnings():  # of classes without videos, for which we have NaN
        warnings.simplefilter("ignore")
        found = multilabel_average_precision(scores, labels.long(), scores.shape[1], average="none")
    return torch.where(labels.any(dim=0), found, math.nan)


def mean_average_precision(results: "VideoResults") -> Tensor:
    """mAP of videos that may have several classes: the mean over the classes that any video has; else 0."""
    of_classes = average_precisions(results.scores, results.labels)
    return of_classes.nanmean() if not of_classes.isnan().all() else torch.zeros_like(of_classes[0])


class Accuracy(Metric):
    """Top-k accuracy of samples of all ranks, counted in integers.

    Args:
        k: a sample is correct if fewer than `k` classes are better; see `num_better`.
    """

    correct: Tensor
    total: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, better: Tensor) -> None:
        """Add samples: the number of better classes of each, in any shape."""
        self.correct += (better < self.k).sum()
        self.total += better.numel()

    def compute(self) -> Tensor:
        """Between 0 and 1.

        Raises:
            GcvideoError: no sample on any rank.
        """
        if self.total == 0:
            raise GcvideoError("no video was evaluated: none could be decoded, or there is none")
        return self.correct / self.total


def accuracies(prefix: str) -> MetricCollection:
    """Top-1 and top-5 accuracy as `<prefix>top1` and `<prefix>top5`; with fewer than 6 classes, top-5 is always 1."""
    metrics: dict[str, Metric | MetricCollection] = {"top1": Accuracy(1), "top5": Accuracy(5)}
    # A group would share the counts of metrics that agree on the first batch.
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)


def results_of(indices: Tensor, labels: Tensor, logits: Tensor) -> "VideoResults":
    """Results of a batch: indices [B], labels [B] or, of several classes, [B, K], logits [B, V, K]."""
    return VideoResults(indices, labels, num_better(logits, labels), average_views(logits, labels.ndim == 2))


class _VideoResults(NamedTuple):
    indices: Tensor
    labels: Tensor
    better: Tensor
    scores: Tensor


class VideoResults(_VideoResults):
    """What an evaluation found out about each of its N videos; a named tuple whose rows are videos.

    Args:
        indices: rows of the dataset [N].
        labels: true classes [N]; or bool [N, K] of videos that may have several.
        better: number of classes that score as high as the true one or higher in each view [N, V]; see `num_better`.
        scores: mean probabilities over the views [N, K]; each row sums to 1, unless videos may have several classes.

    Raises:
        ValueError: the shapes do not match.
    """

    __slots__ = ()

    def __new__(cls, indices: Tensor, labels: Tensor, better: Tensor, scores: Tensor) -> "VideoResults":
        # torchmetrics rebuilds what `Metric.compute` returns and squeezes every tensor of one element to a scalar. An
        # evaluation of one video would lose its dimensions here.
        indices, labels = torch.atleast_1d(indices, labels)
        better, scores = torch.atleast_2d(better, scores)
        same_length = len(indices) == len(labels) == len(better) == len(scores)
        has_targets = labels.ndim == 1 or labels.shape == scores.shape
        if not same_length or not has_targets or (indices.ndim, better.ndim, scores.ndim) != (1, 2, 2):
            shapes = ", ".join(str(list(tensor.shape)) for tensor in (indices, labels, better, scores))
            raise ValueError(
                f"expected indices [N], labels [N] or [N, K], better [N, V] and scores [N, K], got {shapes}"
            )
        return super().__new__(cls, indices, labels, better, scores)

    @property
    def multi_label(self) -> bool:
        """Whether a video may have several classes."""
        return self.labels.ndim == 2

    @property
    def video_better(self) -> Tensor:
        """`num_better` of the scores of the videos [N]."""
        return num_better(self.scores[:, None], self.labels)[:, 0]

    def to(self, device: torch.device | str) -> "VideoResults":
        """The same results on a device."""
        return VideoResults(*(tensor.to(device) for tensor in self))


class ClassCounts(Metric):
    """How many videos are of each class, and how many are predicted to be, over all ranks.

    Args:
        num_classes: K.
    """

    labels: Tensor  # int64 [K]
    predicted: Tensor  # int64 [K]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        for name in ("labels", "predicted"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, results: VideoResults) -> None:
        """Add videos."""
        num_classes = len(self.labels)
        self.labels += class_counts(results.labels, num_classes)
        self.predicted += torch.bincount(predicted_classes(results.scores, results.labels), minlength=num_classes)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Videos of each class, and videos predicted to be of each class: int64 [K] both."""
        return self.labels, self.predicted


class VideoScores(Metric):
    """Collects `VideoResults` over all ranks; a video that was counted twice is an error.

    The states are flat lists of tensors. A rank that evaluated no video (there are fewer videos than ranks, or all of
    its videos are broken) knows neither V nor K, and `torch.cat` joins only one-dimensional tensors with empty ones.
    """

    indices: list[Tensor]  # [B] each
    labels: list[Tensor]  # [B] or [B * K] each
    better: list[Tensor]  # [B * V] each
    scores: list[Tensor]  # [B * K] each

    def __init__(self) -> None:
        super().__init__()
        for name in VideoResults._fields:
            self.add_state(name, [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all videos."""
        super().reset()
        # Without these a rank without videos would gather torchmetrics' placeholder, which is float32 for every state:
        # gloo aborts the process where another rank sends int64.
        for state in (self.indices, self.labels, self.better):
            state.append(torch.empty(0, dtype=torch.int64, device=self.device))
        self.scores.append(torch.empty(0, dtype=torch.float32, device=self.device))

    def update(self, results: VideoResults) -> None:
        """Add videos, such as those of a batch."""
        self.indices.append(results.indices)
        self.labels.append(results.labels.flatten().long())
        self.better.append(results.better.flatten())
        self.scores.append(results.scores.flatten())

    def compute(self) -> VideoResults:
        """All videos of all ranks, sorted by index.

        Raises:
            GcvideoError: a video was counted more than once, or none was counted.
        """
        indices = _joined(self.indices)
        num_videos = len(indices)
        if num_videos == 0:
            raise GcvideoError("no video was evaluated: none could be decoded, or there is none")
        unique, counts = indices.unique(return_counts=True)
        if len(unique) != num_videos:
            raise GcvideoError(f"videos counted more than once: {unique[counts > 1].tolist()}")
        # Only here are V and K known on every rank, from the number of values that all ranks have together.
        better = _joined(self.better).view(num_videos, -1)  # [N, V]
        scores = _joined(self.scores).view(num_videos, -1)  # [N, K]
        labels = _joined(self.labels)
        if len(labels) > num_videos:  # several classes: there are at least two
            labels = labels.view(num_videos, -1).bool()
        order = indices.argsort()
        return VideoResults(indices[order], labels[order], better[order], scores[order])


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor; torchmetrics has joined it already where it synchronised ranks."""
    return torch.cat(state) if isinstance(state, list) else state
