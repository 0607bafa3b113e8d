"""Precise batch-norm statistics: those of the weights at hand, computed anew before every evaluation.

The running averages of training mix the statistics of many past weights. Here the weights stay as they are while N
training batches pass through the network, and the running mean and variance of each batch norm become the mean and
variance of all values that it saw ("Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3).

Reference: `fvcore/nn/precise_bn.py` (`update_bn_stats`), as PySlowFast's `tools/train_net.py` calls it. Differences:

- The batches of all ranks count. There each rank computes its own statistics, and a checkpoint has those of rank 0.
- It happens before each evaluation, because nothing else uses the statistics, and not after each epoch.
- Only the batch norms are in training mode during the pass. Without dropout it draws no random numbers, so that the
  training continues as it would have without the pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, repeat
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from torch import Tensor, nn

from gcvideo.data.batch import Batch
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.errors import UsageError

BatchNorm = nn.modules.batchnorm._BatchNorm


class PreciseBatchNorm(Callback):
    """Computes the batch-norm statistics before each evaluation of a `fit`, and so for the checkpoint that follows.

    Without a validation, it does so at the end of each epoch, and after a last epoch that has none. Next to a
    `WeightAveraging`, it must come later in the list of callbacks: the statistics are then those of the averaged
    weights. Norms that the training does not update (in eval mode, or frozen by Lightning's `BaseFinetuning`) keep
    their statistics.

    Args:
        num_batches: N, training batches of each rank, at most those of an epoch; PySlowFast's recipes take 200. They
            are the next ones that the training will see, decoded a second time.

    Raises:
        ValueError: no batches.
        UsageError: when a `fit` begins that has no batch norms, no `VideoDataModule`, or averages without a validation.
    """

    def __init__(self, num_batches: int):
        if num_batches < 1:
            raise ValueError(f"precise_bn must be at least 1 or null, got {num_batches}")
        self.num_batches = num_batches
        self._norms: list[BatchNorm] = []
        self._step = -1  # for whose weights the statistics are

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if not isinstance(trainer.datamodule, VideoDataModule):  # type: ignore[attr-defined]
            raise UsageError("precise_bn reads the training videos again: fit with a VideoDataModule")
        if not any(isinstance(module, BatchNorm) for module in pl_module.modules()):
            raise UsageError("precise_bn would have no effect: the network has no batch norms")
        every = trainer.check_val_every_n_epoch
        if _averages(trainer) and (not _validates(trainer) or (every and (trainer.max_epochs or 0) % every)):
            raise UsageError(
                "precise_bn needs a validation after the last epoch next to averaged weights (ema_decay), which are in "
                "place only then: expected validation videos, and max_epochs a multiple of check_val_every_n_epoch"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._norms = learning_norms(pl_module)  # a resumed run may begin with a validation

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Here and not later: a validation puts frozen and other norms alike into eval mode.
        self._norms = learning_norms(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._compute(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not _validates(trainer):
            self._compute(trainer, pl_module)
        elif 0 < trainer.max_steps <= trainer.global_step:
            self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the last checkpoint, where no validation has come after the last step."""
        if self._step != trainer.global_step and not _averages(trainer):
            self._compute(trainer, pl_module)

    def _compute(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        count = min(self.num_batches, int(trainer.num_training_batches))
        # Hooks of compiled modules would be ignored: they are compiled already.
        with trainer.precision_plugin.forward_context(), torch.compiler.set_stance("force_eager"):
            sums = _sums(pl_module, self._norms, _batches(trainer, count))
        if not sums:
            return
        norms = list(sums)
        total = trainer.strategy.reduce(torch.cat(list(sums.values()), dim=1), reduce_op="sum")  # [3, sum of all C]
        for norm, (n, values, squares) in zip(
            norms, total.split([sums[norm].shape[1] for norm in norms], 1), strict=True
        ):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(values / n)
            norm.running_var.copy_(squares / n - (values / n).square())


def _validates(trainer: pl.Trainer) -> bool:
    datasets = trainer.datamodule.datasets  # type: ignore[attr-defined]
    return trainer.limit_val_batches != 0 and "validate" in datasets


def _averages(trainer: pl.Trainer) -> bool:
    return any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def _batches(trainer: pl.Trainer, count: int) -> Iterator[Batch]:
    """The next batches of the training, from a loader of their own: the training's keeps its place."""
    loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
    # In the middle of an epoch its first pass is short.
    return islice(chain.from_iterable(repeat(loader)), count)


@torch.no_grad()
def _sums(model: nn.Module, norms: list[BatchNorm], batches: Iterator[Batch]) -> dict[BatchNorm, Tensor]:
    """For each norm that is used: float64 [3, C], number of values, their sum, and the sum of their squares."""
    sums: dict[BatchNorm, Tensor] = {}

    def add(norm: BatchNorm, inputs: tuple[Tensor]) -> None:
        x = inputs[0].float()  # [B, C, ...], in half precision under autocast
        variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)  # [C]
        n = torch.full_like(mean, x.numel() // x.shape[1], dtype=torch.float64)
        moments = torch.stack([n, n * mean, n * (variance + mean.double().square())])  # [3, C]
        sums[norm] = sums.get(norm, 0) + moments

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    try:
        with batch_statistics(model, norms):
            for frames, _, _ in batches:
                model(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return sums


@contextmanager
def batch_statistics(model: nn.Module, norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Evaluation mode, but these norms normalise by the batch, as in training; their running averages stay."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for module, mode in modes:
            module.training = mode


def learning_norms(model: nn.Module) -> list[BatchNorm]:
    """The norms whose statistics a training step updates."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    return [norm for norm in norms if norm.training and norm.track_running_stats and norm.running_mean is not None]
