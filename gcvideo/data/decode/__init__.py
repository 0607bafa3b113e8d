"""From a file to frames, with interchangeable decoders behind one Protocol.

The frames are *the* frames: whatever the decoder, index i returns frame i of a full decode (after the edit list,
upright) or raises a `VideoDecodeError` with the path and the reason. A decoder that is known to read a sort of file
wrongly is refused for it; docs/decoders.md has the table. What no decoder can promise is to notice all damage: see
`decord_reader` for how much decord misses.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from gcvideo.data.decode.decord_reader import DecordReader, decord_fault
from gcvideo.data.decode.image_reader import IMAGE_SUFFIXES, ImageReader
from gcvideo.data.decode.packets import VideoFile
from gcvideo.data.decode.pyav_reader import PyavReader
from gcvideo.data.decode.reader import Reader, VideoDecodeError, check_container
from gcvideo.data.decode.torchcodec_reader import TorchcodecReader, torchcodec_fault

__all__ = [
    "DEFAULT_DECODER",
    "IMAGE_SUFFIXES",
    "DecoderName",
    "Reader",
    "VideoDecodeError",
    "VideoFile",
    "decoder_faults",
    "open_video",
    "stream_video",
]


class _Decoder(NamedTuple):
    """A row of the table of decoders.

    Attributes:
        fault: why the decoder must not read a file, or None.
        open: a reader of a demuxed file, whose contents may be in memory.
    """

    fault: Callable[[VideoFile], str | None]
    open: Callable[[VideoFile, bytes | None], Reader]


_DECODERS = {
    "pyav": _Decoder(lambda file: None, lambda file, data: PyavReader(file)),
    "decord": _Decoder(decord_fault, lambda file, data: DecordReader(file)),
    "torchcodec": _Decoder(torchcodec_fault, TorchcodecReader),
}

DEFAULT_DECODER = "pyav"
"""Right on every sort of file of docs/decoders.md, and the fastest on all that were measured (docs/results.md)."""

if TYPE_CHECKING:
    # Type checkers can't evaluate a Literal that is made from a table.
    DecoderName = str
else:
    DecoderName = Literal[tuple(_DECODERS)]


def open_video(path: str, decoder: DecoderName = DEFAULT_DECODER, data: bytes | None = None) -> Reader:
    """Open a video for one read; an image (by its suffix) is a video of one frame, whatever the decoder.

    Args:
        path: the file.
        decoder: library that decodes: "pyav", "decord" or "torchcodec".
        data: the file's contents, if they are in memory; `path` is then only its name.

    Raises:
        VideoDecodeError: missing, empty, not a video, without a video stream, damaged, or of a sort that this decoder
            would read wrongly.
        UsageError: the decoder is not installed (torchcodec is an extra).
        ValueError: unknown decoder.
    """
    if decoder not in _DECODERS:
        raise ValueError(f"expected decoder to be one of {tuple(_DECODERS)}, got {decoder!r}")
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path, data)
    check_container(path, data)  # before any library opens the file
    if decoder == "decord" and data is not None:  # damaged contents in memory can crash the process
        raise VideoDecodeError(path, "decord is not used on contents in memory; set data.decoder to pyav")
    file = VideoFile(path, data)
    fault = _DECODERS[decoder].fault(file)
    if fault is not None:
        file.close()
        raise VideoDecodeError(path, f"{fault}; set data.decoder to pyav")
    return _DECODERS[decoder].open(file, data)


def stream_video(path: str) -> PyavReader:
    """Open a video to read all of it in order, by `PyavReader.stream`, in the memory of a frame.

    Raises:
        VideoDecodeError: as `open_video`, or an image.
    """
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        raise VideoDecodeError(path, "is an image, expected a video")
    check_container(path, None)
    return PyavReader(VideoFile(path))


def decoder_faults(file: VideoFile) -> dict[str, str | None]:
    """For each decoder the reason why it must not read this (undamaged) file, or None."""
    return {name: decoder.fault(file) for name, decoder in _DECODERS.items()}
