"""The facts of one video, from decoding three of its frames or all: the part of `gcvideo check` that reads files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcvideo.data.decode import VideoDecodeError, VideoFile, decoder_faults, open_video
from gcvideo.data.decode.pyav_reader import PyavReader, decode_all
from gcvideo.data.decode.reader import check_container

_FIELDS = 32
"""Side of the grid to which `look_of` averages a frame."""

BACKGROUND_SIDE = 16
"""Side of the image that `background_of` makes."""

_FLAT = 4.0
"""Standard deviation of grey values below which a frame looks like any other."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """A video that can be decoded.

    Attributes:
        num_frames, fps, codec: of the file.
        width, height: in pixels, upright.
        faults: decoder -> why it is not accurate for this file, or None if it is.
        sha256: first 16 digits of the content's digest.
        look: see `look_of`; "" if the frames tell nothing.
        background: see `background_of`; b"" if the frames tell nothing.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    codec: str
    faults: dict[str, str | None]
    sha256: str
    look: str = ""
    background: bytes = b""

    def __post_init__(self) -> None:
        if min(self.num_frames, self.width, self.height) < 1:
            raise ValueError(f"expected positive sizes, got {self}")


@dataclass(frozen=True, slots=True)
class Broken:
    """A video that can't be decoded, and why."""

    reason: str


def examine(path: str, full: bool) -> VideoFacts | Broken:
    """Read one video; does not raise.

    Args:
        path: the file.
        full: decode all frames instead of the first, the middle and the last. Only then decord's frames are compared
            with PyAV's: decord does not notice damage, so its frames prove nothing for a file of unknown state.
    """
    try:
        return _examine(path, full)
    except VideoDecodeError as error:
        return Broken(error.reason)
    except Exception as error:  # an untrusted file can cause any error; it must not stop the others
        return Broken(f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _examine(path: str, full: bool) -> VideoFacts:
    check_container(path, None)
    file = VideoFile(path)
    faults = decoder_faults(file)
    reader = PyavReader(file)
    if full and file.is_indexed:  # else PyavReader has decoded all frames to count them
        decoded = sum(1 for _ in decode_all(file))
        if decoded != reader.num_frames:
            raise VideoDecodeError(path, f"{decoded} of {reader.num_frames} frames can be decoded")
    indices = torch.tensor([0, reader.num_frames // 2, reader.num_frames - 1])
    frames = reader.read(indices)  # [3, H, W, 3]
    if full and faults["decord"] is None:
        faults = faults | {"decord": _decord_difference(path, indices, frames)}
    return VideoFacts(
        num_frames=reader.num_frames,
        fps=round(reader.fps, 6),
        width=frames.shape[2],
        height=frames.shape[1],
        codec=file.codec,
        faults=faults,
        sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16],
        look=look_of(frames.numpy()),
        background=background_of(frames.numpy()),
    )


def _decord_difference(path: str, indices: Tensor, expected: Tensor) -> str | None:
    """How decord's frames at `indices` [N] differ from the `expected` ones [N, H, W, 3], or None if they don't."""
    try:
        frames = open_video(path, "decord").read(indices)
    except VideoDecodeError as error:
        return f"decord fails: {error.reason}"
    return None if torch.equal(frames, expected) else "decord returns other frames than PyAV"


def look_of(frames: np.ndarray) -> str:
    """Perceptual hashes ("pHash") of frames [N, H, W, 3], 64 bits each, in hexadecimal; "" if a frame is flat.

    Each frame is averaged to a grey image of 32 x 32; the bits tell which of its 8 x 8 lowest cosine coefficients are
    above their median. Copies of another size or encoding differ in few bits.
    """
    grey = frames.mean(axis=-1)  # [N, H, W]
    if min(grey.shape[1:]) < _FIELDS:
        return ""
    fields = _average(grey)  # [N, 32, 32]
    if fields.std(axis=(1, 2)).min() < _FLAT:
        return ""
    cosines = np.cos(np.pi / _FIELDS * np.outer(np.arange(8), np.arange(_FIELDS) + 0.5))  # [8, 32]
    coefficients = (cosines @ fields @ cosines.T).reshape(len(frames), 64)
    median = np.median(coefficients[:, 1:], axis=1, keepdims=True)  # without the first: it is the mean of the frame
    return np.packbits(coefficients > median, axis=1).tobytes().hex()


def background_of(frames: np.ndarray) -> bytes:
    """What does not move in frames [N, H, W, 3]: the median over time, as a grey image of 16 x 16 bytes, row by row.

    b"" if it is flat. In front of a static camera the median removes who is in less than half of the frames.
    """
    grey = frames.mean(axis=-1)  # [N, H, W]
    if min(grey.shape[1:]) < BACKGROUND_SIDE:
        return b""
    still = np.median(_average(grey, BACKGROUND_SIDE), axis=0)  # [16, 16]
    return b"" if still.std() < _FLAT else np.rint(still).astype(np.uint8).tobytes()


def _average(grey: np.ndarray, side: int = _FIELDS) -> np.ndarray:
    """Means over a grid of `side` x `side` fields, of equal size up to a pixel: [N, H, W] -> [N, side, side]."""
    rows, columns = (np.linspace(0, length, side + 1).astype(int) for length in grey.shape[1:])  # edges of the fields
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=1), columns[:-1], axis=2)
    return sums / (np.diff(rows)[:, None] * np.diff(columns))
