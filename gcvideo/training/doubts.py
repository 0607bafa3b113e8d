"""Warnings of what an accuracy does not show, above all of small data sets."""

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from gcvideo.data.batch import Batch
from gcvideo.training.metrics import num_better
from gcvideo.training.precise_bn import BatchNorm, batch_statistics, learning_norms
from gcvideo.training.task import VideoTask

FEW_VIDEOS = 97
"""With fewer, the 95 % interval of an accuracy of one half reaches further than 0.1 to each side."""
NEARLY_ALL, NEVER_THAT_MANY = 0.9, 0.5
"""Predictions of one class, and labels of that class: a share above the first and below the second is a collapse."""
GAP = 0.2
"""Between the accuracies of one network on the same clips in two modes."""
KEPT_BATCHES, KEPT_CLIPS = 4, 16
"""The last batches of an epoch, and so many clips of each: 20 MB a batch at 8 x 224 x 224."""


class Doubts(Callback):
    """Warns, each once in a run:

    - where a `fit` begins: a validation set that is too small to tell;
    - after a validation in the second half of a `fit`, and after `validate`: nearly all predictions are of one class,
      which the videos are not (the report says so of a test);
    - after a validation in the second half of a `fit`: the last training batches are classified better with the
      statistics of the batch than with the running averages of the batch norms, which every evaluation uses.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._batches: deque[Batch] = deque(maxlen=KEPT_BATCHES)
        self._norms: list[BatchNorm] = []

    def _warn(self, kind: str, text: str | None) -> None:
        if text is not None and kind not in self._told:
            self._told.add(kind)
            rank_zero_warn(text)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        datasets = getattr(getattr(trainer, "datamodule", None), "datasets", {})
        if "validate" in datasets and trainer.limit_val_batches != 0:
            self._warn("few", doubt_of_size(len(datasets["validate"])))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx < trainer.num_training_batches - KEPT_BATCHES:
            return
        # Here, because a validation puts all norms into evaluation mode, the frozen ones as well.
        self._norms = learning_norms(pl_module)
        if self._norms:
            self._batches.append(Batch(*(tensor[:KEPT_CLIPS].clone() for tensor in batch)))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not _is_late(trainer):
            return
        task = cast(VideoTask, pl_module)
        if not task.multi_label:  # else a frequent class may score highest everywhere
            self._warn("collapse", doubt_of_predictions(*task.evaluation.classes.compute(), task.class_names))
        if self._norms and self._batches and trainer.state.fn == "fit" and "modes" not in self._told:
            with trainer.precision_plugin.forward_context(), torch.compiler.set_stance("force_eager"):
                right = _right_in_both_modes(task, self._norms, self._batches)
            self._warn("modes", doubt_of_statistics(*trainer.strategy.reduce(right, reduce_op="sum").tolist()))


def _is_late(trainer: pl.Trainer) -> bool:
    """Whether a network should know more than one class by now."""
    return trainer.state.fn != "fit" or trainer.current_epoch + 1 > (trainer.max_epochs or 0) / 2


@torch.no_grad()
def _right_in_both_modes(task: VideoTask, norms: Sequence[BatchNorm], batches: Sequence[Batch]) -> Tensor:
    """Clips, those classified right by running statistics, and those by the statistics of the batch: float64 [3]."""
    counts = torch.zeros(3, dtype=torch.float64, device=task.device)
    for frames, labels, _ in batches:
        labels = labels.to(task.device)
        running = num_better(task(frames), labels) == 0  # [B, V]
        with batch_statistics(task, norms):
            of_batch = num_better(task(frames), labels) == 0
        counts += torch.stack([torch.ones_like(running).sum(), running.sum(), of_batch.sum()])
    return counts


def doubt_of_size(num_videos: int) -> str | None:
    """What is wrong with a validation set of so many videos."""
    if num_videos >= FEW_VIDEOS:
        return None
    half = 0.98 / num_videos**0.5  # 1.96 standard errors at an accuracy of 1/2
    return (
        f"{num_videos} validation videos: their accuracy is known to about +-{min(half, 0.5):.2f}, and the best of all "
        f"epochs is too high; do not choose between settings that differ by less"
    )


def doubt_of_predictions(labels: Tensor, predicted: Tensor, names: Sequence[str]) -> str | None:
    """What is wrong with predictions of an evaluation; `labels` and `predicted` are videos of each class [K]."""
    total, most = int(predicted.sum()), int(predicted.argmax())
    share = float(predicted[most]) / max(total, 1)
    if total < 20 or share < NEARLY_ALL or float(labels[most]) / total > NEVER_THAT_MANY:
        return None
    return (
        f"{int(predicted[most])} of {total} videos are predicted to be {names[most]}, {int(labels[most])} are: the "
        f"network has not learned to tell the classes apart (try a lower model.lr, a warm-up, --precise_bn 50, weights)"
    )


def doubt_of_statistics(clips: float, running: float, of_batch: float) -> str | None:
    """What is wrong with running statistics by which so many of the clips are classified right, against the batch's."""
    if clips < 16 or (of_batch - running) / clips < GAP:
        return None
    return (
        f"the last {int(clips)} training clips: {of_batch / clips:.2f} right with the statistics of each batch, "
        f"{running / clips:.2f} with the running averages of the batch norms, which evaluations use: they do not fit "
        f"the weights (--precise_bn 50 computes them anew; or a lower model.lr, a larger batch, model.norms group)"
    )
