"""Updates that are not finite are skipped; too many in a row end the run."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from gcvideo.data.batch import Batch
from gcvideo.errors import GcvideoError


class FiniteUpdates(Callback):
    """Skips an update whose gradient is infinite or NaN, as if its batch had not been: no momentum, no weight decay.

    The norm of the gradient tells. DDP has summed it over the ranks, so all of them decide alike without a message of
    their own, and what a loss that is not finite does to it needs no look of its own.

    Args:
        max_skipped: updates in a row; one more ends the run. With float16, whose loss scale is found by trying, a run
            begins with a few.
    """

    def __init__(self, max_skipped: int):
        self.max_skipped = max_skipped
        self.num_skipped = 0
        self._losses: list[Tensor] = []  # of the batches since the last update, with their videos
        self._videos: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._videos.append(batch[2])

    def on_before_zero_grad(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._losses, self._videos = [], self._videos[-1:]

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            self.num_skipped = 0
            return
        optimizer.zero_grad(set_to_none=True)  # the step that follows leaves parameters without a gradient alone
        self.num_skipped += 1
        buffers = [name for name, buffer in pl_module.named_buffers() if not torch.isfinite(buffer).all()]
        if self.num_skipped > self.max_skipped or buffers:
            raise GcvideoError(self._message(trainer, buffers))
        rank_zero_warn(f"the gradient is not finite at step {trainer.global_step}: the update is skipped")

    def _message(self, trainer: pl.Trainer, buffers: list[str]) -> str:
        """Which batch it was. All ranks are here."""
        is_bad = [not bool(torch.isfinite(loss).all()) for loss in self._losses]
        files = [_names(trainer, videos) for videos, bad in zip(self._videos, is_bad, strict=False) if bad]
        # Where no loss tells, any of them may be the cause.
        mine = (files, [_names(trainer, videos) for videos in self._videos])
        ranks = [mine]
        if trainer.world_size > 1:
            ranks = [mine] * trainer.world_size
            dist.all_gather_object(ranks, mine)
        names = [name for bad, _ in ranks for batch in bad for name in batch]
        names = names or [name for _, every in ranks for batch in every for name in batch]
        why = f"{self.num_skipped} updates in a row" if not buffers else f"this and {buffers[0]}"
        return (
            f"the gradient is not finite at step {trainer.global_step}: {why}; lower model.lr and resume\n"
            f"the last batch: {', '.join(names[:16])}{' ...' if len(names) > 16 else ''}"
        )


def _names(trainer: pl.Trainer, videos: Tensor) -> list[str]:
    datasets: dict[str, Any] = getattr(getattr(trainer, "datamodule", None), "datasets", {})
    if "fit" not in datasets:  # a loader of one's own
        return [f"video {index}" for index in videos.tolist()]
    return [datasets["fit"].videos[index].name for index in videos.tolist()]
