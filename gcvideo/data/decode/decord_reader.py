"""decord 0.6, for the sorts of files that it reads exactly (`decord_fault`).

It does not notice most damage in the middle of a file: of 115 H.264 files with a flipped bit that FFmpeg notices, it
read 114 and returned damaged pictures, where PyAV's reader raises. `gcvideo check --full` finds such files beforehand.

It runs with one thread (more cost more CPU time) and `fault_tol=1` (else it repeats the last good frame in place of a
damaged one), and is released right after a read, because it continues to decode in the background.
"""

import os
from typing import Any

import torch
from torch import Tensor

from gcvideo.data.decode.packets import VideoFile
from gcvideo.data.decode.reader import VideoDecodeError, read_each_once

_EXACT_CODECS = ("h264", "vp9", "mpeg4", "mjpeg")
_EXACT_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")
_BROKEN_WIDTHS = (16, 24, 48, 72)
"""Frames of these widths make decord fail (from_size == to_size)."""


def decord_fault(file: VideoFile) -> str | None:
    """Why decord must not read this file (it would return other frames, or none); None if it may."""
    if not file.container.startswith("mov,"):  # in Matroska it ignores the rotation
        return f"decord is not reliable in this container ({file.container})"
    if file.codec not in _EXACT_CODECS:
        return f"decord is not reliable for {file.codec}"
    if not file.is_shown.all():
        return "decord ignores the edit list, which cuts frames off"
    if not file.is_indexed:
        return "decord is not reliable where packets have no timestamps of their own"
    if not file.keys_are_idr or file.has_open_gop:
        return "decord errs where marked key pictures are not key pictures, or others refer beyond them (open GOP)"
    if file.pix_fmt not in _EXACT_FORMATS:
        return f"decord is not reliable for {file.pix_fmt}"
    if file.width in _BROKEN_WIDTHS:
        return f"decord can't read a width of {file.width}"
    return None


class DecordReader:
    """decord's `VideoReader`; good for one `read`, which releases the file.

    Args:
        file: the file, demuxed; it is closed, because decord opens the file itself.
    """

    decoder = "decord"

    def __init__(self, file: VideoFile):
        # Imported after torch and only where it is used: loaded before torch, decord can break CUDA initialisation.
        import decord

        file.close()
        self._path = path = file.path
        try:
            # An absolute path, as in `packets`: FFmpeg would take "concat:a" for a protocol.
            self._reader: Any = decord.VideoReader(os.path.abspath(path), num_threads=1, fault_tol=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        except Exception as error:  # decord raises RuntimeError, DECORDError and others for the same cause
            raise VideoDecodeError(path, _reason(error)) from None
        if self.num_frames < 1:
            raise VideoDecodeError(path, "no frames")

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        return read_each_once(self._path, indices, self.num_frames, self._read)

    def _read(self, indices: Tensor) -> Tensor:
        try:
            batch = self._reader.get_batch(indices.tolist())  # [n, H, W, 3]
            # a tensor where other code in the process has set decord's bridge, as pytorchvideo does
            frames = batch if isinstance(batch, Tensor) else torch.from_numpy(batch.asnumpy())
        except Exception as error:
            raise VideoDecodeError(self._path, _reason(error)) from None
        finally:
            del self._reader  # else its threads decode on
        return frames


def _reason(error: Exception) -> str:
    """First informative line of a decord error, without its C++ stack."""
    text = str(error)
    for pattern, reason in (
        ("cannot find video stream", "no video stream in the file"),
        ("st_nb", "no video stream in the file"),
        ("from_size == to_size", "decord can't read this width (it fails at 16, 24, 48 and 72); re-encode to another"),
        ("Error reading", "can't be opened: truncated, or not a video"),
    ):
        if pattern in text:
            return reason
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return f"damaged video (decord: {lines[0][:160]})"
