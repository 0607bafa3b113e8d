"""What a run shows and writes besides the training itself."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from gcvideo.data.datamodule import VideoDataModule, VideoDataset
from gcvideo.fit_marker import FitFacts, finished_checkpoint, write_fit_marker
from gcvideo.terminal import duration_text
from gcvideo.training.device import device_name
from gcvideo.training.lines import say
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
            frames, _, _ = batch
            step_s, wait_s = now - self._end, self._start - self._end
            # A video may be several clips. Every rank has the same batch size, so no communication is needed.
            rate = frames.shape[0] * frames.shape[1] * trainer.world_size / step_s
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
    """Records that a fit has reached its configured end and what it took (see `fit_marker`), and tells what is next.

    Args:
        run_dir: folder of the run.
        best: writes its best.ckpt.
        next_command: that tests the run, to print.
    """

    def __init__(self, run_dir: Path, best: ModelCheckpoint, next_command: str):
        self.run_dir, self.best, self.next_command = run_dir, best, next_command
        self._seconds = 0.0  # of earlier sessions
        self._started: float | None = None  # None until this session trains
        self._score: float | None = None
        self._best_epoch: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._trained_s(), "score": self._score, "best_epoch": self._best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seconds, self._score = state_dict.get("seconds", 0.0), state_dict.get("score")
        self._best_epoch = state_dict.get("best_epoch")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note_best(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the last checkpoint. A fit that an error or a signal ends does not come here."""
        writes_checkpoints = trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)
        if not writes_checkpoints or trainer.received_sigterm:
            return
        self._note_best(trainer)
        facts = FitFacts(
            trainer.current_epoch,
            trainer.global_step,
            round(self._trained_s(), 1),
            device_name(trainer),
            self.best.monitor,
            self._score,
            self._best_epoch,
        )
        # A finished run that is fitted once more has nothing to train: its facts are those that are there.
        if self._started is not None or finished_checkpoint(self.run_dir) is None:
            write_fit_marker(self.run_dir, asdict(facts))
        self._tell(trainer, facts)

    def _note_best(self, trainer: pl.Trainer) -> None:
        """After an epoch, because best.ckpt is written at its very end."""
        score = self.best.best_model_score
        if score is not None and float(score) != self._score:
            self._score, self._best_epoch = float(score), trainer.current_epoch  # epochs that have ended

    def _trained_s(self) -> float:
        return self._seconds + (0.0 if self._started is None else time.monotonic() - self._started)

    def _tell(self, trainer: pl.Trainer, facts: FitFacts) -> None:
        trained = f"trained {facts.epochs} epochs in {duration_text(self._trained_s())}"
        best = "" if facts.best is None else f"; best {facts.metric} {facts.best:.3f} after epoch {facts.best_epoch}"
        say(trainer, trained + best)
        say(trainer, f"{self.run_dir}: checkpoints/best.ckpt, config.yaml, metrics/")
        say(trainer, f"next: {self.next_command}")
