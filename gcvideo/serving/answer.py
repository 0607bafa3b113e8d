"""What the page answers to a video; nothing here knows the page."""

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcvideo.analysis.animation import gif
from gcvideo.analysis.clip import central_clip, network_input
from gcvideo.analysis.drawing import moving
from gcvideo.analysis.overlay import panels_of
from gcvideo.data.decode import IMAGE_SUFFIXES, VideoDecodeError, VideoFile
from gcvideo.data.decode.reader import check_container
from gcvideo.errors import GcvideoError, UsageError
from gcvideo.recognition import Recognizer

PICTURE_S = 0.25  # of the attention
MAX_FPS = 240
"""With the limit on seconds it limits the frames, whatever rate a file claims."""


@dataclass(frozen=True)
class Limits:
    """What the page accepts.

    Args:
        max_mb: size of a file in megabytes.
        max_s: duration of a video in seconds.

    Raises:
        UsageError: a value out of range.
    """

    max_mb: float = 50
    max_s: float = 120

    def __post_init__(self) -> None:
        if not 0 < self.max_mb <= 10_000 or not 0 < self.max_s <= 24 * 3600:
            raise UsageError(
                f"expected max_mb in (0, 10000] and max_s in (0, 86400], got {self.max_mb:g} and {self.max_s:g}"
            )


class Answer(NamedTuple):
    """What is shown for a video.

    Attributes:
        message: one line; what is wrong, if there is nothing else.
        scores: class -> probability, the best five; empty on an error.
        timeline: PNG file; empty for an image or on an error.
        overlays: what is attended to: short name of a block, or "Grad-CAM" -> GIF file.
    """

    message: str
    scores: dict[str, float]
    timeline: bytes
    overlays: dict[str, bytes]


def answer(recognizer: Recognizer, path: Path, name: str, limits: Limits) -> Answer:
    """Label a video. What is wrong with it is a message and no error.

    Args:
        recognizer: the model.
        path: the file.
        name: of the file, for messages.
        limits: what is accepted.
    """
    from gcvideo.recognition.timeline_plot import plot

    try:
        check_limits(path, limits)
        prediction = recognizer.predict(path)
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        timeline = b"" if is_image else plot(recognizer.timeline(path))
        overlays = _overlays(recognizer, path)
    except VideoDecodeError as error:
        return Answer(f"{name} can't be read: {_without(path, error.reason)}", {}, b"", {})
    except GcvideoError as error:
        return Answer(f"{name}: {_without(path, str(error))}", {}, b"", {})
    scores = dict(zip(prediction.names, prediction.probabilities, strict=True))
    return Answer(f"{name}: {prediction.names[0]} ({prediction.probabilities[0]:.0%})", scores, timeline, overlays)


def _without(path: Path, text: str) -> str:
    """A message without the folder of a file, which is the server's."""
    return text.replace(str(path.absolute()), path.name).replace(str(path), path.name)


def check_limits(path: Path, limits: Limits) -> None:
    """Refuse a file that is too large or too long, before a frame is decoded.

    Raises:
        VideoDecodeError: it is, or it can't be opened.
    """
    size_mb = path.stat().st_size / 1e6 if path.is_file() else 0
    if size_mb > limits.max_mb:
        raise VideoDecodeError(str(path), f"it has {size_mb:.0f} MB, at most {limits.max_mb:g} are accepted")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return
    check_container(str(path), None)
    file = VideoFile(str(path))
    file.close()
    num_frames = int(file.is_shown.sum())
    seconds = num_frames / file.fps if file.fps > 0 else 0
    if seconds > limits.max_s or num_frames > limits.max_s * MAX_FPS:
        raise VideoDecodeError(
            str(path), f"it has {num_frames} frames, {seconds:.0f} s; at most {limits.max_s:g} s are accepted"
        )


def _overlays(recognizer: Recognizer, path: Path) -> dict[str, bytes]:
    """One animation for each block and for Grad-CAM; none where the network has nothing to show."""
    clip = central_clip(recognizer, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Grad-CAM is left out where it can't be computed
        try:
            panels = panels_of(recognizer.task.net, network_input(recognizer, clip), recognizer.class_names)
        except UsageError:
            return {}
    names = dict.fromkeys(panel.block for panel in panels)
    return {
        name: _animation(
            list(moving(clip.frames.transpose(0, 1), clip.times, clip.unit, [p for p in panels if p.block == name]))
        )
        for name in names
    }


def _animation(pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    return gif(pictures, PICTURE_S)


@dataclass(frozen=True)
class Examples:
    """Videos of a folder that a visitor can choose.

    Attributes:
        files: name -> path.
    """

    files: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: str | Path, suffixes: Sequence[str]) -> "Examples":
        """The files directly in a folder that have one of the suffixes.

        Raises:
            UsageError: no such folder, or none in it.
        """
        if not Path(folder).is_dir():
            raise UsageError(f"no folder {folder} of examples")
        found = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes and path.is_file())
        if not found:
            raise UsageError(f"no video in {folder} (looked for {', '.join(suffixes)})")
        return cls({path.name: path for path in found})


def data_uri(content: bytes, kind: str) -> str:
    """A picture as part of a page: no file is written, and none must be deleted."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
