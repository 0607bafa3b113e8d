"""From a file to frames, behind one Protocol, so that decoders can be exchanged.

The frames are *the* frames: whatever the decoder, index i gives frame i of a full decode (after the edit list, upright)
or a `VideoDecodeError` with the path and the reason. No decoder is used on a file that it is known to read wrongly;
docs/data.md has the table.
"""

from pathlib import Path
from typing import Literal, get_args

from gcvideo.data.decode.decord_reader import DecordReader, decord_fault
from gcvideo.data.decode.image_reader import IMAGE_SUFFIXES, ImageReader
from gcvideo.data.decode.packets import VideoFile
from gcvideo.data.decode.pyav_reader import PyavReader
from gcvideo.data.decode.reader import Reader, VideoDecodeError, check_container
from gcvideo.data.decode.torchcodec_reader import TorchcodecReader, torchcodec_fault

__all__ = [
    "IMAGE_SUFFIXES",
    "DecoderName",
    "Reader",
    "VideoDecodeError",
    "VideoFile",
    "choose_decoder",
    "decoder_faults",
    "open_video",
]

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]


def choose_decoder(file: VideoFile) -> tuple[Literal["decord", "pyav"], str]:
    """What `auto` may take for an undamaged file, and why: decord where it is right, else PyAV."""
    fault = decord_fault(file)
    return ("decord", "decord reads it exactly") if fault is None else ("pyav", fault)


def decoder_faults(file: VideoFile) -> dict[str, str | None]:
    """For each decoder, why it must not read this file, or None if it returns exactly the frames of a full decode.

    The reasons come from the packets alone: they hold for an undamaged file.
    """
    return {"pyav": None, "decord": decord_fault(file), "torchcodec": torchcodec_fault(file)}


def open_video(path: str, decoder: DecoderName = "auto", data: bytes | None = None, verdict: str = "") -> Reader:
    """Open a video for one read; an image (by its suffix) is a video of one frame, whatever the decoder.

    Args:
        path: the file.
        decoder: a library, or "auto": what `verdict` says, and PyAV without one.
        data: the file's contents, if they are in memory; `path` is then only its name.
        verdict: "decord" if this file was decoded as a whole and decord reads it right; "pyav" or "" else.

    Raises:
        VideoDecodeError: missing, empty, not a video, without a video stream, damaged, or not to be read by this
            decoder.
        ValueError: unknown decoder.
    """
    if decoder == "auto":  # decord can crash the process on damaged contents in memory
        decoder = "decord" if verdict == "decord" and data is None else "pyav"
    if decoder not in get_args(DecoderName):
        raise ValueError(f"decoder must be one of {get_args(DecoderName)}, got {decoder!r}")
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader(path, data)
    check_container(path, data)
    if decoder == "decord" and data is not None:
        raise VideoDecodeError(path, "decord is not used on contents in memory; set decoder: auto or pyav")
    if decoder == verdict == "decord":
        return DecordReader(path)
    file = VideoFile(path, data)
    if decoder == "pyav":
        return PyavReader(file)
    fault = decord_fault(file) if decoder == "decord" else torchcodec_fault(file)
    file.close()
    if fault is not None:
        raise VideoDecodeError(path, f"{fault}; set decoder: auto or pyav")
    return DecordReader(path) if decoder == "decord" else TorchcodecReader(file, data)
