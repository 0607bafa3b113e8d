"""Transcoding of one raw video into H.264 of which a selective reader can skip most pictures.

Closed groups of 32 pictures (I key, P, b to which no other refers), in order of presentation:

    I b b b b b b b P b b b b b b b P b b b b b b b P b b b b b b P | I b b ...

To return 8 frames at stride 8, a reader decodes about 18 pictures instead of 170. No audio; the header comes first, so
that a file is opened with one read. docs/results.md compares this with other encodings.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.video.reformatter import VideoReformatter

from gcvideo.data.decode import VideoFile
from gcvideo.data.decode.pyav_reader import decode_all, turn_of, upright
from gcvideo.data.decode.reader import VideoDecodeError, check_container
from gcvideo.dataset_tools.options import Encoder, Encoding
from gcvideo.errors import UsageError

_X264 = "keyint=32:min-keyint=32:scenecut=0:bframes=7:b-pyramid=none:b-adapt=0:open-gop=0:mbtree=0:threads=1"
"""mbtree is off because x264 reads uninitialised memory for it: equal frames would now and then give other bytes."""

Interval = tuple[float, float]
"""Start and end in seconds."""


def find_encoder(encoder: Encoder) -> Literal["pyav", "ffmpeg"]:
    """The encoder to use on this machine.

    Raises:
        UsageError: it is not available.
    """
    if encoder in ("auto", "pyav") and "libx264" in av.codecs_available:
        return "pyav"
    if encoder in ("auto", "ffmpeg") and shutil.which("ffmpeg"):
        return "ffmpeg"
    raise UsageError(f"encoder {encoder}: found neither PyAV with libx264 nor the executable ffmpeg")


def transcode(source: str, target: Path, encoding: Encoding, trim: Interval | None = None) -> int:
    """Write `target` (MP4). It is not complete before this returns, and not removed on an error.

    Args:
        source: raw video.
        target: file to write.
        encoding: size and quality.
        trim: seconds from the first frame; frames that begin in [start, end) are kept.

    Returns:
        Number of frames written.

    Raises:
        VideoDecodeError: the source can't be decoded in full, or no frame is left.
    """
    check_container(source, None)
    if find_encoder(encoding.encoder) == "ffmpeg":
        return _by_program(source, target, encoding, trim)
    file = VideoFile(source)
    try:
        return _by_pyav(file, target, encoding, trim)
    finally:
        file.close()


def _by_pyav(file: VideoFile, target: Path, encoding: Encoding, trim: Interval | None) -> int:
    # 1001, because NTSC rates are fractions such as 30000/1001, of which file.fps is only a float.
    rate = Fraction(file.fps).limit_denominator(1001) if file.fps > 0 else Fraction(25)
    reformatter, stream, num_frames, turn = VideoReformatter(), None, 0, 0
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        for pts, frame in _timed(file, rate, trim):
            if stream is None:  # only now the size and the rotation are known
                turn = turn_of(file.path, frame)
                stream = _add_stream(container, file, frame, turn, rate, encoding)
            if turn:
                turned = upright(reformatter.reformat(frame, format="rgb24").to_ndarray(), turn)
                frame = av.VideoFrame.from_ndarray(turned, format="rgb24")
            picture = reformatter.reformat(frame, stream.width, stream.height, "yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base = pts, stream.codec_context.time_base
            picture.pict_type = 0  # the encoder decides, not the source
            container.mux(stream.encode(picture))
            num_frames += 1
        if stream is None:
            raise VideoDecodeError(file.path, "no frames" if trim is None else f"no frames in {trim[0]}..{trim[1]} s")
        container.mux(stream.encode(None))
    return num_frames


def _add_stream(container: Any, file: VideoFile, frame: Any, turn: int, rate: Fraction, encoding: Encoding) -> Any:
    """The output stream for frames like `frame`, which are to be turned by `turn` degrees."""
    width, height = (frame.height, frame.width) if turn % 180 else (frame.width, frame.height)
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
    stream.codec_context.colorspace = frame.colorspace  # else players assume one by the size, and colours shift
    return stream


def _time_base(file: VideoFile, rate: Fraction) -> Fraction:
    return Fraction(file.time_base) if file.is_indexed else 1 / rate


def _timed(file: VideoFile, rate: Fraction, trim: Interval | None) -> Iterator[tuple[int, Any]]:
    """(pts, frame) of the frames to keep, the first pts 0, strictly ascending, in units of `_time_base`.

    A file without timestamps has a frame every 1 / rate seconds.

        pts of the file   100 104 108 112 116      at 4 per second, trim = (1.5, 4.0) seconds:
        since its start     0   1   2   3   4 s
        returned                    0   4          4.0 s is excluded
    """
    unit = _time_base(file, rate)
    first_pts: int | None = None  # of the file
    first_kept: int | None = None
    previous = -1
    for number, frame in enumerate(decode_all(file)):
        pts = frame.pts if file.is_indexed else number
        first_pts = pts if first_pts is None else first_pts
        since_start_s = float((pts - first_pts) * unit)
        if trim is not None and since_start_s >= trim[1]:
            return
        if trim is None or since_start_s >= trim[0]:
            first_kept = pts if first_kept is None else first_kept
            previous = max(pts - first_kept, previous + 1)  # an encoder refuses equal timestamps
            yield previous, frame


def _by_program(source: str, target: Path, encoding: Encoding, trim: Interval | None) -> int:
    side = encoding.short_side
    cut = [] if trim is None else ["-ss", f"{trim[0]}", "-t", f"{trim[1] - trim[0]}"]
    # The source is untrusted: only local files are opened, and "file:" keeps a name from being an option or a protocol.
    # As with PyAV, damage is an error, and the timestamps of a variable frame rate stay ("passthrough").
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
