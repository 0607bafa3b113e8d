"""What an evaluation counts, exactly and on any number of ranks.

Letters: B videos of a batch, V views, K classes.
"""

from typing import Literal, cast

import pytorch_lightning as pl
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric

from gcvideo.errors import GcvideoError
from gcvideo.training.metrics import Accuracy, ClassCounts, VideoResults, VideoScores, accuracies

Stage = Literal["validate", "test", "predict"]


class Evaluation(nn.Module):
    """Counts of the evaluation that is running.

    Ranks may have unequal numbers of videos, or none. So they add what they have, and the sums over all ranks are
    divided when every rank is done: a mean of the ranks' means would weigh videos unequally.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.clip_accuracy = accuracies("clip_")
        self.video_accuracy = accuracies("video_")
        self.loss = MeanMetric(nan_strategy="disable")  # of clips
        self.classes = ClassCounts(num_classes)  # of videos
        self.results = VideoScores()  # of a test; of a validation for mAP

    def reset(self) -> None:
        """Forget everything; an evaluation that failed may have left its counts."""
        for metric in (self.clip_accuracy, self.video_accuracy, self.loss, self.classes, self.results):
            metric.reset()

    def add(self, results: VideoResults) -> None:
        """Count videos."""
        self.clip_accuracy.update(results.better)
        self.video_accuracy.update(results.video_better)
        self.classes.update(results)

    def accuracies(self, prefix: str) -> dict[str, Metric]:
        """Name in the logs -> metric."""
        both = [*self.clip_accuracy.items(), *self.video_accuracy.items()]
        return {f"{prefix}{name}": metric for name, metric in both}

    @property
    def num_videos(self) -> int:
        """Videos counted so far, on this rank."""
        return int(cast(Accuracy, self.video_accuracy["top1"]).total)


def refuse_not_finite(trainer: pl.Trainer, stage: Stage, indices: Tensor, scores: Tensor) -> None:
    """Refuse scores [B, K] of the videos `indices` [B] that are no probabilities: they would rank classes by chance.

    Raises:
        GcvideoError: it names the videos.
    """
    is_bad = ~scores.isfinite().all(dim=1)
    if not is_bad.any():
        return
    bad = indices[is_bad].tolist()
    datasets = getattr(getattr(trainer, "datamodule", None), "datasets", {})
    videos = datasets[stage].videos if stage in datasets else None
    names = [f"video {index}" if videos is None else videos[index].name for index in bad]
    raise GcvideoError(
        f"the network returns NaN or infinity for {', '.join(names)}: its weights are damaged, or the precision "
        f"({trainer.precision}) is too low for them"
    )
