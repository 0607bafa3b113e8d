"""best.ckpt of a run: by validation accuracy; in a training without validation, the latest."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from gcvideo.data.datamodule import VideoDataModule


class BestCheckpoint(ModelCheckpoint):
    """Saves best.ckpt.

    Args:
        folder: where.
        validates: False if the run is configured without a validation.
    """

    def __init__(self, folder: Path, validates: bool):
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor="val/video_top1" if validates else None,
            mode="max",
            # With it the next best would be best-v1.ckpt, and `--ckpt_path best` would find the old one.
            enable_version_counter=False,
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """After the data module's: there may be no validation videos, and so nothing to monitor."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, VideoDataModule) and "validate" not in data.datasets:
            self.monitor = None
        super().setup(trainer, pl_module, stage)
