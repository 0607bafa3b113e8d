"""Checkpoints of runs. They are read weights-only: nothing in a file is ever run."""

from pathlib import Path
from typing import Any

import torch

from gcvideo.errors import UsageError
from gcvideo.training.checkpoint_io import DamagedCheckpointError, read
from gcvideo.training.task import VideoTask


def load_task(checkpoint: str | Path) -> VideoTask:
    """The task of a checkpoint, with its weights, on the CPU.

    Raises:
        UsageError: no such file, or not a checkpoint of gcvideo.
    """
    if not Path(checkpoint).is_file():
        raise UsageError(f"no checkpoint {checkpoint}")
    try:
        return VideoTask.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    except UsageError:  # says more than "not a checkpoint", such as which network to pass
        raise
    except Exception as error:  # bytes that are no checkpoint fail in any way
        raise UsageError(f"{checkpoint} is not a checkpoint of gcvideo: {_first_line(error)}") from error


def read_settings(checkpoint: str | Path) -> dict[str, dict[str, Any]]:
    """Settings that a run was trained with: {"model": ..., "data": ...}, nested as in its configuration.

    Raises:
        UsageError: not a checkpoint.
    """
    # mmap, because only the settings are needed and no weights.
    content = read(checkpoint, mmap=True)
    groups = {"model": content.get("hyper_parameters", {}), "data": content.get("datamodule_hyper_parameters", {})}
    if not all(isinstance(group, dict) for group in groups.values()):
        raise DamagedCheckpointError(f"{checkpoint} is not a checkpoint of gcvideo: its settings are no mappings")
    return {name: dict(group) for name, group in groups.items()}


def refuse_other_network(task: VideoTask, checkpoint: str | Path) -> None:
    """Refuse a checkpoint whose tensors are not those of the task.

    Raises:
        UsageError: names the first of them.
    """
    content = read(checkpoint, mmap=True)
    # With averaged weights they are there a second time, under the same names.
    stored = {name: _shape(value) for name, value in content["state_dict"].items()}
    expected = {name: _shape(value) for name, value in task.state_dict().items()}
    problems = [f"{name} is missing" for name in expected if name not in stored]
    problems += [f"{name} is not part of the network" for name in stored if name not in expected]
    problems += [
        f"{name} has shape {stored[name]}, the network's {shape}"
        for name, shape in expected.items()
        if stored.get(name, shape) != shape
    ]
    if problems:
        raise UsageError(
            f"{checkpoint} does not fit the network ({len(problems)} tensors): {problems[0]}; resume with the settings "
            f"of its run, or start from its weights with --model.weights"
        )


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
