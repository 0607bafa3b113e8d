"""What all decoders share: the Protocol, the one error, and which files are opened at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gcvideo.errors import GcvideoError

MAX_PIXELS = 2**26
"""Of a frame (8192 x 8192); more is refused, because a single frame of a hostile file could take all memory."""


class VideoDecodeError(GcvideoError):
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
    """An open video.

    Frame i is the i-th frame that a player shows, from 0: after the edit list, in presentation order, upright.

    Attributes:
        decoder: name of the library, "image" for images.
        num_frames: at least 1.
        fps: average frame rate; 0 if the file has none.
    """

    decoder: str
    num_frames: int
    fps: float

    def read(self, indices: Tensor) -> Tensor:
        """Frames at int64 `indices` [N], in any order and repeated as needed, as uint8 RGB [N, H, W, 3].

        Raises:
            VideoDecodeError: a frame can't be decoded.
        """


def check_container(path: str, data: bytes | None) -> None:
    """Refuse what is not a file of a supported container, judged by its first bytes.

    decord hangs for ever on MPEG-TS, every decoder on a FIFO, and FFmpeg follows playlists to other files.

    Args:
        path: the file.
        data: its contents, if they are in memory.

    Raises:
        VideoDecodeError: no such file, not a regular file, empty, or another container.
    """
    if data is None:
        file = Path(path)
        try:
            if not file.is_file():
                raise VideoDecodeError(path, "not a regular file" if file.exists() else "no such file")
            with file.open("rb") as stream:
                head = stream.read(12)
        except OSError as error:  # no permission, or a name that is too long
            raise VideoDecodeError(path, error.strerror or str(error)) from None
    else:
        head = data[:12]
    if not head:
        raise VideoDecodeError(path, "the file is empty")
    # MP4 and MOV begin with a box: 4 bytes of length, 4 of type. Matroska begins with its EBML header.
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    is_matroska = head[:4] == b"\x1a\x45\xdf\xa3"
    is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not (is_mp4 or is_matroska or is_avi):
        raise VideoDecodeError(path, "not an MP4, MOV, Matroska, WebM or AVI file, judged by its first bytes")


def read_each_once(path: str, indices: Tensor, num_frames: int, read: Callable[[Tensor], Tensor]) -> Tensor:
    """Implement `Reader.read` by a function that reads distinct frames in ascending order.

    Args:
        path: for messages.
        indices: int64 [N], in any order, with repetitions.
        num_frames: of the video.
        read: takes ascending indices [n] and returns their frames [n, H, W, 3].

    Returns:
        uint8 [N, H, W, 3].

    Raises:
        VideoDecodeError: an index outside of the video.
        ValueError: no indices.
    """
    if not len(indices):
        raise ValueError(f"expected at least one index of a frame of {path}, got none")
    first, last = int(indices.min()), int(indices.max())
    if not 0 <= first <= last < num_frames:
        raise VideoDecodeError(path, f"frames {first}..{last} requested of a video of {num_frames}")
    distinct, inverse = torch.unique(indices, return_inverse=True)  # indices = distinct[inverse]
    frames = read(distinct)
    # Most requests are ascending and distinct already; indexing would copy all of their frames.
    return frames if torch.equal(distinct, indices) else frames[inverse]
