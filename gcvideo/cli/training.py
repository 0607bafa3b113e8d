"""`fit`, `validate`, `test` and `predict`: LightningCLI, made strict and kind.

- An unknown or abbreviated key, in YAML or on the command line, is an error of at most five lines with a suggestion;
  the exit status is 2.
- A run lives in one folder, `<runs_dir>/<name>`: checkpoints/, tensorboard/, metrics/, config.yaml, report.*. A second
  `fit` into it must say that it goes on (`--ckpt_path last`).
- `--ckpt_path` takes a file, `last` or `best` (of this run). `validate`, `test` and `predict` use `best` if none is
  given, and take every setting that was not given from the checkpoint.
- `fit` takes its settings from the configuration alone, also when it goes on from a checkpoint.
"""

import difflib
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.dataset import BrokenVideoError
from gcvideo.data.listing import ManifestError
from gcvideo.data.manifest import read_class_names
from gcvideo.data.shards import ShardError
from gcvideo.download import DownloadError
from gcvideo.models import WeightsError
from gcvideo.training.callbacks import BrokenVideos, PrintPredictions, TestReport, Throughput
from gcvideo.training.task import VideoTask

VERBS = ("fit", "validate", "test", "predict")


class RunError(ValueError):
    """The run can't begin as it was asked for."""


class StrictParser(LightningArgumentParser):
    """Refuses abbreviations, and tells errors in a few lines."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return []  # argparse would accept any unambiguous prefix of an option

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print at most five lines and exit with 2."""
        lines = [line.strip() for line in str(message).splitlines() if line.strip()]
        text = lines[0] if lines else "bad arguments"
        detail = [line for line in lines[1:] if re.search(r"^Expected|line \d+, column", line)]
        shown = [f"error: {text[:300]}", *(line[:300] for line in detail[-1:])]
        match = re.search(r"option '([\w.]+)'", message) or re.search(r"--([\w.]+)", message)
        if match:
            near = difflib.get_close_matches(match[1], self._keys(), n=3, cutoff=0.5)
            if near:
                shown.append(f"did you mean: {', '.join(near)}?")
        shown.append(f"'gcvideo {self._verb()} --help' lists every option")
        sys.stderr.write("\n".join(shown) + "\n")
        sys.exit(2)

    def _verb(self) -> str:
        return next((verb for verb in VERBS if verb in sys.argv[1:]), "fit")

    def _keys(self) -> list[str]:
        subparsers = self._subcommands_action  # None in the parser of a verb
        parser = subparsers.choices[self._verb()] if subparsers is not None else self
        return [action.dest for action in parser._actions if action.dest not in ("help", "config")]


