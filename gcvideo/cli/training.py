"""`fit`, `validate` and `test`: LightningCLI with strict parsing and short errors.

- An unknown or abbreviated key, in YAML or on the command line, is an error with a suggestion; the exit status is 2.
- A run lives in one folder, `<runs_dir>/<name>`: checkpoints/, tensorboard/, metrics/, config.yaml, report.*. One
  process works in it at a time. A second `fit` into it must ask to resume (`--ckpt_path auto`).
- `--ckpt_path` takes a file, or of this run `last`, `best` or `auto`: see `cli.checkpoints`. `validate` and `test` use
  `best` by default, and take what the command line and the files do not set from the checkpoint and from the run: see
  `cli.adopted`.
- `fit` takes its settings from the configuration only, also when it resumes.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gcvideo import processes
from gcvideo.cli.adopted import adopted_settings
from gcvideo.cli.checkpoints import (
    checkpoint_to_evaluate,
    checkpoint_to_resume,
    refuse_other_classes,
    refuse_other_labels,
)
from gcvideo.cli.config_files import check_config_files
from gcvideo.cli.quiet import silence_foreign_messages
from gcvideo.cli.strict_parser import StrictParser
from gcvideo.cli.trainer_parts import SaveConfig, TrainerParts, shows_bar
from gcvideo.cli.trusted import restrict_imports
from gcvideo.cli.user_errors import lightning_errors, one_line, out_of_memory
from gcvideo.cli.values import check_values
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.loader import LoaderError, explain
from gcvideo.data.manifest import manifest_of, read_class_names
from gcvideo.errors import UsageError
from gcvideo.files import remove_partial
from gcvideo.locking import locked
from gcvideo.models import block_parameters
from gcvideo.training.best_checkpoint import BestBy
from gcvideo.training.checkpoint import read_settings, refuse_other_network
from gcvideo.training.rank_launch import watch_ranks
from gcvideo.training.task import VideoTask


class GcvideoCLI(LightningCLI):
    """One verb of the training command line; see the head of this module.

    Attributes:
        writes: whether it writes the checkpoints, logs and configuration of a run.
    """

    writes = True

    def __init__(self, verb: str, args: list[str], locks: ExitStack | None = None):
        self.verb, self.locks = verb, locks or ExitStack()
        StrictParser.verb = verb
        args = restrict_imports(args)
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
        """The one verb that runs: to build the parsers of all three costs a second."""
        # No --weights_only: checkpoints are always read without running code, see `_prepare_subcommand_kwargs`.
        return {self.verb: LightningCLI.subcommands()[self.verb] | {"weights_only"}}

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return {**super()._prepare_subcommand_kwargs(subcommand), "weights_only": True}

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
            "--best_by",
            type=BestBy,
            default="val/video_top1",
            help="what makes a checkpoint of a fit the best; with few validation videos take latest; with "
            "data.label_separator val/video_map is the default",
        )
        parser.add_argument(
            "--save_every_minutes",
            type=float,
            default=15.0,
            help="fit saves its state to last.ckpt this often, besides at each validation and on SIGTERM, SIGINT and "
            "SIGUSR1",
        )
        parser.add_argument(
            "--accept_changes",
            type=bool,
            default=False,
            help="resume although the training videos or their order are no longer those of the checkpoint; an "
            "interrupted epoch then begins anew",
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
            try:
                super().parse_arguments(parser, args)
            except UnicodeDecodeError as error:
                raise UsageError(f"a configuration file is not text in UTF-8: {error}") from error
        self.set_by_user = parser.parse_args(args, defaults=False)[self.verb]  # command line and files only
        check_values(self.verb, self.config[self.verb])  # here, because Lightning sets the seed next
        check_block_options(self._parser(self.verb), self.config[self.verb].model)
        if self.config[self.verb].data.label_separator is None:
            _refuse_lost_separator(args)

    def _parse_ckpt_path(self) -> None:
        """Replaces Lightning's, in which the checkpoint silently wins over the command line."""

    def _add_instantiators(self) -> None:
        """Replaces Lightning's, which store the raw configuration: our classes store their validated settings."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.verb]
        self.run_dir = Path(config.runs_dir) / config.name
        self.writes = self.writes and self.verb == "fit" and not config.trainer.fast_dev_run
        if _is_first_process() and self.writes:
            self.locks.enter_context(locked(self.run_dir))  # a test may run next to the training of its run
            remove_partial(self.run_dir)
            remove_partial(self.run_dir / "checkpoints")
        # In this order: the class names may come from the checkpoint, and the data must count by the same ones.
        config.ckpt_path = self._checkpoint(config.ckpt_path)
        if self.verb != "fit":
            stored_names = self._adopt_settings(config)
        elif config.ckpt_path is not None:
            stored = read_settings(config.ckpt_path)["model"]
            stored_names = stored["class_names"]
            refuse_other_labels(config.ckpt_path, stored, config.data.label_separator)
        self._choose_labels(config)
        if config.model.class_names is None:
            names = config.data.class_names
            if names is None:
                names = read_class_names(manifest_of(config.data.manifest), config.data.label_separator)
            config.model.class_names = names
        if config.ckpt_path is not None:
            refuse_other_classes(config.ckpt_path, stored_names, config.model.class_names)
        config.data.class_names = list(config.model.class_names)
        if "data.seed" not in self.set_by_user:
            config.data.seed = config.seed_everything

    def _choose_labels(self, config: Namespace) -> None:
        """One class for each video, or several: the data decides, and a checkpoint for its own model."""
        several = config.data.label_separator is not None
        is_given = self.verb != "fit" or "model.multi_label" in self.set_by_user
        if is_given and config.model.multi_label != several:
            raise UsageError(
                f"model.multi_label {config.model.multi_label} does not go with data.label_separator "
                f"{config.data.label_separator!r}: videos with several labels need both"
            )
        config.model.multi_label = several
        if "best_by" not in self.set_by_user:
            config.best_by = "val/video_map" if several else "val/video_top1"
        elif config.best_by == "val/video_map" and not several:
            raise UsageError("best_by val/video_map is for videos with several labels: expected data.label_separator")

    def _checkpoint(self, requested: str | None) -> str | None:
        """Path of the checkpoint to start from."""
        if self.verb == "fit":
            return checkpoint_to_resume(self.run_dir, requested, self.writes)
        return checkpoint_to_evaluate(self.run_dir, requested)

    def _adopt_settings(self, config: Namespace) -> list[str]:
        """Take what the user has not set from the checkpoint and its run, setting by setting; see `adopted`.

        Returns:
            The class names of the checkpoint.
        """
        stored = adopted_settings(Path(config.ckpt_path), self.run_dir)
        network = stored["model"].pop("net", None)
        if network is not None and config.model.net is None:  # a checkpoint must not choose which code is imported
            raise UsageError(f"the run was trained with a network of its own, {network}: pass it as --model.net")
        for group, settings in stored.items():
            for key in list(config[group].keys()):  # leaves, such as "optim.lr_batch"
                found, value = _look_up(settings, key)
                if found and f"{group}.{key}" not in self.set_by_user:
                    config[group][key] = value
        if config.data.manifest is None:
            raise UsageError(
                f"{config.ckpt_path} does not belong to a run in {self.run_dir}, whose config.yaml would name the "
                f"videos: pass --data.manifest"
            )
        checked = config.clone()
        checked.model.class_names = checked.data.class_names = None  # checked already; here it takes quadratic time
        try:
            self._parser(self.verb).validate(checked)
        except (TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"{config.ckpt_path}: not the settings of a run: {reason}") from error
        names: list[str] = stored["model"]["class_names"]  # `read_settings` has checked them
        return names

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise UsageError(one_line(error)) from error
        checkpoint = self.config_init[self.verb].ckpt_path
        if checkpoint is not None:
            refuse_other_network(self.model, checkpoint)  # before anything of the run is touched
        self.model.starts_from_weights = checkpoint is None
        self.datamodule.accept_changes = self.config_init[self.verb].accept_changes

    def _run_subcommand(self, subcommand: str) -> None:
        with out_of_memory(self.verb, self.datamodule.hparams):
            super()._run_subcommand(subcommand)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config[self.verb]
        trainer = self._get(self.config_init, "trainer")
        parts = TrainerParts(self.verb, self.run_dir, self.writes)
        callbacks = parts.callbacks(config, trainer)
        kwargs["logger"] = parts.loggers(trainer.get("logger"))
        kwargs["plugins"] = parts.plugins(trainer.get("plugins"))
        if not shows_bar(trainer) and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            kwargs["enable_progress_bar"] = False  # else Lightning would bring its own
        if trainer.get("enable_model_summary") is None:
            kwargs["enable_model_summary"] = False  # `StartLine` says what is of interest in one line
        trainer = super().instantiate_trainer(callbacks=callbacks, default_root_dir=str(self.run_dir), **kwargs)
        watch_ranks(trainer, config.rank_timeout_s)
        return trainer


def _is_first_process() -> bool:
    """Whether this is rank 0, or will be: before there is a Trainer, the launcher's environment tells."""
    # Lightning's own launcher starts one process on each node, which has no rank yet.
    return getattr(rank_zero_only, "rank", 0) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def _look_up(settings: dict[str, Any], key: str) -> tuple[bool, Any]:
    """Whether nested settings have a dotted key, and its value."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _refuse_lost_separator(args: Sequence[str]) -> None:
    """Refuse a separator that YAML reads as nothing."""
    option = "--data.label_separator"
    for index, argument in enumerate(args):
        value = argument.removeprefix(f"{option}=") if argument.startswith(f"{option}=") else None
        if argument == option and index + 1 < len(args):
            value = args[index + 1]
        if value not in (None, "null"):
            raise UsageError(f"data.label_separator {value} means nothing in YAML: quote it twice, '\"{value}\"'")


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


def run(verb: str, args: Sequence[str]) -> int:
    """Run `fit`, `validate` or `test`; returns the exit status.

    Raises:
        GcvideoError: a bad request, or videos that cannot be decoded.
    """
    silence_foreign_messages()
    sys.path.append(os.getcwd())  # for --model.net my_package.MyNet; last, so that it hides nothing
    check_config_files(args)
    with lightning_errors(), ExitStack() as locks:
        try:
            GcvideoCLI(verb, list(args), locks)
        except RuntimeError as error:
            told = explain(error)
            if told is None:
                raise
            loss = LoaderError(told)
            loss.prefix = processes.who
            raise loss from None
    return 0
