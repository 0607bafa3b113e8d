"""Values of the run and of Lightning's Trainer that would be accepted and then do harm or nothing.

The settings of the model and the data check themselves. Lightning refuses some bad values (`user_errors` shortens its
message) and takes others: `limit_train_batches: 0` trains nothing, and exits with 0.
"""

import inspect
import math
import os
import unicodedata
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.errors import UsageError
from gcvideo.training.task import VideoTask


class _Rule(NamedTuple):
    """Which values of an option are good, and how a message calls them; None is always good."""

    is_good: Callable[[Any], bool]
    expected: str


_TRAINER = {
    "max_epochs": _Rule(lambda value: value >= 1 or value == -1, "at least 1, or -1 for no end"),
    "min_epochs": _Rule(lambda value: value >= 0, "at least 0"),
    "max_steps": _Rule(lambda value: value >= 1 or value == -1, "at least 1, or -1 for no end"),
    "min_steps": _Rule(lambda value: value >= 0, "at least 0"),
    "accumulate_grad_batches": _Rule(lambda value: value >= 1, "at least 1"),
    "gradient_clip_val": _Rule(lambda value: 0 <= value < math.inf, "a finite number of at least 0"),
    "val_check_interval": _Rule(lambda value: not isinstance(value, int | float) or 0 < value < math.inf, "above 0"),
    "check_val_every_n_epoch": _Rule(lambda value: value >= 1, "at least 1"),
    "num_sanity_val_steps": _Rule(lambda value: value >= -1, "at least 0, or -1 for all batches"),
    "log_every_n_steps": _Rule(lambda value: value >= 0, "at least 0"),
    "num_nodes": _Rule(lambda value: value >= 1, "at least 1"),
    "default_root_dir": _Rule(lambda value: False, "nothing: the folder of a run is runs_dir/name"),
}

# Settings by their names; each comes after the one that it is a part of.
_GROUPS = ["model", "data", "trainer"] + [
    f"{group}.{name}"
    for group, kind in (("model", VideoTask), ("data", VideoDataModule))
    for name, parameter in inspect.signature(kind).parameters.items()
    if is_dataclass(parameter.default)
]

# What each verb must not be limited to nothing of.
_NEEDS_BATCHES = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
}


def check_values(verb: str, config: Any) -> None:
    """Check the parsed arguments of a training verb.

    Raises:
        UsageError: the first bad value.
    """
    for group in _GROUPS:
        if not hasattr(config[group], "items"):
            raise UsageError(f"expected {group} to be settings by their names, got {config[group]!r}")
    for key in ("name", "runs_dir", "seed_everything"):
        if config[key] is None:
            raise UsageError(f"{key} is null: leave it out, or set a value")
    for key, value in config.items():
        # Most would stand for the current folder. In the Trainer, classes of others may know an empty value.
        if value == "" and not key.startswith("trainer"):
            raise UsageError(f"{key} is empty: leave it out, or set a value")
    _check_name(config.name)
    if verb == "fit":
        _check_writable(Path(config.runs_dir) / config.name)
    seed = config.seed_everything
    if not isinstance(seed, bool) and not 0 <= seed < 2**32:
        raise UsageError(f"expected seed_everything in 0 to 2**32 - 1, got {seed}")
    decay = config.get("ema_decay")
    if decay is not None and not 0 <= decay < 1:
        raise UsageError(f"expected ema_decay in [0, 1), got {decay}")
    _check_trainer(verb, config.trainer)


def _check_name(name: str) -> None:
    """The name of a run is a folder in `runs_dir`, and can't lead out of it."""
    if name in (".", "..") or "/" in name or "\\" in name or len(name.encode(errors="surrogateescape")) > 200:
        raise UsageError(f"expected name to be that of a folder in runs_dir, of at most 200 bytes, got {name[:300]!r}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise UsageError(f"expected a name that can be printed, got {name!r}")


def _check_writable(folder: Path) -> None:
    """A folder that may not exist yet can be written if the nearest one that does can be."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UsageError(f"can't write into {folder}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"can't write into {folder}: no permission in {there}")


def _check_trainer(verb: str, trainer: Any) -> None:
    for name, rule in _TRAINER.items():
        value = trainer.get(name)
        if value is not None and not rule.is_good(value):
            raise UsageError(f"expected trainer.{name} to be {rule.expected}, got {value}")
    least, most = trainer.get("min_epochs"), trainer.get("max_epochs")
    if least and most and 0 < most < least:
        raise UsageError(f"expected trainer.min_epochs of at most trainer.max_epochs, got {least} and {most}")
    if verb == "fit" and most == -1 and trainer.get("max_steps") in (None, -1):
        raise UsageError("the learning rate needs a run of known length: set trainer.max_epochs or trainer.max_steps")
    limit = _NEEDS_BATCHES[verb]
    if trainer.get(limit) == 0:
        raise UsageError(
            f"trainer.{limit} 0 leaves nothing to do for {verb}: expected a number of batches or a fraction"
        )
    _check_devices(trainer.get("accelerator"), trainer.get("devices"))


def _check_devices(accelerator: Any, devices: Any) -> None:
    has_gpu = CUDAAccelerator.is_available() or MPSAccelerator.is_available()
    if accelerator in ("gpu", "cuda") and not has_gpu:
        raise UsageError(
            f"trainer.accelerator {accelerator}: no GPU is available; expected cpu, or auto for what there is"
        )
    is_number = str(devices).isdecimal()
    if accelerator == "cpu" and devices is not None and devices != "auto" and not (is_number and int(devices) > 0):
        raise UsageError(
            f"expected trainer.devices to be a number of processes with trainer.accelerator cpu, got {devices}"
        )
    if accelerator in (None, "auto") and not has_gpu and is_number and int(devices) > 1:
        raise UsageError(
            f"trainer.devices {devices}: no GPU is available; for {devices} processes on the CPU add "
            f"trainer.accelerator cpu"
        )
