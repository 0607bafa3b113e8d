"""From a file to frames, behind one Protocol, so that decoders can be exchanged.

Every decoder turns every failure into one `VideoDecodeError` with the path and the reason.

decord 0.6 is guarded where it is known to fail: containers other than MP4/MOV, Matroska/WebM and AVI are refused by
their first bytes (it hangs for ever on MPEG-TS), FIFOs and folders too; it is run with one thread and `fault_tol=1`
(else it repeats the last good frame in place of a damaged one); the reader is released at once after a read, because
it goes on decoding in the background. Known and not caught here: it ignores edit lists (`ffmpeg -ss ... -c copy`) and
errs on open-GOP files.
"""

from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

DecoderName = Literal["decord"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Files that are read as a video of one frame."""


class VideoDecodeError(Exception):
    """A video that can't be decoded.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)  # both arguments, so that it survives pickling between processes
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Reader(Protocol):
    """An open video."""

    num_frames: int
    fps: float

    def read(self, indices: Tensor) -> Tensor:
        """Frames at int64 `indices` [N], in any order and repeated at will, as uint8 [N, H, W, 3].

        Raises:
            VideoDecodeError: a frame can't be decoded.
        """


def open_video(path: str, decoder: DecoderName = "decord") -> Reader:
    """Open a video for one read; an image (by its suffix) is a video of one frame, whatever the decoder.

    Raises:
        VideoDecodeError: missing, empty, not a video, without a video stream, or damaged.
        ValueError: unknown decoder.
    """
    if decoder not in _DECODERS:
        raise ValueError(f"decoder must be one of {tuple(_DECODERS)}, got {decoder!r}")
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path)
    _check_container(path)
    return _DECODERS[decoder](path)


def _check_container(path: str) -> None:
    file = Path(path)
    if not file.is_file():
        raise VideoDecodeError(path, "not a regular file" if file.exists() else "no such file")
    with file.open("rb") as stream:
        head = stream.read(12)
    if not head:
        raise VideoDecodeError(path, "the file is empty")
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    is_matroska = head[:4] == b"\x1a\x45\xdf\xa3"
    is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not (is_mp4 or is_matroska or is_avi):
        raise VideoDecodeError(path, "not an MP4, MOV, Matroska, WebM or AVI file, judged by its first bytes")


class DecordReader:
    """decord's `VideoReader`; good for one `read`, which releases the file."""

    def __init__(self, path: str):
        # After torch and only where it is used: loaded before torch, decord can break CUDA initialisation.
        import decord

        self._path = path
        try:
            self._reader: Any = decord.VideoReader(path, num_threads=1, fault_tol=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        except Exception as error:  # decord raises RuntimeError, DECORDError and others for the same cause
            raise VideoDecodeError(path, _reason(error)) from None
        if self.num_frames < 1:
            raise VideoDecodeError(path, "no frames")

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        unique, inverse = torch.unique(indices, return_inverse=True)
        if not 0 <= int(unique[0]) <= int(unique[-1]) < self.num_frames:
            raise VideoDecodeError(
                self._path, f"frames {int(unique[0])}..{int(unique[-1])} asked of a video of {self.num_frames}"
            )
        try:
            frames = torch.from_numpy(self._reader.get_batch(unique.tolist()).asnumpy())  # [n, H, W, 3]
        except Exception as error:
            raise VideoDecodeError(self._path, _reason(error)) from None
        finally:
            del self._reader
        return frames[inverse]


class ImageReader:
    """An image as a video of one frame."""

    num_frames = 1
    fps = 1.0

    def __init__(self, path: str):
        self._path = path

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        if bool((indices != 0).any()):
            raise VideoDecodeError(self._path, f"frames {indices.tolist()} asked of an image, which has frame 0")
        try:
            image = decode_image(self._path, mode=ImageReadMode.RGB, apply_exif_orientation=True)  # [3, H, W]
        except Exception as error:  # OSError, RuntimeError and others
            raise VideoDecodeError(self._path, f"not an image that can be read ({error})") from None
        return image.permute(1, 2, 0).expand(len(indices), -1, -1, -1)


def _reason(error: Exception) -> str:
    """First telling line of a decord error, without its C++ stack."""
    text = str(error)
    for known, reason in (
        ("cannot find video stream", "no video stream in the file"),
        ("st_nb", "no video stream in the file"),
        ("from_size == to_size", "decord can't read this width (it fails at 16, 24, 48 and 72); re-encode to another"),
        ("Error reading", "can't be opened: truncated, or not a video"),
    ):
        if known in text:
            return reason
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return f"damaged video (decord: {lines[0][:160]})"


_DECODERS = {"decord": DecordReader}
