"""ONNX and torch.export files, each checked against the model before it gets its name."""

import importlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcvideo.errors import GcvideoError, UsageError
from gcvideo.exporting.classifier import (
    INPUT,
    OUTPUT,
    Classifier,
    examples,
    expected_of,
    metadata_of,
    refuse_difference,
)
from gcvideo.files import replacing, write_bytes
from gcvideo.recognition import Recognizer

MAX_ONNX_GB = 2
"""Of a protobuf message; larger models would need a second file for their weights."""
OPSET = 20
_TRACED, _CHECKED = 2, (1, 3)  # batch sizes; others are checked than the one that is traced


def write_onnx(recognizer: Recognizer, path: Path) -> str:
    """Write an .onnx file: "frames" uint8 [B, 3, T, S, S] -> "probabilities" float [B, K], any B.

    Its metadata has the class names, see `metadata_of`.

    Returns:
        What was checked, for the user.

    Raises:
        UsageError: onnx, onnxscript or onnxruntime is not installed.
        GcvideoError: the network can't be exported, or onnxruntime computes something else.
    """
    runtime = _installed()
    classifier = Classifier(recognizer)
    gigabytes = sum(value.numel() * value.element_size() for value in classifier.state_dict().values()) / 1e9
    if gigabytes >= MAX_ONNX_GB:
        raise GcvideoError(f"the weights take {gigabytes:.1f} GB, an .onnx file has at most {MAX_ONNX_GB}; use torch")
    program: Any
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own dependencies
        try:
            program = torch.onnx.export(
                classifier,
                (examples(recognizer, _TRACED),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise _not_exportable(recognizer, error) from error
    program.model.metadata_props.update(metadata_of(recognizer))
    with replacing(path) as partial:
        program.save(str(partial), external_data=False)
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])

        def run(frames: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {INPUT: frames.numpy()})[0])

        return f"onnxruntime {runtime.__version__} {_compared(path, recognizer, run)}"


def write_torch(recognizer: Recognizer, path: Path) -> str:
    """Write a .pt2 file of torch.export, with the input and output of `write_onnx`.

    `torch.export.load(path).module()` runs it; "gcvideo.json" of its extra files is the metadata.

    Returns:
        What was checked, for the user.

    Raises:
        GcvideoError: the network can't be exported, or the file computes something else.
    """
    with torch.no_grad():
        try:
            program = torch.export.export(
                Classifier(recognizer),
                (examples(recognizer, _TRACED),),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except Exception as error:  # of torch: any kind, for a network of the user that can't be traced
            raise _not_exportable(recognizer, error) from error
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={"gcvideo.json": json.dumps(metadata_of(recognizer))})
    loaded = torch.export.load(io.BytesIO(stream.getvalue())).module()
    with torch.no_grad():
        checked = _compared(path, recognizer, loaded)
    write_bytes(path, stream.getvalue())
    return f"torch {torch.__version__} {checked}"


def _compared(path: Path, recognizer: Recognizer, run: Any) -> str:
    """Compare a file with its model on batches of several sizes."""
    differences = []
    for count in _CHECKED:
        frames = examples(recognizer, count, seed=count)
        differences.append(refuse_difference(path, run(frames), expected_of(recognizer, frames)))
    return f"agrees with the model within {max(differences):.1e}"


def _installed() -> Any:
    """The module onnxruntime.

    Raises:
        UsageError: something of the extra `onnx` is missing.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            raise UsageError(f"export to ONNX needs {name}: pip install 'gcvideo[onnx]'") from None
    return module


def _not_exportable(recognizer: Recognizer, error: Exception) -> GcvideoError:
    reason = " ".join(str(error).split())[:300]
    return GcvideoError(f"{recognizer.name}: torch can't export this network: {reason}")
