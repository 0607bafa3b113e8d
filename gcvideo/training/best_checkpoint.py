"""best.ckpt of a run: by its validation, or the latest."""

from pathlib import Path
from typing import Literal, get_args

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from gcvideo.data.datamodule import VideoDataModule

BestBy = Literal["val/video_top1", "val/video_map", "val/loss", "latest"]
"""What makes a checkpoint the best; mAP is of videos with several labels. With few validation videos the best of many
epochs is the luckiest, and the latest, at the end of the schedule, is better on other videos (docs/results.md)."""


class BestCheckpoint(ModelCheckpoint):
    """Saves best.ckpt.

    Args:
        folder: where.
        by: what makes it the best; without a validation it is the latest.
        validates: False if the run is configured without a validation.

    Raises:
        ValueError: `by` is none of `BestBy`.
    """

    def __init__(self, folder: Path, by: BestBy, validates: bool):
        if by not in get_args(BestBy):
            raise ValueError(f"best_by must be one of {get_args(BestBy)}, got {by!r}")
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=by if validates and by != "latest" else None,
            # Lightning would wait for a validation wherever check_val_every_n_epoch is not 1.
            save_on_train_epoch_end=None if validates else True,
            mode="min" if by == "val/loss" else "max",
            # With it the next best would be best-v1.ckpt, and `--ckpt_path best` would find the old one.
            enable_version_counter=False,
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """After the data module's: there may be no validation videos, and so nothing to monitor."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, VideoDataModule) and "validate" not in data.datasets:
            self.monitor = None
            self._save_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the latest state, where the last epoch has no validation after which it would have been saved."""
        super().on_train_end(trainer, pl_module)
        if self.monitor is None and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
