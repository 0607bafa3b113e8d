"""From a checkpoint file to named tensors. Nothing in a file is ever run.

torch's files are read weights-only (`torch_file`), caffe2's pickles by an unpickler of ours (`caffe2_file`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcvideo.errors import UsageError
from gcvideo.models.caffe2_file import Array, read_caffe2
from gcvideo.models.torch_file import read_torch, reason_of

# Keys that hold the tensors, among other things such as the epoch: of PySlowFast and pytorchvideo, mmaction2 and
# Lightning, caffe2, and others.
WRAPPERS = ("model_state", "state_dict", "blobs", "model")

# Parts of names that say who held the network: DistributedDataParallel, our task, and others.
PREFIXES = ("module.", "net.", "model.", "backbone.")


class WeightsError(UsageError):
    """A file that cannot be read, or that does not fit the model; nothing has been loaded."""


class CheckpointFile(NamedTuple):
    """A checkpoint: the tensors by name, and all that it holds, such as "epoch" or "hyper_parameters"."""

    state: dict[str, Tensor]
    content: dict[Any, Any]


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint, without wrappers ("model_state", "state_dict", ...) and prefixes ("module.", ...).

    Raises:
        WeightsError: no such file, or one that holds more than tensors and plain values.
    """
    return read_checkpoint(path).state


def read_checkpoint(path: str | Path) -> CheckpointFile:
    """Tensors of a checkpoint, as `read_state` returns them, and what is next to them; raises what that raises."""
    whole = _read(Path(path))
    content = _unwrap(whole)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected a state dict, got {type(content).__name__}")
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        tensor = _as_tensor(value)
        if tensor is None:
            continue  # such as the number of steps
        name = _without_prefixes(str(key))
        # Without this check one of the two tensors would silently replace the other.
        if name in state:
            raise WeightsError(f"{path}: {name} appears twice, under different prefixes")
        state[name] = tensor
    if not state:
        raise WeightsError(f"{path}: holds no tensors")
    return CheckpointFile(state, dict(whole))


def _read(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        return read_caffe2(path) if path.suffix == ".pkl" else read_torch(path)
    except Exception as error:  # bytes that are no checkpoint fail in any way
        raise WeightsError(
            f"{path}: refused or unreadable (only tensors and plain values are loaded, never code; remove a damaged "
            f"download): {reason_of(error)}"
        ) from error


def _unwrap(content: Any) -> Any:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return content


def _without_prefixes(name: str) -> str:
    """ "module.backbone.conv1.weight" -> "conv1.weight"."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor, or an array of numbers as a tensor; None for anything else."""
    if isinstance(value, Array):
        return None if value.numbers is None else torch.from_numpy(value.numbers)
    return value if isinstance(value, Tensor) else None
