"""`fit`, `validate`, `test` and `predict`: LightningCLI with strict parsing and short errors.

- An unknown or abbreviated key, in YAML or on the command line, is an error with a suggestion; the exit status is 2.
- A run lives in one folder, `<runs_dir>/<name>`: checkpoints/, tensorboard/, metrics/, config.yaml, report.*. A second
  `fit` into it must ask to resume (`--ckpt_path last`).
- `--ckpt_path` takes a file, `last` or `best` (of this run). `validate`, `test` and `predict` use `best` by default,
  and take from the checkpoint every setting that the command line and the files do not set.
- `fit` takes its settings from the configuration only, also when it resumes.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from gcvideo import processes
from gcvideo.cli.strict_parser import StrictParser
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.loader import LoaderError, explain
from gcvideo.data.manifest import read_class_names
from gcvideo.errors import UsageError
from gcvideo.models import block_parameters
from gcvideo.training.callbacks import BrokenVideos, PrintPredictions, Throughput
from gcvideo.training.checkpoint import read_settings
from gcvideo.training.precise_bn import PreciseBatchNorm
from gcvideo.training.rank_launch import watch_ranks
from gcvideo.training.task import VideoTask


class SaveConfig(SaveConfigCallback):
    """Writes the configuration of a `fit` to config.yaml in the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            # Lightning's own file goes to the current folder without a logger, where a second run finds it and fails.
            folder = Path(self.config.runs_dir) / self.config.name
            folder.mkdir(parents=True, exist_ok=True)
            # overwrite, because a resumed run has a config.yaml already.
            self.parser.save(self.config, folder / "config.yaml", skip_none=False, overwrite=True)


