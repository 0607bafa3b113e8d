"""Packages: a trained model in one .safetensors file, to save, load and share.

The tensors are those of a checkpoint. The metadata of the file has one entry, `gcvideo`, with JSON:

    {"format": 1, "gcvideo": version, "name": of the run, "model": settings, "data": those of `_DATA`}

Unlike a checkpoint it has no state of the optimizer, no paths of the machine it was trained on, and no pickle:
safetensors is tensors and text (https://github.com/huggingface/safetensors).
"""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gcvideo import __version__
from gcvideo.files import replacing

SUFFIX = ".safetensors"
KEY = "gcvideo"
FORMAT = 1
MAX_HEADER_MB = 8
"""Of names and settings; those of a ResNet-101 and 100,000 classes take 3."""
_DATA = ("label_separator", "clip", "augment", "views")


def write_package(
    path: str | Path, name: str, model: Mapping[str, Any], data: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write a package.

    Args:
        path: of the file.
        name: of the run.
        model: settings of the model, plain values; where its training started from is left out.
        data: settings of the data, of which those that a prediction needs are kept.
        state: the weights.
    """
    content = {
        "format": FORMAT,
        "gcvideo": __version__,
        "name": name,
        "model": {**model, "weights": None, "inflation": None},
        "data": {key: data[key] for key in _DATA if key in data},
    }
    # Copies, because safetensors refuses tensors that share memory.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with replacing(path) as partial:
        save_file(tensors, partial, {KEY: json.dumps(content)})


def read_package(path: str | Path) -> dict[str, Any]:
    """Content of a package, named as that of a checkpoint; nothing in it is checked but its form.

    Raises:
        ValueError: not a package.
    """
    with _opened(path) as file:
        content = _metadata(file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    return {
        "state_dict": tensors,
        "hyper_parameters": content.get("model"),
        "datamodule_hyper_parameters": content.get("data"),
    }


def name_in(path: str | Path) -> str | None:
    """Name of the run that a package is of, if it tells; no tensor is read.

    Raises:
        ValueError: not a package.
    """
    with _opened(path) as file:
        name = _metadata(file).get("name")
    return name if isinstance(name, str) else None


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    _check_header(Path(path))
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, RecursionError) as error:
        raise ValueError(f"damaged, or no .safetensors file ({error})") from None


def _metadata(file: Any) -> dict[str, Any]:
    content = json.loads((file.metadata() or {}).get(KEY, "null"))
    if not isinstance(content, dict):
        raise ValueError(f"a .safetensors file without the metadata {KEY!r}, which `gcvideo export` writes")
    if content.get("format") != FORMAT:
        raise ValueError(f"expected a package of format {FORMAT}, got {content.get('format')!r}")
    return content


def _check_header(path: Path) -> None:
    """Refuse a header that would take much more memory than its file."""
    with path.open("rb") as stream:
        head = stream.read(8)
    size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 0 < size <= MAX_HEADER_MB << 20:
        raise ValueError(f"no .safetensors file, or one with more than {MAX_HEADER_MB} MB of names and settings")
