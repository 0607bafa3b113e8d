"""`export`: one table of formats, one function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gcvideo.errors import UsageError
from gcvideo.exporting.graph import write_onnx, write_torch
from gcvideo.models import export_weights
from gcvideo.recognition import Recognizer
from gcvideo.recognition.loading import save


@dataclass(frozen=True)
class _Format:
    """A row of the table of formats.

    Attributes:
        write: writes a model to a path; returns what was checked, for the user.
        suffix: that the file must have; None if it is free.
    """

    write: Callable[[Recognizer, Path], str]
    suffix: str | None = None


def _weights(layout: str) -> Callable[[Recognizer, Path], str]:
    def write(recognizer: Recognizer, path: Path) -> str:
        export_weights(recognizer.task.net, path, layout)
        return f"weights under the names of {layout}"

    return write


def _package(recognizer: Recognizer, path: Path) -> str:
    save(recognizer, path)
    return "weights, settings and class names; gcvideo.load reads it"


def _hub(recognizer: Recognizer, folder: Path) -> str:
    try:
        from gcvideo.exporting.hub import write_hub_folder
    except ImportError:
        raise UsageError("a folder for the Hub needs huggingface_hub: pip install 'gcvideo[hub]'") from None
    return write_hub_folder(recognizer, folder)


FORMATS: Mapping[str, _Format] = {
    "onnx": _Format(write_onnx, ".onnx"),
    "torch": _Format(write_torch, ".pt2"),
    "package": _Format(_package, ".safetensors"),
    "hub": _Format(_hub),
    "pytorchvideo": _Format(_weights("pytorchvideo")),
    "pyslowfast": _Format(_weights("pyslowfast")),
}

if TYPE_CHECKING:
    ExportFormat = str
else:
    ExportFormat = Literal[tuple(FORMATS)]


def export(recognizer: Recognizer, path: str | Path, format: ExportFormat) -> str:
    """Write a trained model as a file for other programs.

    Args:
        recognizer: the model; see `gcvideo.load`.
        path: file to write, in a folder that exists; for "hub", a folder that does not exist.
        format: "onnx" (.onnx, for onnxruntime), "torch" (.pt2, torch.export), "package" (.safetensors, for
            `gcvideo.load`), "hub" (a folder for the Hugging Face Hub), or weights alone under the names of
            "pytorchvideo" or "pyslowfast".

    Returns:
        What was written or checked, in a few words.

    Raises:
        UsageError: unknown format, another suffix, no such folder, or an extra that is not installed.
        GcvideoError: the network can't be exported, or the file would not compute what the model does.
    """
    if format not in FORMATS:
        raise UsageError(f"expected format to be one of {tuple(FORMATS)}, got {format!r}")
    target, suffix = Path(path), FORMATS[format].suffix
    if suffix is not None and target.suffix.lower() != suffix:
        raise UsageError(f"format {format} is written to a file *{suffix}, got {path}")
    if not target.parent.is_dir():
        raise UsageError(f"no folder {target.parent} to write into")
    return FORMATS[format].write(recognizer, target)
