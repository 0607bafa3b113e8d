"""The training task: steps and optimiser wiring.

Letters: B videos, V views, T frames, S side, K classes.
"""

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from gcvideo.models import BlocksName, Inflation, NetworkName, create_model, find_weights, load_weights, other_function
from gcvideo.training import optim
from gcvideo.training.metrics import VideoScores, accuracies, average_views

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]


class VideoTask(pl.LightningModule):
    """Classification of videos.

    Args:
        class_names: index -> name; they travel in the checkpoint. On the command line they come from the manifest.
        network: its name.
        blocks: which blocks it has; see `create_model`.
        block: how the blocks are placed and made: `at`, `site` and the options of the block, see `create_model`.
        weights: published or own checkpoint to start from: a file, or a name of gcvideo/models/published.csv.
        inflation: how 2D weights fill 3D kernels: "mean" or "center".
        dropout: before the classifier.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        lr: peak learning rate at a batch of `lr_batch` clips.
        lr_batch: batch that `lr` is meant for: the rate is scaled linearly to the effective batch (clips for each
            device x devices x accumulated batches). null: `lr` is taken as it is.
        momentum: of SGD; beta_1 of AdamW.
        weight_decay: not applied to biases and normalisation layers.
        schedule: "cosine" or "multistep".
        warmup_epochs: linear warm-up, may be a fraction.
        warmup_start: first learning rate, as a multiple of the peak.
        milestones: epochs at which "multistep" multiplies the rate by `gamma`.
        gamma: see `milestones`.
        label_smoothing: of the training loss; papers use 0.
        mean, std: of the pixels in [0, 1], for all channels (PySlowFast's 0.45 and 0.225) or each of R, G, B.
        channels_last: run in channels-last memory, faster on CPUs and with mixed precision on GPUs.
        compile: run the network through `torch.compile`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        class_names: list[str] | None = None,
        network: NetworkName = "slowonly_r50",
        blocks: BlocksName = "none",
        block: dict[str, Any] | None = None,
        weights: str | None = None,
        inflation: Inflation = "mean",
        dropout: float = 0.5,
        optimizer: optim.OptimizerName = "sgd",
        lr: float = 0.1,
        lr_batch: int | None = 64,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: optim.ScheduleName = "cosine",
        warmup_epochs: float = 0.0,
        warmup_start: float = 0.1,
        milestones: tuple[float, ...] = (),
        gamma: float = 0.1,
        label_smoothing: float = 0.0,
        mean: float | tuple[float, float, float] = 0.45,
        std: float | tuple[float, float, float] = 0.225,
        channels_last: bool = True,
        compile: bool = False,
    ):
        super().__init__()
        if not class_names:
            raise ValueError("class_names must name at least one class")
        self.save_hyperparameters()
        self.class_names = list(class_names)
        self.starts_from_weights = True  # False spares reading them where a run is resumed
        num_classes = len(class_names)
        self.net = create_model(network, blocks, num_classes, dropout, **(block or {}))
        if channels_last:
            solid = any(parameter.ndim == 5 for parameter in self.net.parameters())
            self.net = self.net.to(memory_format=torch.channels_last_3d if solid else torch.channels_last)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)
        if compile:
            self.net.compile()  # in place: state-dict keys stay as they are
        self.train_top1 = accuracies(num_classes, "train/clip_")
        self.clip_accuracy = accuracies(num_classes, "clip_")
        self.video_accuracy = accuracies(num_classes, "video_")
        self.scores = VideoScores()

    def prepare_data(self) -> None:
        """Download the weights that a training starts from, on one process of each machine."""
        if self.trainer.state.fn == "fit" and self.hparams["weights"] and self.starts_from_weights:
            find_weights(self.hparams["weights"])

    def setup(self, stage: str) -> None:
        """Load them."""
        if stage == "fit" and self.hparams["weights"] and self.starts_from_weights:
            h = self.hparams
            rank_zero_info(f"weights: {load_weights(self.net, find_weights(h['weights']), h['inflation'])}")
            if why := other_function(h["weights"], h["network"], h["blocks"], h["block"] or {}):
                rank_zero_warn(f"the weights are read into another function: {why}")

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 frames [B, V, 3, T, S, S] -> logits [B, V, K]."""
        return self.net(self.normalise(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 [B, 3, T, S, S] -> what the network takes, on its device."""
        clips = (clips.to(self.device) / 255 - self.mean) / self.std
        last = self.hparams["channels_last"]
        return clips.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        frames, labels, _ = batch
        logits = self(frames).flatten(0, 1)  # [B, K]: one view each
        loss = F.cross_entropy(logits, labels, label_smoothing=self.hparams["label_smoothing"])
        if not torch.isfinite(loss):
            raise RuntimeError(f"the training loss is {loss.item()} at step {self.global_step}; lower model.lr")
        self.train_top1.update(logits, labels)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(labels))
        self.log_dict(self.train_top1, prog_bar=False, on_step=False, on_epoch=True)
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        self.log("top1", top1, prog_bar=True, logger=False, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Batch | None, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch | None, batch_idx: int) -> None:
        logits = self._evaluate(batch, "test")
        if batch is not None and logits is not None:
            self.scores.update(batch[2], batch[1], logits)

    def predict_step(self, batch: Batch | None, batch_idx: int) -> tuple[Tensor, Tensor] | None:
        """(indices [B], scores [B, K]), each row of scores sums to 1."""
        return None if batch is None else (batch[2], average_views(self(batch[0])))

    def _evaluate(self, batch: Batch | None, stage: str) -> Tensor | None:
        """Count clips and videos; logits [B, V, K], or None if every video of the batch was skipped."""
        if batch is None:
            return None
        frames, labels, _ = batch
        logits = self(frames)
        self.clip_accuracy.update(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))
        self.video_accuracy.update(average_views(logits), labels)
        if stage == "val":
            loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))
            self.log("val/loss", loss, on_epoch=True, batch_size=len(labels), sync_dist=True)
        for metrics in (self.clip_accuracy, self.video_accuracy):
            self.log_dict({f"{stage}/{name}": metric for name, metric in metrics.items()}, prog_bar=stage == "val")
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        h = self.hparams
        return optim.build_optimizer(h["optimizer"], self.net, self._peak_lr(), h["weight_decay"], h["momentum"])

    def _peak_lr(self) -> float:
        """Learning rate for the effective batch."""
        per_device = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]
        batch = per_device * self.trainer.world_size * self.trainer.accumulate_grad_batches
        lr = optim.scaled_lr(self.hparams["lr"], batch, self.hparams["lr_batch"])
        log.info("effective batch %d, peak learning rate %g", batch, lr)
        return lr

    def on_train_start(self) -> None:
        """Settings of this run win over those that a resumed optimiser state brought along."""
        fresh = optim.parameter_groups(self.net, self.hparams["weight_decay"])
        self._peak = self._peak_lr()
        for group, settings in zip(self.trainer.optimizers[0].param_groups, fresh, strict=True):
            group["weight_decay"] = settings["weight_decay"]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate; a pure function of the step, so that a resumed run follows the present settings."""
        h, trainer = self.hparams, self.trainer
        per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
        total = min(per_epoch * epochs, trainer.max_steps if trainer.max_steps > 0 else math.inf)
        milestones = [round(epoch * per_epoch) for epoch in h["milestones"]]
        warmup = round(h["warmup_epochs"] * per_epoch)
        factor = optim.lr_factor(
            self.global_step, int(total), h["schedule"], warmup, h["warmup_start"], milestones, h["gamma"]
        )
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self._peak * factor
        self.log("lr", self._peak * factor)
