"""Checkpoints of runs. Nothing in a file is ever run, and no network is built that the file has no weights of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcvideo.errors import UsageError
from gcvideo.models.torch_file import MAX_CLASSES, reason_of
from gcvideo.training.checkpoint_io import read
from gcvideo.training.package import SUFFIX as PACKAGE_SUFFIX
from gcvideo.training.package import read_package
from gcvideo.training.task import VideoTask


def load_task(checkpoint: str | Path, net: nn.Module | None = None) -> VideoTask:
    """The task of a checkpoint, with its weights, on the CPU.

    Args:
        checkpoint: file.
        net: for a run with a network of its own, an instance of it.

    Raises:
        UsageError: no such file, not a checkpoint of gcvideo, or one of another network.
    """
    content = _read(checkpoint)
    try:
        return task_of(_settings(content)["model"], content["state_dict"], net)
    except UsageError:  # says more than "not a checkpoint", such as which network to pass
        raise
    except Exception as error:  # bytes that are no checkpoint fail in any way
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {reason_of(error)}") from error


def task_of(settings: dict[str, Any], state: dict[str, Any], net: nn.Module | None = None) -> VideoTask:
    """The task of the settings of a model, with its weights; nothing is built that the weights are not of.

    Args:
        settings: arguments of `VideoTask`, as plain values.
        state: its weights.
        net: for a network of its own, an instance of it.

    Raises:
        UsageError: the settings are of a network of its own, and there is no `net`; or the other way round.
        Exception: of any kind, if they are not settings, or the weights are not theirs.
    """
    if net is not None:
        if settings.get("net") is None:
            raise UsageError(f"expected no net: the checkpoint is of the network {settings.get('network')}")
        settings = {**settings, "net": net}
    else:
        _check_size(settings, state)
    task = VideoTask(**settings)
    task.load_state_dict(state)
    return task


def read_settings(checkpoint: str | Path) -> dict[str, dict[str, Any]]:
    """Settings that a run was trained with: {"model": ..., "data": ...}, nested as in its configuration.

    Raises:
        UsageError: not a checkpoint, or one whose weights are not those of its settings.
    """
    content = _read(checkpoint)
    try:
        settings = _settings(content)
        if settings["model"].get("net") is None:  # a network of one's own is passed, not built from the file
            _check_size(settings["model"], content["state_dict"])
        return settings
    except Exception as error:  # as above
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {reason_of(error)}") from error


def _read(checkpoint: str | Path) -> dict[str, Any]:
    if not Path(checkpoint).is_file():
        raise UsageError(f"no checkpoint {checkpoint}")
    if Path(checkpoint).suffix == PACKAGE_SUFFIX:
        try:
            return read_package(checkpoint)
        except ValueError as error:
            raise UsageError(f"{checkpoint} is not a package of gcvideo: {error}") from error
    return read(checkpoint, mmap=True)  # because often only the settings are needed and no weights


def refuse_other_network(task: VideoTask, checkpoint: str | Path) -> None:
    """Refuse a checkpoint whose tensors are not those of the task.

    Raises:
        UsageError: names the first of them.
    """
    wrong = _other_tensors(task.state_dict(), _read(checkpoint)["state_dict"])
    if wrong:
        raise UsageError(
            f"{checkpoint} does not fit the network ({len(wrong)} tensors): {wrong[0]}; resume with the settings of "
            f"its run, or start from its weights with --model.weights"
        )


def _other_tensors(expected: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """What is missing, too much, or of another shape in a state dict."""
    shapes = [{key: getattr(value, "shape", None) for key, value in tensors.items()} for tensors in (expected, state)]
    wanted, found = shapes
    return [
        f"{key} has shape {_listed(found.get(key))}, expected {_listed(wanted.get(key))}"
        for key in sorted(wanted.keys() | found.keys(), key=str)  # a file may have anything as names
        if wanted.get(key) != found.get(key) or (key in wanted) != (key in found)
    ]


def _listed(shape: Any) -> Any:
    return None if shape is None else list(shape)


def _settings(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    settings = {
        "model": content.get("hyper_parameters"),
        "data": content.get("datamodule_hyper_parameters", {}),
    }
    for group, values in settings.items():
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise ValueError(f"it has no settings of the {group}")
    names = settings["model"].get("class_names")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_CLASSES or not all(type(n) is str for n in names):
        raise ValueError(f"expected 1 to {MAX_CLASSES:,} class names")
    return {group: dict(values) for group, values in settings.items()}


def _check_size(settings: dict[str, Any], state: Any) -> None:
    """Compare the shapes of the weights with those of the settings, before memory for the latter is allocated."""
    if not isinstance(state, dict):
        raise ValueError("it has no weights")
    with torch.device("meta"):  # shapes without memory
        expected = VideoTask(**settings).state_dict()
    wrong = _other_tensors(expected, state)
    if wrong:
        raise ValueError(f"{len(wrong)} weights are not those of its settings: {wrong[0]}")
