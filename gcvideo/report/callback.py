"""The callback that keeps the results of a test and writes its report."""

import importlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import EvalDataset
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.report.preparation import prepare
from gcvideo.report.progress import ProgressFile, ProgressKey, read_progress
from gcvideo.training.callbacks import gather_broken
from gcvideo.training.metrics import VideoResults
from gcvideo.training.task import VideoTask

Value = TypeVar("Value")


class TestReport(Callback):
    """Writes report.json, predictions.csv and report.html after `Trainer.test(task, data_module)`.

    The results of each video are on the disk as soon as they are known (see `progress`). An interrupted test, repeated
    with any number of ranks, evaluates only the other videos; its report is that of an uninterrupted one.

    Args:
        run_dir: folder to write into; the learning curves are read from its metrics/.
        config: settings to show and to store in report.json.
        checkpoint: path of the weights, to show.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, run_dir: Path, config: dict[str, Any], checkpoint: str):
        self.run_dir, self.config, self.checkpoint = run_dir, config, checkpoint
        self._open = ExitStack()  # the lock and the file of this rank
        self._file: ProgressFile | None = None
        self._resumed: VideoResults | None = None

    @property
    def _folder(self) -> Path:
        return self.run_dir / "test-progress"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before the work what would fail after it, and find the results of an interrupted test.

        Raises:
            UsageError: the test has loaders and no `VideoDataModule`, which knows the videos' names and views; or
                another process writes into the folder.
            GcvideoError: the folder can't be written, or the disk is too full.
        """
        if stage != "test":
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, VideoDataModule):
            raise UsageError("a report needs the names and views of the videos: test with a VideoDataModule")
        # Imports matplotlib, hence only where a report is written, and now, because it fails where it can't be set up.
        importlib.import_module("gcvideo.report.write")
        task = cast(VideoTask, pl_module)
        key = _on_rank_zero(trainer, lambda: prepare(self._folder, trainer, task, data, self._open))
        self._file = self._resumed = None
        if key is not None:
            self._resume(trainer, cast(EvalDataset, data.datasets["test"]), key)

    def _resume(self, trainer: pl.Trainer, dataset: EvalDataset, key: ProgressKey) -> None:
        results = read_progress(self._folder, key)
        # Nodes may see different files. The first rank that has a video counts it, and no rank evaluates it again.
        rank, none = trainer.global_rank, trainer.world_size
        owner = torch.full((len(dataset),), none)
        owner[results.indices] = rank
        owner = trainer.strategy.reduce(owner.to(trainer.strategy.root_device), reduce_op="min").cpu()
        dataset.done = frozenset((owner != none).nonzero().flatten().tolist())
        is_mine = owner[results.indices] == rank
        self._resumed = VideoResults(*(tensor[is_mine] for tensor in results))
        if dataset.done:
            rank_zero_info(f"resuming the test: {len(dataset.done)} of {len(dataset)} videos are evaluated already")
        # No rank writes before all have read: `reduce` waits for all.
        self._file = ProgressFile(self._folder / f"rank{rank}-of-{none}.bin", key)
        self._open.callback(self._file.close)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._resumed is not None and len(self._resumed.indices):
            cast(VideoTask, pl_module).add_tested(self._resumed.to(pl_module.device))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if outputs is not None and self._file is not None:
            self._file.append(VideoResults(**outputs))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from gcvideo.report.write import write_report

        task = cast(VideoTask, pl_module)
        data = trainer.datamodule  # type: ignore[attr-defined]
        gather_broken(trainer, data.datasets["test"])
        results = task.scores.compute()  # on every rank: it gathers
        page = _on_rank_zero(
            trainer, lambda: write_report(self.run_dir, task, data, results, self.config, self.checkpoint)
        )
        if page is not None:
            rank_zero_info(f"report: {page}")
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)  # on every rank: each node may have a disk of its own
        trainer.strategy.barrier()  # before another test may lock the folder
        self._open.close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._open.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._open.close()


def _on_rank_zero(trainer: pl.Trainer, work: Callable[[], Value]) -> Value:
    """Do something on rank 0 while the others wait; its value, or its error, is that of all ranks."""
    outcome: Value | GcvideoError | None = None
    if trainer.is_global_zero:
        try:
            outcome = work()
        except GcvideoError as error:  # else the others would wait until their time limit
            outcome = error
    outcome = trainer.strategy.broadcast(outcome)
    if isinstance(outcome, GcvideoError):
        raise outcome
    return cast(Value, outcome)