class SaveConfig(SaveConfigCallback):
    """Writes the configuration of a `fit` to config.yaml in the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            folder = Path(self.config.runs_dir) / self.config.name
            folder.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, folder / "config.yaml", skip_none=False, overwrite=True)


class GcvideoCLI(LightningCLI):
    """See the head of this module."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str, default="default", help="Name of the run: its folder in runs_dir.")
        parser.add_argument("--runs_dir", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--ema_decay",
            type=float | None,
            default=None,
            help="Evaluate and save an exponential moving average of the weights with this decay, such as 0.999.",
        )
        parser.set_defaults({"trainer.num_sanity_val_steps": 0, "trainer.use_distributed_sampler": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        argv = sys.argv[1:] if args is None else args
        self.given = parser.parse_args(argv, defaults=False)

    def _parse_ckpt_path(self) -> None:
        """Not Lightning's: that lets the checkpoint silently win over the command line."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self._verb]
        self.run_dir = Path(config.runs_dir) / config.name
        config.ckpt_path = self._checkpoint(config.ckpt_path)
        if self.subcommand != "fit":
            self._adopt_settings(config)
        if config.model.class_names is None:
            config.model.class_names = config.data.class_names or read_class_names(config.data.manifest or "")
        config.data.class_names = list(config.model.class_names)
        if "seed" not in (self.given[self._verb].get("data") or {}):
            config.data.seed = config.seed_everything

    @property
    def _verb(self) -> str:
        return str(self.subcommand)

    def _checkpoint(self, wanted: str | None) -> str | None:
        """Path of the checkpoint to start from."""
        folder = self.run_dir / "checkpoints"
        if self.subcommand == "fit" and wanted is None:
            if (folder / "last.ckpt").exists() and not self.config.fit.trainer.fast_dev_run:
                raise RunError(
                    f"{self.run_dir} holds a run already: add --ckpt_path last to continue it, or take another --name"
                )
            return None
        wanted = wanted or "best"
        path = folder / f"{wanted}.ckpt" if wanted in ("last", "best") else Path(wanted)
        if not path.is_file():
            raise RunError(
                f"no checkpoint {path}: give --ckpt_path <file>, or the --name of a run that has been fitted"
            )
        return str(path)

    def _adopt_settings(self, config: Any) -> None:
        """Take from the checkpoint what the user did not say."""
        checkpoint = torch.load(config.ckpt_path, map_location="cpu", weights_only=True, mmap=True)
        given = self.given[self._verb]
        for group, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            said = given.get(group) or {}
            for name, value in checkpoint.get(key, {}).items():
                if name in config[group] and name not in said:
                    config[group][name] = value

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise RunError(str(error)) from error
        self.model.starts_from_weights = self.config_init[self._verb].ckpt_path is None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config[self._verb]
        trainer = self._get(self.config_init, "trainer")
        callbacks = [*(trainer.get("callbacks") or []), BrokenVideos()]
        if trainer.get("enable_progress_bar") is not False:
            callbacks.append(_ProgressBar())
        if self.subcommand == "fit":
            callbacks.append(Throughput())
            if trainer.get("enable_checkpointing") is not False:
                callbacks.append(
                    ModelCheckpoint(
                        dirpath=self.run_dir / "checkpoints",
                        filename="best",
                        monitor="val/video_top1" if trainer.get("limit_val_batches") != 0 else None,
                        mode="max",
                        save_last=True,
                        enable_version_counter=False,
                    )
                )
            if config.ema_decay is not None:
                callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
        elif self.subcommand == "test":
            callbacks.append(TestReport(self.run_dir, config.as_dict(), config.ckpt_path))
        elif self.subcommand == "predict":
            callbacks.append(PrintPredictions())
        if trainer.get("logger") in (None, True):
            kwargs["logger"] = self._loggers() if self.subcommand == "fit" else False
        return super().instantiate_trainer(callbacks=callbacks, default_root_dir=str(self.run_dir), **kwargs)

    def _loggers(self) -> list[Any]:
        # A CSVLogger deletes the file that it finds: each session writes its own version.
        return [
            TensorBoardLogger(self.run_dir, name="tensorboard", version=""),
            CSVLogger(self.run_dir, name="metrics"),
        ]


def load_task(checkpoint: str) -> VideoTask:
    """The task of a checkpoint, with its weights, on the CPU.

    Raises:
        RunError: no such file, or not a checkpoint of this project.
    """
    if not Path(checkpoint).is_file():
        raise RunError(f"no checkpoint {checkpoint}")
    try:
        return VideoTask.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no checkpoint fail in any way
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(f"{checkpoint} is not a checkpoint of gcvideo: {reason[0][:200]}") from error


class _ProgressBar(TQDMProgressBar):
    """Without the version number, which says nothing here."""

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items


def run(args: Sequence[str]) -> int:
    """Run one verb; 0 if it went well, 2 for a bad request, 1 for videos that can't be decoded."""
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)  # pytorchvideo's
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")  # a test needs none
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # ours is: see TrainSampler
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning's
    warnings.filterwarnings("ignore", message=".*`IterableDataset` has `__len__`.*")  # ours is right: see streams
    try:
        GcvideoCLI(
            VideoTask,
            VideoDataModule,
            args=None if list(args) == sys.argv[1:] else list(args),
            parser_class=StrictParser,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
        )
    except (RunError, ManifestError, WeightsError, DownloadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BrokenVideoError, ShardError) as error:
        last = str(error).strip().splitlines()[-1]  # from a worker: behind its traceback, with the name of the class
        print(f"error: {re.sub(r'^gcvideo[.][.a-z]+[.][A-Z][A-Za-z]+Error: ', '', last)}", file=sys.stderr)
        return 1
    return 0
