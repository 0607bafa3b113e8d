"""`gcvideo.load`: from a run, a checkpoint or a package to a model that recognises videos."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gcvideo.data.decode import DEFAULT_DECODER, DecoderName
from gcvideo.data.labels import check_separator
from gcvideo.data.memory import check_item
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.errors import UsageError
from gcvideo.recognition.recognizer import Recognizer
from gcvideo.settings import as_plain, as_settings
from gcvideo.training.checkpoint import load_task, read_settings
from gcvideo.training.checkpoint_io import verify
from gcvideo.training.package import SUFFIX as PACKAGE_SUFFIX
from gcvideo.training.package import name_in, write_package

HUB_WEIGHTS = "model.safetensors"
"""The package in a folder for the Hub."""


def load(
    run_or_checkpoint: str | Path,
    device: str = "auto",
    views: Views | None = None,
    net: nn.Module | None = None,
    decoder: DecoderName = DEFAULT_DECODER,
) -> Recognizer:
    """A trained model, ready to label videos.

    Network, class names, clip and views come from the checkpoint. Nothing in the file is run, and it chooses no file
    and no library.

    Args:
        run_or_checkpoint: folder of a run (`runs/demo`: its best checkpoint), a checkpoint, or a package or hub folder
            of `gcvideo export`.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:1".
        views: which views are taken of a video; default those of the run's test. A `size` or `short_side` of None is
            that of the run.
        net: for a run with a network of its own, an instance of it.
        decoder: library that decodes.

    Raises:
        UsageError: no such run or file, not a checkpoint, a network of its own without `net`, or no such device.

    Example:
        >>> recognizer = load("runs/demo")  # doctest: +SKIP
        >>> recognizer.predict("clip.mp4").names[0]  # doctest: +SKIP
        'same fast'
    """
    checkpoint = checkpoint_at(Path(run_or_checkpoint))
    if checkpoint.suffix != PACKAGE_SUFFIX:  # a package has no checksums
        verify(checkpoint)
    clip, default, separator = _inputs(checkpoint)
    requested = default if views is None else views
    resolved = replace(
        requested,
        size=default.size if requested.size is None else requested.size,
        short_side=default.short_side if requested.short_side is None else requested.short_side,
    )
    check_item("views", resolved.temporal * resolved.spatial, clip.frames, resolved.size or 0)
    task = load_task(checkpoint, net).eval().to(device_of(device))
    return Recognizer(task, clip, resolved, name_of(checkpoint), checkpoint, decoder, separator)


def checkpoint_at(path: Path) -> Path:
    """The file to load: that of a path, or the best checkpoint of the run in a folder.

    Raises:
        UsageError: there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"no run or checkpoint {path}")
    best = path / "checkpoints" / "best.ckpt"
    for file in (best, path / HUB_WEIGHTS):
        if file.is_file():
            return file
    raise UsageError(f"no trained run in {path}: expected {best}; fit it first, or pass a checkpoint")


def name_of(checkpoint: Path) -> str:
    """Name of the run that a checkpoint lies in or a package is of, else of the file."""
    if checkpoint.suffix == PACKAGE_SUFFIX:
        name = name_in(checkpoint)
        return checkpoint.stem if name is None else name
    folder = checkpoint.resolve().parent
    return folder.parent.name if folder.name == "checkpoints" else checkpoint.stem


def save(recognizer: Recognizer, path: str | Path) -> None:
    """Write a recognizer as a package: one .safetensors file with weights, settings and class names, for `load`.

    Raises:
        UsageError: another suffix, or no such folder.
    """
    if Path(path).suffix != PACKAGE_SUFFIX or not Path(path).parent.is_dir():
        raise UsageError(f"expected a file *{PACKAGE_SUFFIX} in a folder that exists, got {path}")
    data = {
        "label_separator": recognizer.label_separator,
        "clip": as_plain(recognizer.clip),
        "views": as_plain(recognizer.views),
    }
    task = recognizer.task
    write_package(path, recognizer.name, dict(task.hparams), data, task.state_dict())


def device_of(name: str) -> torch.device:
    """The device that a user names: "auto" is a GPU if there is one.

    Raises:
        UsageError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"expected the device auto, cpu, cuda or cuda:<number>, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"expected the device auto, cpu, cuda or cuda:<number>, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"no device {name}: torch finds {torch.cuda.device_count()} GPUs on this machine")
    return device


def _inputs(checkpoint: Path) -> tuple[Clip, Views, str | None]:
    """Which frames of a video the network was trained for, the views of its test with all sizes filled in, and the
    separator of several labels.
    """
    settings = read_settings(checkpoint)["data"]
    separator = settings.get("label_separator")
    try:
        check_separator(separator)
        augment = as_settings(Augmentation, settings.get("augment", {}))
        return (
            as_settings(Clip, settings.get("clip", {})),
            as_settings(Views, settings.get("views", {})).resolved(augment),
            separator,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"{checkpoint}: not the settings of a run: {error}") from error
