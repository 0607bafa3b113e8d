"""What a run shows and writes besides the training itself."""

import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from gcvideo.data.datamodule import VideoDataModule, VideoDataset
from gcvideo.fit_marker import write_fit_marker
from gcvideo.training.task import VideoTask


def _data(trainer: pl.Trainer) -> VideoDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]


class Throughput(Callback):
    """Logs `clips/s` (all devices) and `data_wait`, the fraction of the time spent waiting for the loader.

    Both are exponential averages over about 20 batches. The first batch, which starts the workers, does not count.
    """

    def __init__(self) -> None:
        self.rate = self.wait = 0.0
        self._end: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self._end is not None:
            _, labels, _ = batch
            step_s, wait_s = now - self._end, self._start - self._end
            # Every rank has the same batch size, so no communication is needed.
            rate = len(labels) * trainer.world_size / step_s
            weight = 0.05 if self.rate else 1.0  # 1 / 20; the first value counts in full
            self.rate += weight * (rate - self.rate)
            self.wait += weight * (wait_s / step_s - self.wait)
            pl_module.log("clips/s", self.rate, prog_bar=True)
            pl_module.log("data_wait", self.wait, prog_bar=True)
        self._end = now


def gather_broken(trainer: pl.Trainer, dataset: VideoDataset) -> list[str]:
    """Files that could not be decoded on any rank; every rank must call it.

    Raises:
        BrokenVideoError: together they are more than the data set allows.
    """
    found = dataset.broken.to(trainer.strategy.root_device, torch.int32, copy=True)
    dataset.add_broken(trainer.strategy.reduce(found, reduce_op="sum").cpu())
    return dataset.broken_files()


class BrokenVideos(Callback):
    """Warns of videos that could not be decoded, on any rank, at the end of each epoch.

    Within an epoch each rank bounds them by what it has found; here, all ranks do so together.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        dataset = _data(trainer).datasets["fit"]
        files = gather_broken(trainer, dataset)
        if files:
            rank_zero_warn(f"{len(files)} of {len(dataset)} videos (fit) can't be decoded: {', '.join(files[:5])}")

    def _warn_of_skipped(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        dataset = _data(trainer).datasets[stage]
        files = gather_broken(trainer, dataset)
        counted = torch.tensor(cast(VideoTask, pl_module).evaluation.num_videos, device=trainer.strategy.root_device)
        evaluated = int(trainer.strategy.reduce(counted, reduce_op="sum"))
        if files:
            rank_zero_warn(
                f"evaluated {evaluated} of {len(dataset)} videos ({stage}); {len(files)} can't be decoded: "
                f"{', '.join(files[:5])}"
            )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._warn_of_skipped(trainer, pl_module, "validate")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._warn_of_skipped(trainer, pl_module, "test")


class FitMarker(Callback):
    """Records that a fit has reached its configured end; see `fit_marker`.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path):
        self.run_dir = run_dir

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the last checkpoint. A fit that an error or a signal ends does not come here."""
        writes_checkpoints = trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)
        if writes_checkpoints and not trainer.received_sigterm:
            write_fit_marker(self.run_dir, {"epochs": trainer.current_epoch, "steps": trainer.global_step})
