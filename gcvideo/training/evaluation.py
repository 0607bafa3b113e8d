"""What an evaluation counts, exactly and on any number of ranks.

Letters: B videos of a batch, V views, K classes.
"""

from typing import Any, Literal, cast

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.utils.data import DistributedSampler
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric

from gcvideo.data.dataset import EvalDataset
from gcvideo.data.samplers import EvalSampler
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.training.metrics import Accuracy, VideoResults, VideoScores, accuracies

Stage = Literal["validate", "test", "predict"]


class Evaluation(nn.Module):
    """Counts of the evaluation that is running.

    Ranks may have unequal numbers of videos, or none. So they add what they have, and the sums over all ranks are
    divided when every rank is done: a mean of the ranks' means would weigh videos unequally.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip_accuracy = accuracies("clip_")
        self.video_accuracy = accuracies("video_")
        self.loss = MeanMetric(nan_strategy="disable")  # of clips
        self.results = VideoScores()  # of a test

    def reset(self) -> None:
        """Forget everything; an evaluation that failed may have left its counts."""
        for metric in (self.clip_accuracy, self.video_accuracy, self.loss, self.results):
            metric.reset()

    def add(self, results: VideoResults) -> None:
        """Count videos."""
        self.clip_accuracy.update(results.better)
        self.video_accuracy.update(results.video_better)

    def accuracies(self, prefix: str) -> dict[str, Metric]:
        """Name in the logs -> metric."""
        both = [*self.clip_accuracy.items(), *self.video_accuracy.items()]
        return {f"{prefix}{name}": metric for name, metric in both}

    @property
    def num_videos(self) -> int:
        """Videos counted so far, on this rank."""
        return int(cast(Accuracy, self.video_accuracy["top1"]).total)


def refuse_other_samplers(trainer: pl.Trainer, loaders: Any) -> None:
    """Refuse loaders of ours that would not count every video exactly once on the ranks of this Trainer.

    `VideoDataModule` makes them for the ranks of its Trainer. Taken from it before, or by another Trainer, they are
    those of one rank; and Lightning replaces samplers where `use_distributed_sampler` is true.

    Raises:
        UsageError: such a loader.
    """
    for loader in loaders if isinstance(loaders, list | tuple) else [loaders]:
        if not isinstance(getattr(loader, "dataset", None), EvalDataset):
            continue
        sampler, world_size = getattr(loader, "sampler", None), trainer.world_size
        if isinstance(sampler, DistributedSampler) or (
            isinstance(sampler, EvalSampler) and sampler.world_size != world_size
        ):
            raise UsageError(
                f"the loader was not made for the {world_size} devices of this Trainer, which would count videos "
                f"twice or not at all: pass the VideoDataModule itself, and use_distributed_sampler=False"
            )


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
