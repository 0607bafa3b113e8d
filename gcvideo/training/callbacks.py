"""What a run shows and writes besides the training itself."""

import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.training.task import VideoTask


def _data(trainer: pl.Trainer) -> VideoDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]


class Throughput(Callback):
    """Logs `clips/s` (all devices) and `data_wait`, the fraction of the time spent waiting for the loader.

    Both are exponential averages over about 20 batches; the first batch, which starts the workers, is left out.
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
            whole, waited = now - self._end, self._start - self._end
            rate = len(batch[1]) * trainer.world_size / whole
            weight = 0.05 if self.rate else 1.0
            self.rate += weight * (rate - self.rate)
            self.wait += weight * (waited / whole - self.wait)
            pl_module.log("clips/s", self.rate, prog_bar=True)
            pl_module.log("data_wait", self.wait, prog_bar=True)
        self._end = now


class BrokenVideos(Callback):
    """Counts and names the videos that could not be decoded, at the end of each pass."""

    def _tell(self, trainer: pl.Trainer, stage: str) -> None:
        dataset = _data(trainer).datasets.get(stage)
        files = dataset.broken_files() if dataset is not None else []
        if dataset is not None and files:
            rank_zero_warn(f"{len(files)} of {len(dataset)} videos ({stage}) can't be decoded: {', '.join(files[:5])}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tell(trainer, "fit")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tell(trainer, "validate")


class TestReport(Callback):
    """Writes report.json and report.html into the run's folder after the test."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, run_dir: Path, config: dict[str, Any], checkpoint: str):
        self.run_dir, self.config, self.checkpoint = run_dir, config, checkpoint

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from gcvideo.report import write_report

        task = cast(VideoTask, pl_module)
        results = task.scores.compute()  # on every rank: it gathers
        task.scores.reset()
        if trainer.is_global_zero:
            report = write_report(self.run_dir, task, _data(trainer), results, self.config, self.checkpoint)
            rank_zero_info(f"report: {report}")


class PrintPredictions(Callback):
    """Prints the best labels of each video as the prediction goes on."""

    def __init__(self, top: int = 5):
        self.top = top

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if outputs is None:
            return
        names = cast(VideoTask, pl_module).class_names
        videos = _data(trainer).datasets["predict"].videos
        for index, scores in zip(outputs[0].tolist(), outputs[1], strict=True):
            best = scores.topk(min(self.top, len(names)))
            labels = ", ".join(
                f"{names[i]} {p:.3f}" for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            )
            print(f"{videos[index].name}: {labels}", flush=True)
