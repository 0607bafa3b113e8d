"""One raw video to one that is read fast: H.264 that lets a selective reader pass over most pictures.

Groups of 32 pictures, closed, each a key picture and then 7 B-pictures, to which no other refers, for one P-picture: of
8 frames at stride 8, about 18 pictures are decoded instead of 170. No audio, header in front. Measured against other
encodings in docs/data.md.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.video.reformatter import VideoReformatter

from gcvideo.data.decode import VideoFile
from gcvideo.data.decode.pyav_reader import decode_all, turn_of, upright
from gcvideo.data.decode.reader import VideoDecodeError, check_container
from gcvideo.errors import UsageError

_X264 = "keyint=32:min-keyint=32:scenecut=0:bframes=7:b-pyramid=none:b-adapt=0:open-gop=0:mbtree=0:threads=1"
"""Without mbtree, of which x264 reads memory that nobody wrote: equal frames would give other bytes now and then."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

Encoder = Literal["auto", "pyav", "ffmpeg"]


@dataclass(frozen=True)
class Encoding:
    """How prepared videos are made.

    Args:
        short_side: of the frame in pixels, even; a smaller video is not enlarged.
        crf: x264's constant quality, 0 (lossless) to 51.
        preset: x264's, "ultrafast" to "veryslow": the slower, the smaller the files.
        encoder: "pyav" (FFmpeg inside of PyAV), "ffmpeg" (the program), or "auto": PyAV if it has x264.
    """

    short_side: int = 256
    crf: int = 20
    preset: str = "medium"
    encoder: Encoder = "auto"

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.short_side % 2:
            raise ValueError(f"short_side must be even and at least 16, got {self.short_side}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be in 0..51, got {self.crf}")
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the prepared video: even, the short side at most `short_side`."""
        scale = min(self.short_side / min(width, height), 1)
        return max(2 * round(width * scale / 2), 2), max(2 * round(height * scale / 2), 2)


def find_encoder(encoder: Encoder) -> Literal["pyav", "ffmpeg"]:
    """The encoder to use here.

    Raises:
        UsageError: it is not available.
    """
    if encoder in ("auto", "pyav") and "libx264" in av.codecs_available:
        return "pyav"
    if encoder in ("auto", "ffmpeg") and shutil.which("ffmpeg"):
        return "ffmpeg"
    raise UsageError(f"encoder {encoder}: found neither PyAV with libx264 nor the program ffmpeg")


def transcode(source: str, target: Path, encoding: Encoding, trim: tuple[float, float] | None = None) -> int:
    """Write `target` (MP4), which must not be read before this returns.

    Args:
        source: raw video.
        target: file to write.
        encoding: how.
        trim: start and end in seconds from the first frame; frames that begin inside are kept.

    Returns:
        Number of frames written.

    Raises:
        VideoDecodeError: the source can't be decoded as a whole, or the trim leaves nothing.
    """
    check_container(source, None)
    if find_encoder(encoding.encoder) == "ffmpeg":
        return _by_program(source, target, encoding, trim)
    file = VideoFile(source)
    try:
        return _by_pyav(file, target, encoding, trim)
    finally:
        file.close()


def _by_pyav(file: VideoFile, target: Path, encoding: Encoding, trim: tuple[float, float] | None) -> int:
    rate = Fraction(file.fps).limit_denominator(1001) if file.fps > 0 else Fraction(25)
    reformatter, stream, written = VideoReformatter(), None, 0
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        for pts, frame in _timed(file, rate, trim):
            if stream is None:
                turn = turn_of(file.path, frame)
                sideways = turn % 180 != 0
                width, height = (frame.height, frame.width) if sideways else (frame.width, frame.height)
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height = encoding.size(width, height)
                stream.pix_fmt = "yuv420p"
                stream.options = {
                    "crf": str(encoding.crf),
                    "preset": encoding.preset,
                    "tune": "fastdecode",
                    "x264-params": _X264,
                }
                stream.codec_context.time_base = stream.time_base = _time_base(file, rate)
                stream.codec_context.colorspace = frame.colorspace
            if turn:
                turned = upright(reformatter.reformat(frame, format="rgb24").to_ndarray(), turn)
                frame = av.VideoFrame.from_ndarray(turned, format="rgb24")
            picture = reformatter.reformat(frame, stream.width, stream.height, "yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base = pts, stream.codec_context.time_base
            picture.pict_type = 0  # the encoder decides
            container.mux(stream.encode(picture))
            written += 1
        if stream is None:
            raise VideoDecodeError(file.path, "no frames" if trim is None else f"no frames in {trim[0]}..{trim[1]} s")
        container.mux(stream.encode(None))
    return written


def _time_base(file: VideoFile, rate: Fraction) -> Fraction:
    return Fraction(file.time_base) if file.is_indexed else 1 / rate


def _timed(file: VideoFile, rate: Fraction, trim: tuple[float, float] | None) -> Iterator[tuple[int, Any]]:
    """(pts from 0 in `_time_base`, frame): the file's own times, or the even ones of its rate where it has none."""
    unit = _time_base(file, rate)
    source_start: int | None = None  # times of the first frame, of the first one kept, and of the last one given
    kept_start: int | None = None
    previous = -1
    for number, frame in enumerate(decode_all(file)):
        pts = frame.pts if file.is_indexed else number
        source_start = pts if source_start is None else source_start
        since_s = float((pts - source_start) * unit)
        if trim is not None and since_s >= trim[1]:
            return
        if trim is None or since_s >= trim[0]:
            kept_start = pts if kept_start is None else kept_start
            previous = max(pts - kept_start, previous + 1)
            yield previous, frame


def _by_program(source: str, target: Path, encoding: Encoding, trim: tuple[float, float] | None) -> int:
    side = encoding.short_side
    cut = [] if trim is None else ["-ss", f"{trim[0]}", "-t", f"{trim[1] - trim[0]}"]
    command = [
        *("ffmpeg", "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file", "-threads", "1"),
        *("-xerror", "-err_detect", "explode", "-i", f"file:{os.path.abspath(source)}", *cut, "-map", "0:v:0", "-an"),
        *("-vf", f"scale='if(gt(iw,ih),-2,2*round(min(iw,{side})/2))':'if(gt(iw,ih),2*round(min(ih,{side})/2),-2)'"),
        *("-c:v", "libx264", "-crf", str(encoding.crf), "-preset", encoding.preset, "-tune", "fastdecode"),
        *("-x264-params", _X264, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough"),
        *("-map_metadata", "-1", "-movflags", "+faststart", "-f", "mp4", f"file:{os.path.abspath(target)}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise VideoDecodeError(source, f"ffmpeg failed with status {done.returncode}: {lines[0][:160]}")
    file = VideoFile(str(target))
    file.close()
    return len(file.order)
