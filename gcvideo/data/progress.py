"""Where a training is in its data, next to Lightning's own count.

Lightning counts batches, and begins a resumed epoch with the order of epoch 0. Here videos are counted, from the
position that a checkpoint holds.
"""

import pytorch_lightning as pl

from gcvideo.data.position import Position


class TrainingProgress:
    """The position of one training session, from its start or from a checkpoint.

    Args:
        start: where the session begins.
        stored: what its checkpoint said, if there was one; it may be another position.
    """

    def __init__(self, start: Position = Position(), stored: Position | None = None):
        self.start, self._stored = start, stored
        self._batches = self._global_batch = 0  # of an epoch, once they are known
        self._ready_at_start = 0

    def begin(self, trainer: pl.Trainer | None, batches: int, global_batch: int) -> Position:
        """The position from which a loader is to read.

        Args:
            trainer: that of the training; None for the start.
            batches: of each rank in an epoch.
            global_batch: videos of a batch over all ranks.
        """
        self._batches, self._global_batch = batches, global_batch
        if trainer is not None and self._stored is not None:
            # What came before is in the position that was stored.
            self._ready_at_start = _ready(trainer)
            self._align(trainer, self._stored)
        return self.position(trainer)

    def position(self, trainer: pl.Trainer | None) -> Position:
        """The next video of the training."""
        if trainer is None or not self._batches:
            return self.start
        return self.start.after(_ready(trainer) - self._ready_at_start, self._batches, self._global_batch)

    def _align(self, trainer: pl.Trainer, stored: Position) -> None:
        """After a resume, tell Lightning where in its epoch the training is: its batches may have had another size."""
        position = self.position(trainer)
        current = trainer.fit_loop.epoch_loop.batch_progress.current
        # Ours is then the beginning of the next epoch, while Lightning has not left the last one.
        is_at_end = position.epoch > stored.epoch or (stored.videos == 0 and current.ready > 0)
        batches = self._batches if is_at_end else position.first_batch(self._batches, self._global_batch)
        shift = batches - current.ready
        for name in ("ready", "started", "processed", "completed"):
            setattr(current, name, getattr(current, name) + shift)
        self.start, self._stored = position, None


def _ready(trainer: pl.Trainer) -> int:
    """Batches of a run so far, over all epochs and interruptions."""
    # Not `current.completed`: it lags by one in a checkpoint that is saved in on_train_batch_end.
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready
