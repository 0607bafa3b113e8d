"""torch's checkpoint files, read weights-only and within the size of the file.

`weights_only=True` is stated here and not left to a default, which an environment variable of torch changes. It keeps a
file from running code, but not from being huge when it is read, or from holding what no reader expects. That is checked
here once, so that whoever reads a field needs to check only its type.
"""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MAX_PICKLE_MB = 8
"""Of the names and plain values of a file; those of a ResNet-101 with its optimizer take 0.2 MB."""
MAX_VALUES = 1_000_000
MAX_DEPTH = 50
MAX_CLASSES = 100_000
"""ImageNet-21k has 21,841."""


def read_torch(path: str | Path, mmap: bool = False) -> Any:
    """Content of a checkpoint, on the CPU.

    Args:
        path: of the file.
        mmap: read the tensors only when they are used.

    Raises:
        Exception: of any kind, if it is damaged, compressed, or holds more than tensors and plain values.
    """
    if zipfile.is_zipfile(path):
        _check_archive(Path(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says about old kinds of files is not for users of ours
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    _check_values(content)
    return content


def reason_of(error: Exception) -> str:
    """The line of an error of `read_torch` that names what a pickle asked for, else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    asked = [line for line in lines if "GLOBAL" in line or "global" in line]
    return (asked or lines or [type(error).__name__])[0][:300]


def _check_archive(path: Path) -> None:
    """Refuse files that grow when they are read; torch writes them without compression."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("compressed, as torch writes no checkpoint")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries overlap")
    for entry in entries:
        if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_MB << 20:
            raise ValueError(f"{entry.file_size >> 20} MB of names and plain values, at most {MAX_PICKLE_MB}")


def _check_values(content: Any) -> None:
    """Refuse nesting without end, too many values, and tensors that are not plain numbers in memory."""
    level, count = [content], 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Tensor):
                _check_tensor(value)
            elif isinstance(value, dict):
                _check_attributes(value)
                below += dict.keys(value)
                below += dict.values(value)
            elif isinstance(value, list | tuple | set | frozenset):
                below += value
            count += 1
            # `below` is checked here, too: a list that holds one list many times is large only one level down.
            if count + len(below) > MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES:,} values")
        if not below:
            return
        level = below
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _check_attributes(value: Mapping[Any, Any]) -> None:
    """A file can give attributes to an OrderedDict, and so replace its methods; torch needs one attribute."""
    extra = set(getattr(value, "__dict__", ())) - {"_metadata"}
    if extra:
        raise ValueError("a dictionary with attributes")


def _check_tensor(tensor: Tensor) -> None:
    is_plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    if not is_plain or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError("a tensor that is not dense numbers in memory")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} without its data")
