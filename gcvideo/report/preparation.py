"""What is checked before a test, so that it does not fail after hours of work."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.videos import Videos
from gcvideo.errors import GcvideoError
from gcvideo.locking import locked
from gcvideo.report.identity import identity_of
from gcvideo.report.progress import ProgressKey, discard_others
from gcvideo.training.task import VideoTask

PAGE_BYTES = 20_000_000
"""Room for report.html: a few plots and strips of frames."""


def prepare(
    folder: Path, trainer: pl.Trainer, task: VideoTask, data: VideoDataModule, stack: ExitStack
) -> ProgressKey | None:
    """Make the folder of the progress, and lock the run's folder until `stack` is closed.

    Returns:
        What results of this test have in common; None for a test of only some batches, which is not resumed.

    Raises:
        UsageError: the folder can't be written, or another test writes into it.
        GcvideoError: not enough space is left.
    """
    run_dir = folder.parent
    # A lock of its own: to test the checkpoints of a training that is running is fine.
    stack.enter_context(locked(run_dir, ".test.lock"))
    key = ProgressKey("", data.views.temporal * data.views.spatial, len(task.class_names), task.multi_label)
    _check_space(run_dir, data.datasets["test"].videos, key)
    try:
        folder.mkdir(exist_ok=True)
        limit = trainer.limit_test_batches  # an int is a number of batches, a float a fraction
        if not (isinstance(limit, float) and limit == 1.0):
            return None
        key = key._replace(identity=identity_of(trainer, task, data))
        if discarded := discard_others(folder, key):
            rank_zero_warn(
                f"{folder}: discarded {discarded} file(s) of an interrupted test with other weights, videos or settings"
            )
    except OSError as error:
        raise GcvideoError(f"can't write into {folder}: {error.strerror}") from error
    return key


def _check_space(run_dir: Path, videos: Videos, key: ProgressKey) -> None:
    """Refuse a disk on which the results will not fit."""
    num_classes = key.classes
    names = sum(len(video.name) for video in videos)
    # A line of predictions.csv has two names of classes and K scores of up to 8 characters; a number of the confusion
    # matrix has a line of report.json.
    table = names + (200 + 8 * num_classes) * len(videos)
    needed = key.record().itemsize * len(videos) + table + 12 * num_classes**2 + PAGE_BYTES
    free = shutil.disk_usage(run_dir).free
    if free < needed:
        raise GcvideoError(
            f"the results of {len(videos)} videos take about {needed / 1e6:.0f} MB; only {free / 1e6:.0f} MB are free "
            f"in {run_dir}"
        )
