"""From a checkpoint file to named tensors. Nothing in a file is ever run.

torch files are read weights-only, caffe2's pickles by an unpickler that knows numpy arrays alone.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcvideo.errors import UsageError

WRAPPERS = ("model_state", "state_dict", "blobs", "model")
PREFIXES = ("module.", "net.", "model.", "backbone.")


class WeightsError(UsageError):
    """A file that can't be read, or that does not fit the model; nothing has been loaded."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint, without wrappers ("model_state", "state_dict", ...) and prefixes ("module.", ...).

    Raises:
        WeightsError: no such file, or one that holds more than tensors and plain values.
    """
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        content = _read_caffe2(Path(path)) if Path(path).suffix == ".pkl" else _read_torch(Path(path))
    except Exception as error:  # bytes that are no checkpoint fail in any way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        asked = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "global" in line]
        raise WeightsError(
            f"{path}: refused or unreadable (only tensors and plain values are loaded, never code; a damaged download "
            f"must be removed by hand): "
            f"{(asked or [reason])[0][:300]}"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected a state dict, got {type(content).__name__}")
    state = {}
    for key, value in content.items():
        name = str(key)
        while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
            name = name.removeprefix(prefix)
        if isinstance(value, np.ndarray | np.generic) and np.issubdtype(value.dtype, np.number):
            value = torch.from_numpy(np.array(value))
        if not isinstance(value, Tensor):
            continue
        if name in state:
            raise WeightsError(f"{path}: {name} appears twice, under different prefixes")
        state[name] = value
    if not state:
        raise WeightsError(f"{path}: holds no tensors")
    return state


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


class _NumpyUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and nothing else."""

    _ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("collections", "OrderedDict")} | {
        (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the file asks for the global {module}.{name}")
        return super().find_class(module, name)


def _read_caffe2(path: Path) -> Any:
    with path.open("rb") as stream:
        return _NumpyUnpickler(stream, encoding="latin1").load()