class GcvideoCLI(LightningCLI):
    """One verb of the training command line; see the head of this module."""

    def __init__(self, verb: str, args: list[str]):
        self.verb = verb
        StrictParser.verb = verb
        super().__init__(
            VideoTask,
            VideoDataModule,
            args=[verb, *args],
            parser_class=StrictParser,
            seed_everything_default=0,
            # `VideoTask` builds its optimizer; Lightning would add --optimizer and --lr_scheduler.
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one verb that runs: to build the parsers of all four costs a second."""
        return {self.verb: LightningCLI.subcommands()[self.verb]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str, default="default", help="name of the run: its folder in runs_dir")
        parser.add_argument("--runs_dir", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--ema_decay",
            type=float | None,
            default=None,
            help="evaluate and save an exponential moving average of the weights with this decay, such as 0.999",
        )
        parser.add_argument(
            "--precise_bn",
            type=int | None,
            default=None,
            help="before each evaluation of a fit, compute the batch-norm statistics from this many training batches "
            "of each device, at most an epoch; PySlowFast's recipes take 200",
        )
        parser.add_argument(
            "--rank_timeout_s",
            type=NonNegativeFloat,
            default=600.0,
            help="with several devices or nodes: seconds without an answer of one of them, or without any progress, "
            "before the run stops and tells which it is; 0 waits for ever",
        )
        # Our samplers split the videos among ranks; Lightning's would pad, and so count videos twice.
        parser.set_defaults({"trainer.num_sanity_val_steps": 0, "trainer.use_distributed_sampler": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")  # we pass sys.argv's
            super().parse_arguments(parser, args)
        self.set_by_user = parser.parse_args(args, defaults=False)[self.verb]  # command line and files only
        check_block_options(self._parser(self.verb), self.config[self.verb].model)

    def _parse_ckpt_path(self) -> None:
        """Replaces Lightning's, in which the checkpoint silently wins over the command line."""

    def _add_instantiators(self) -> None:
        """Replaces Lightning's, which store the raw configuration: our classes store their validated settings."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.verb]
        self.run_dir = Path(config.runs_dir) / config.name
        # In this order: the class names may come from the checkpoint, and the data must count by the same ones.
        config.ckpt_path = self._checkpoint(config.ckpt_path)
        if self.verb != "fit":
            self._adopt_settings(config)
        if config.model.class_names is None:
            config.model.class_names = config.data.class_names or read_class_names(config.data.manifest or "")
        config.data.class_names = list(config.model.class_names)
        if "data.seed" not in self.set_by_user:
            config.data.seed = config.seed_everything

    def _checkpoint(self, requested: str | None) -> str | None:
        """Path of the checkpoint to start from."""
        folder = self.run_dir / "checkpoints"
        if self.verb == "fit" and requested is None:
            # A new fit would overwrite the checkpoints of that run; a fast_dev_run writes none.
            if (folder / "last.ckpt").exists() and not self.config.fit.trainer.fast_dev_run:
                raise UsageError(
                    f"{self.run_dir} holds a run already: add --ckpt_path last to resume it, or choose another --name"
                )
            return None
        requested = requested or "best"
        path = folder / f"{requested}.ckpt" if requested in ("last", "best") else Path(requested)
        if not path.is_file():
            raise UsageError(
                f"no checkpoint {path}: pass --ckpt_path <file>, or the --name of a run that has been fitted"
            )
        return str(path)

    def _adopt_settings(self, config: Namespace) -> None:
        """Take from the checkpoint what the user has not set, setting by setting."""
        stored = read_settings(config.ckpt_path)
        network = stored["model"].pop("net", None)
        if network is not None and config.model.net is None:  # a checkpoint must not choose which code is imported
            raise UsageError(f"the run was trained with a network of its own, {network}: pass it as --model.net")
        for group, settings in stored.items():
            for key in list(config[group].keys()):  # leaves, such as "optim.lr_batch"
                found, value = _look_up(settings, key)
                if found and f"{group}.{key}" not in self.set_by_user:
                    config[group][key] = value

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.model.starts_from_weights = self.config_init[self.verb].ckpt_path is None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config[self.verb]
        trainer = self._get(self.config_init, "trainer")
        own_callbacks = trainer.get("callbacks") or []
        for callback in own_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.run_dir / "checkpoints")  # where `--ckpt_path` looks
        callbacks = [*own_callbacks, *self._callbacks(config, trainer, own_callbacks)]
        kwargs["logger"] = self._loggers(trainer.get("logger"))
        trainer = super().instantiate_trainer(callbacks=callbacks, default_root_dir=str(self.run_dir), **kwargs)
        watch_ranks(trainer, config.rank_timeout_s)
        return trainer

    def _callbacks(self, config: Namespace, trainer: Any, own_callbacks: Sequence[Any]) -> list[Any]:
        """What every run has besides the callbacks of the user."""
        callbacks: list[Any] = [BrokenVideos()]
        has_bar = any(isinstance(callback, ProgressBar) for callback in own_callbacks)
        if trainer.get("enable_progress_bar") is not False and not has_bar:
            callbacks.append(_ProgressBar())
        if self.verb == "fit":
            callbacks.append(Throughput())
            if trainer.get("enable_checkpointing") is not False:
                callbacks.append(self._checkpoints(trainer))
            if config.ema_decay is not None:
                callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
            if config.precise_bn is not None:
                callbacks.append(PreciseBatchNorm(config.precise_bn))  # after the averaging: for the averaged weights
        elif self.verb == "test":
            from gcvideo.report.callback import TestReport  # no other verb needs the report

            callbacks.append(TestReport(self.run_dir, config.as_dict(), config.ckpt_path))
        elif self.verb == "predict":
            callbacks.append(PrintPredictions())
        return callbacks

    def _checkpoints(self, trainer: Any) -> ModelCheckpoint:
        """best.ckpt by validation accuracy, and last.ckpt."""
        return ModelCheckpoint(
            dirpath=self.run_dir / "checkpoints",
            filename="best",
            # Without a validation there is nothing to monitor: best.ckpt is then the latest.
            monitor="val/video_top1" if trainer.get("limit_val_batches") != 0 else None,
            mode="max",
            save_last=True,
            # With it the next best would be best-v1.ckpt, and `--ckpt_path best` would find the old one.
            enable_version_counter=False,
        )

    def _loggers(self, requested: Any) -> Any:
        """Loggers of the run. Only `fit` logs without being asked to: to TensorBoard, and always to the CSV files from
        which the report draws its curves.
        """
        is_default = requested in (None, True)
        if self.verb != "fit":
            return False if is_default else requested
        if requested is False:
            return False
        if is_default:
            requested = TensorBoardLogger(self.run_dir, name="tensorboard", version="")
        loggers = list(requested) if isinstance(requested, list | tuple) else [requested]
        # A CSVLogger deletes the file that it finds: each session of a run writes a version of its own.
        return [*loggers, CSVLogger(self.run_dir, name="metrics")]


def _look_up(settings: dict[str, Any], key: str) -> tuple[bool, Any]:
    """Whether nested settings have a dotted key, and its value."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value


def check_block_options(parser: LightningArgumentParser, model: Namespace) -> None:
    """Check the types of `model.block` against the block's own signature, which is where its options are declared."""
    options = dict(model.block or {})
    if not options or model.blocks == "none":
        return
    typed = ArgumentParser(exit_on_error=False)
    names = typed.add_class_arguments(block_parameters(model.blocks), "model.block", skip={"in_channels"})
    # `insert_blocks` refuses the others, and says which options the block has.
    known = {name: value for name, value in options.items() if f"model.block.{name}" in names}
    try:
        typed.parse_object({"model": {"block": known}})
    except Exception as error:  # jsonargparse raises its own ArgumentError and others
        parser.error(str(error))


class _ProgressBar(TQDMProgressBar):
    """Without the version number, which is always empty here."""

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items


# Warnings of Lightning that do not apply: each with the reason.
_NOT_APPLICABLE = (
    ".*callbacks used to create the checkpoint.*",  # a test needs none of them
    ".*your dataloader is not resumable.*",  # ours is: see TrainSampler
    ".*treespec, LeafSpec.*",  # deprecation inside Lightning
    ".*`IterableDataset` has `__len__`.*",  # ours is right: see TrainStream
)


def run(verb: str, args: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`; returns the exit status.

    Raises:
        GcvideoError: a bad request, or videos that cannot be decoded.
    """
    for message in _NOT_APPLICABLE:
        warnings.filterwarnings("ignore", message=message)
    sys.path.append(os.getcwd())  # for --model.net my_package.MyNet; last, so that it hides nothing
    processes.may_end = True  # this process is ours
    try:
        GcvideoCLI(verb, list(args))
    except RuntimeError as error:
        told = explain(error)
        if told is None:
            raise
        loss = LoaderError(told)
        loss.prefix = processes.who
        raise loss from None
    finally:
        processes.may_end = False
    return 0
