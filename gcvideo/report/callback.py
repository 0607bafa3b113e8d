"""The callback that writes a report after a test."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.errors import UsageError
from gcvideo.training.task import VideoTask


class TestReport(Callback):
    """Writes report.json, predictions.csv and report.html after `Trainer.test(task, data_module)`.

    Args:
        run_dir: folder to write into; the learning curves are read from its metrics/.
        config: settings to show and to store in report.json.
        checkpoint: path of the weights, to show.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, run_dir: Path, config: dict[str, Any], checkpoint: str):
        self.run_dir, self.config, self.checkpoint = run_dir, config, checkpoint

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before the work what the report could not be made of.

        Raises:
            UsageError: the test has loaders and no `VideoDataModule`, which knows the videos' names and views.
        """
        if stage == "test" and not isinstance(getattr(trainer, "datamodule", None), VideoDataModule):
            raise UsageError("a report needs the names and views of the videos: test with a VideoDataModule")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from gcvideo.report.write import write_report  # matplotlib: only where a report is written

        task = cast(VideoTask, pl_module)
        results = task.scores.compute()  # on every rank: it gathers
        task.scores.reset()  # else a second test would find every video counted twice
        if trainer.is_global_zero:
            data = trainer.datamodule  # type: ignore[attr-defined]
            report = write_report(self.run_dir, task, data, results, self.config, self.checkpoint)
            rank_zero_info(f"report: {report}")
