"""The latest state of a run: last.ckpt, from which it resumes as if it had never been interrupted.

Lightning's `ModelCheckpoint(save_last=True)` writes it only where the monitored metric improves.
"""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from gcvideo.errors import InterruptedRunError
from gcvideo.files import link
from gcvideo.training.signals import Signals, requeue

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class LastCheckpoint(Checkpoint):
    """Saves the state before each validation, at the end of each epoch, every few minutes, and on a signal.

    A signal (see `Signals`) ends the run at the next step whose gradients are complete. In an evaluation nothing is to
    be saved: a fit did so when it began.

    previous.ckpt is the state before last.ckpt, for the case that the disk damages a file.

    Args:
        folder: of both files.
        every_minutes: of training, above 0.

    Raises:
        ValueError: `every_minutes` is out of range.
    """

    def __init__(self, folder: str | Path, every_minutes: float = 15.0):
        if not 0 < every_minutes < float("inf"):
            raise ValueError(f"save_every_minutes must be above 0, got {every_minutes}")
        self.folder, self.every_minutes = Path(folder), every_minutes
        self.signals = Signals()
        self._saved_at = 0.0
        self._last_is_good = False
        self._validates_next = False  # of the state that is being saved

    # The handlers stand from the first hook on, but Lightning installs its own right before the loop starts.
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.signals.install()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.install()
        self._saved_at = time.monotonic()
        # A damaged last.ckpt must not replace the state that the run was resumed from.
        self._last_is_good = trainer.ckpt_path == str(self.folder / LAST)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.install()

    on_predict_start = on_test_start

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.signals.restore()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop.epoch_loop
        # The last step of an epoch, and one that a validation follows, are saved there: resumed from here, Lightning
        # would skip the validation.
        if loop._should_accumulate() or loop._is_training_done or loop._should_check_val_fx(_fetcher(trainer)):
            return
        is_due = time.monotonic() - self._saved_at > 60 * self.every_minutes
        signum, is_due = self._agreed(trainer, is_due)
        if signum or is_due:
            self._save(trainer)
        if signum:
            self._stop(trainer, signum)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            self.signals.install()
            return
        self._validates_next = True
        self._save(trainer)
        self._validates_next = False
        self._stop_if_agreed(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if -1 < trainer.max_steps != trainer.global_step:
            # Lightning cannot resume such a run from here: it would count the epoch twice. The next step saves.
            self._saved_at = -float("inf")
            return
        self._save(trainer)
        self._stop_if_agreed(trainer)

    # Ranks differ in their number of evaluation batches, so here each acts on its own: nothing is saved.
    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        if self.signals.received:
            self._stop(trainer, self.signals.received)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._validates_next:
            # As if the first batch had begun: Lightning then repeats the validation when it resumes, all of it.
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            none = dict.fromkeys(begun, 0)
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress.update(total=begun, current=none, is_last_batch=False)

    def _agreed(self, trainer: pl.Trainer, is_due: bool = False) -> tuple[int, bool]:
        """The signal that any rank received (0: none), and whether it is time to save on any rank."""
        if trainer.world_size == 1:
            return self.signals.received, is_due
        mine = torch.tensor([self.signals.received, int(is_due)], device=trainer.strategy.root_device)
        signum, due = trainer.strategy.reduce(mine, reduce_op="max").tolist()
        self.signals.received = signum
        return signum, bool(due)

    def _stop_if_agreed(self, trainer: pl.Trainer) -> None:
        signum, _ = self._agreed(trainer)
        if signum:
            self._stop(trainer, signum)

    def _save(self, trainer: pl.Trainer) -> None:
        path = self.folder / LAST
        if trainer.is_global_zero and self._last_is_good:
            link(path, self.folder / PREVIOUS)
        trainer.save_checkpoint(path, False)  # not only the weights; on every rank
        self._saved_at, self._last_is_good = time.monotonic(), True

    def _stop(self, trainer: pl.Trainer, signum: int) -> None:
        name = signal.Signals(signum).name
        if trainer.state.fn != "fit":
            raise InterruptedRunError(f"stopped by {name}; the same command resumes", signum)
        requeue(trainer, signum)
        raise InterruptedRunError(
            f"stopped by {name} in epoch {trainer.current_epoch} after step {trainer.global_step}; the state is in "
            f"{self.folder / LAST}: the same command with --ckpt_path auto resumes",
            signum,
        )


def _fetcher(trainer: pl.Trainer) -> Any:
    return trainer.fit_loop._data_fetcher
