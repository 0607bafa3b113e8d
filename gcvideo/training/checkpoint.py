"""Checkpoints of runs. Nothing in a file is ever run, and no network is built that the file has no weights of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gcvideo.errors import UsageError
from gcvideo.models.torch_file import MAX_CLASSES, read_torch
from gcvideo.training.task import VideoTask


def load_task(checkpoint: str | Path) -> VideoTask:
    """The task of a checkpoint, with its weights, on the CPU.

    Raises:
        UsageError: no such file, or not a checkpoint of gcvideo.
    """
    content = _read(checkpoint)
    try:
        settings = _settings(content)["model"]
        _check_size(settings, content["state_dict"])
        task = VideoTask(**settings)
        task.load_state_dict(content["state_dict"])
    except UsageError:  # says more than "not a checkpoint", such as which network to pass
        raise
    except Exception as error:  # bytes that are no checkpoint fail in any way
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {_first_line(error)}") from error
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
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {_first_line(error)}") from error


def _read(checkpoint: str | Path) -> dict[str, Any]:
    if not Path(checkpoint).is_file():
        raise UsageError(f"no checkpoint {checkpoint}")
    try:
        # mmap, because often only the settings are needed and no weights.
        content = read_torch(checkpoint, mmap=True)
    except Exception as error:  # as above
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: it is a {type(content).__name__}")
    return content


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
        expected = {key: value.shape for key, value in VideoTask(**settings).state_dict().items()}
    shapes = {key: getattr(value, "shape", None) for key, value in state.items()}
    wrong = sorted(str(key) for key in expected.keys() | shapes.keys() if expected.get(key) != shapes.get(key))
    if wrong:
        raise ValueError(f"{len(wrong)} weights are not those of its settings, such as {wrong[0]}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    asked = [line for line in lines if "GLOBAL" in line or "global" in line]  # what a pickle asks for, if it does
    return (asked or lines)[0].strip()[:200]
