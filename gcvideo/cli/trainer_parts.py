"""What the Trainer of a run has besides what the user configures: callbacks, loggers, plugins."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from gcvideo.files import replacing
from gcvideo.training.best_checkpoint import BestBy, BestCheckpoint
from gcvideo.training.callbacks import BrokenVideos, FitMarker, Throughput
from gcvideo.training.checkpoint_io import SafeCheckpointIO
from gcvideo.training.doubts import Doubts
from gcvideo.training.last_checkpoint import LastCheckpoint
from gcvideo.training.lines import ProgressLines, StartLine
from gcvideo.training.precise_bn import PreciseBatchNorm
from gcvideo.training.random_state import RandomState


@dataclass(frozen=True)
class TrainerParts:
    """The parts for one verb.

    Args:
        verb: "fit", "validate" or "test".
        run_dir: folder of the run.
        writes: whether the run writes into it.
    """

    verb: str
    run_dir: Path
    writes: bool

    def callbacks(self, config: Namespace, trainer: Any) -> list[Any]:
        """Those of the user, then those of every run.

        Args:
            config: settings of the verb.
            trainer: of them, arguments of the Trainer, with the user's callbacks as objects.
        """
        own = trainer.get("callbacks") or []
        own = own if isinstance(own, list | tuple) else [own]
        for callback in own:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.run_dir / "checkpoints")  # where `--ckpt_path` looks
        has_own_bar = any(isinstance(callback, ProgressBar) for callback in own)
        saves = self.writes and self.verb == "fit" and trainer.get("enable_checkpointing") is not False
        callbacks: list[Any] = [*own, BrokenVideos(), RandomState()]
        if shows_bar(trainer) and not has_own_bar:
            callbacks.append(_ProgressBar())
        elif not has_own_bar:
            callbacks.append(ProgressLines())
        callbacks.append(Doubts())
        if self.verb == "fit":
            callbacks += [StartLine(), Throughput()]
            if saves:
                best = self._best_checkpoint(config.best_by, trainer)
                callbacks += [best, FitMarker(self.run_dir, best, self._next_command(config))]
            if config.ema_decay is not None:
                callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
            if config.precise_bn is not None:
                callbacks.append(PreciseBatchNorm(config.precise_bn))  # after the averaging: for the averaged weights
        elif self.verb == "test":
            from gcvideo.report.callback import TestReport  # no other verb needs the report

            callbacks.append(TestReport(self.run_dir, config.as_dict(), config.ckpt_path))
        if saves or self.verb != "fit":  # where nothing is saved, it stops on a signal
            callbacks.append(LastCheckpoint(self.run_dir / "checkpoints", config.save_every_minutes))
        return callbacks

    def _next_command(self, config: Namespace) -> str:
        runs_dir = [] if config.runs_dir == "runs" else ["--runs_dir", str(config.runs_dir)]
        return shlex.join(["gcvideo", "test", "--name", str(config.name), *runs_dir])

    def _best_checkpoint(self, by: BestBy, trainer: Any) -> ModelCheckpoint:
        """best.ckpt."""
        return BestCheckpoint(self.run_dir / "checkpoints", by, validates=trainer.get("limit_val_batches") != 0)

    def loggers(self, requested: Any) -> Any:
        """Loggers of the run. Only `fit` logs without being asked to: to TensorBoard, and always to the CSV files from
        which the report draws its curves.
        """
        is_default = requested in (None, True)
        if self.verb != "fit":
            return False if is_default else requested
        if requested is False or not self.writes:
            return False
        if is_default:
            requested = TensorBoardLogger(self.run_dir, name="tensorboard", version="")
        loggers = list(requested) if isinstance(requested, list | tuple) else [requested]
        # A CSVLogger deletes the file that it finds: each session of a run writes a version of its own.
        return [*loggers, CSVLogger(self.run_dir, name="metrics")]

    def plugins(self, requested: Any) -> list[Any]:
        """Those of the user with our `CheckpointIO`, unless the user has brought another."""
        own = list(requested) if isinstance(requested, list | tuple) else [] if requested is None else [requested]
        has_io = any(isinstance(plugin, CheckpointIO) for plugin in own)
        return own if has_io else [*own, SafeCheckpointIO()]


def shows_bar(trainer: Any) -> bool:
    """Whether a progress bar is shown: where the user asks for it, else on a terminal."""
    requested = trainer.get("enable_progress_bar")
    return sys.stdout.isatty() if requested is None else bool(requested)


class SaveConfig(SaveConfigCallback):
    """Writes the configuration of a `fit` to config.yaml in the run's folder, once the training can start."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Nothing: a run that can't be resumed must not lose the configuration of the one before."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        # Lightning's own file goes to the current folder without a logger, where a second run finds it and fails.
        with replacing(Path(self.config.runs_dir) / self.config.name / "config.yaml") as partial:
            # overwrite, because a resumed run has a config.yaml already. Without validation, because the run has begun
            # with these settings; jsonargparse would take a second for 700 class names.
            self.parser.save(self.config, str(partial), skip_none=False, skip_validation=True, overwrite=True)


class _ProgressBar(TQDMProgressBar):
    """Without the version number, which is always empty here."""

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items
