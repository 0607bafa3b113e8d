"""What can be known of one video, by decoding three frames of it or all: the part of `gcvideo check` that reads."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcvideo.data.decode import VideoDecodeError, VideoFile, decoder_faults, open_video
from gcvideo.data.decode.pyav_reader import PyavReader, decode_all
from gcvideo.data.decode.reader import check_container

_FIELDS = 32
_FLAT = 4.0
"""Standard deviation of grey values below which a frame looks like any other."""


def examine(file: str, full: bool) -> dict[str, Any]:
    """The facts of a video, or {"broken": reason}; does not raise.

    Args:
        file: path.
        full: decode every frame instead of the first, the middle and the last.

    Returns:
        num_frames, fps, width, height (upright), codec, decoder and reason (`decoder_faults`; decord only for a file
        that was decoded as a whole and of which it gives PyAV's frames), sha256 (16 digits of the content's), look
        (see `look_of`).
    """
    try:
        return _examine(file, full)
    except VideoDecodeError as error:
        return {"broken": error.reason}
    except Exception as error:  # whatever a stranger's file can cause must not stop the others
        return {"broken": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def _examine(path: str, full: bool) -> dict[str, Any]:
    check_container(path, None)
    file = VideoFile(path)
    fault = decoder_faults(file)["decord"]
    decoder, reason = ("decord", "decord reads it exactly") if fault is None else ("pyav", fault)
    reader = PyavReader(file)
    if full and file.is_indexed:
        decoded = sum(1 for _ in decode_all(file))
        if decoded != reader.num_frames:
            raise VideoDecodeError(path, f"{decoded} of {reader.num_frames} frames can be decoded")
    places = torch.tensor([0, reader.num_frames // 2, reader.num_frames - 1])
    frames = reader.read(places)
    if decoder == "decord" and not full:
        decoder, reason = "pyav", "not decoded as a whole: decord would pass damage over (--full)"
    if decoder == "decord":
        try:
            if not torch.equal(open_video(path, "decord").read(places), frames):
                decoder, reason = "pyav", "decord gives other frames"
        except VideoDecodeError as error:
            decoder, reason = "pyav", f"decord fails: {error.reason}"
    return {
        "num_frames": reader.num_frames,
        "fps": round(reader.fps, 6),
        "width": frames.shape[2],
        "height": frames.shape[1],
        "codec": file.codec,
        "decoder": decoder,
        "reason": reason,
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16],
        "look": look_of(frames.numpy()),
    }


def look_of(frames: np.ndarray) -> str:
    """Perceptual hashes ("pHash") of frames [N, H, W, 3], 64 bits each, in hexadecimal; "" if a frame is flat.

    Each frame is averaged to 32 x 32 grey fields; the bits tell which of its 8 x 8 lowest cosine coefficients lie above
    their median. Copies of another size or encoding differ in few bits.
    """
    grey = frames.mean(axis=-1)  # [N, H, W]
    if min(grey.shape[1:]) < _FIELDS:
        return ""
    rows, columns = (np.linspace(0, side, _FIELDS + 1).astype(int) for side in grey.shape[1:])
    fields = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=1), columns[:-1], axis=2)
    fields /= np.diff(rows)[:, None] * np.diff(columns)  # [N, 32, 32]
    if fields.std(axis=(1, 2)).min() < _FLAT:
        return ""
    cosines = np.cos(np.pi / _FIELDS * np.outer(np.arange(8), np.arange(_FIELDS) + 0.5))  # [8, 32]
    coefficients = (cosines @ fields @ cosines.T).reshape(len(frames), 64)
    median = np.median(coefficients[:, 1:], axis=1, keepdims=True)  # without the mean of the frame
    return np.packbits(coefficients > median, axis=1).tobytes().hex()
