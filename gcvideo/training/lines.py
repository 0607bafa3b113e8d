"""What a run tells where no progress bar is shown: a line at its start and one for each epoch."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from gcvideo.terminal import duration_text, printable
from gcvideo.training.device import device_name

EVERY_S = 300
"""In long epochs and tests, a line comes this often."""

# Metric -> its name in a line, and how many digits it has.
_METRICS = {
    "train/loss_epoch": ("loss", 4),
    "val/loss": ("val loss", 4),
    "val/video_map": ("val mAP", 3),
    "val/video_top1": ("val top-1", 3),
}


def say(trainer: pl.Trainer, text: str) -> None:
    """Print a line, on rank 0."""
    if trainer.is_global_zero:
        print(printable(text), flush=True)


class StartLine(Callback):
    """Tells before a training what is trained: network, videos, device."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        h, datasets = pl_module.hparams, trainer.datamodule.datasets  # type: ignore[attr-defined]
        network = h["net"] or (h["network"] if h["blocks"] == "none" else f"{h['network']} + {h['blocks']}")
        learned = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
        counts = [f"{len(datasets[stage])} {name}" for stage, name in _SPLITS.items() if stage in datasets]
        say(
            trainer,
            f"{network}: {learned:,} parameters to train; videos: {', '.join(counts)}; on {device_name(trainer)}",
        )


_SPLITS = {"fit": "for training", "validate": "for validation"}


class ProgressLines(Callback):
    """Prints a line for each epoch, and every few minutes where an epoch or a test takes longer.

    epoch 3/10: loss 1.2345, val loss 1.1000, val top-1 0.567, lr 0.01, 12.3 clips/s, 4.2 min left
    """

    def __init__(self) -> None:
        self._started = self._printed = 0.0
        self._start = 0.0  # epochs before this session
        self._has_validated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self._printed = time.monotonic()
        self._start = _epochs(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._has_validated = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._printed > EVERY_S:
            done = f"{batch_idx + 1} of {trainer.num_training_batches} batches"
            self._print(trainer, f"epoch {_of_all(trainer)}, {done}", _epochs(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._print(trainer, f"epoch {_of_all(trainer)}", trainer.current_epoch + 1)
        self._has_validated = False

    def _print(self, trainer: pl.Trainer, head: str, epochs: float) -> None:
        self._printed = time.monotonic()
        metrics = trainer.callback_metrics
        parts = []
        for key, (name, digits) in _METRICS.items():
            # What another epoch has measured is not this one's.
            if key in metrics and (self._has_validated or not key.startswith("val/")):
                parts.append(f"{name} {float(metrics[key]):.{digits}f}")
        parts.append(f"lr {trainer.optimizers[0].param_groups[0]['lr']:.3g}")
        if "clips/s" in metrics:
            parts.append(f"{float(metrics['clips/s']):.3g} clips/s")
        left = (trainer.max_epochs or 0) - epochs
        if left > 0 and trainer.max_steps < 0 and epochs > self._start:
            per_epoch_s = (self._printed - self._started) / (epochs - self._start)
            parts.append(f"{duration_text(per_epoch_s * left)} left")
        say(trainer, f"{head}: {', '.join(parts)}")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self._printed = time.monotonic()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        now, done, total = time.monotonic(), batch_idx + 1, int(trainer.num_test_batches[0])
        if now - self._printed > EVERY_S and dataloader_idx == 0:
            self._printed = now
            left = duration_text((now - self._started) / done * (total - done))
            say(trainer, f"test: {done} of {total} batches, {left} left")


def _of_all(trainer: pl.Trainer) -> str:
    total = trainer.max_epochs or 0
    return f"{trainer.current_epoch + 1}/{total}" if total > 0 else f"{trainer.current_epoch + 1}"


def _epochs(trainer: pl.Trainer) -> float:
    """Epochs that have been trained, such as 2.5."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return trainer.current_epoch + min(1.0, batches / trainer.num_training_batches)
