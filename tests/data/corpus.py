"""Clips in many encodings whose frames carry their number, and what each decoder does with them.

`python -m tests.data.corpus > docs/decoders.md` writes the table that tests/data/test_corpus.py checks.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from gcvideo.data.decode import VideoDecodeError, open_video
from gcvideo.dataset_tools.transcode import Encoding, transcode
from tests.conftest import numbered_frames, read_numbers

DECODERS = ("pyav", "decord", "torchcodec")


@dataclass(frozen=True)
class Clip:
    """One way to write a file.

    Attributes:
        title: of the row in the table.
        suffix: of the file, which chooses the container.
        codec: FFmpeg's encoder.
        options: of the encoder.
        frames, height, width: of the clip.
        pix_fmt: pixel format.
        gaps: index -> additional time units before this frame (variable frame rate).
        start: time of the first frame, in frames.
        muxer: options of the container.
        audio: put an audio stream before the video stream.
        rotation: degrees, of the display matrix.
        after: rewrites the file; returns the numbers of the frames that remain.
    """

    title: str
    suffix: str = "mp4"
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    frames: int = 130
    height: int = 96
    width: int = 128
    pix_fmt: str = "yuv420p"
    gaps: dict[int, int] = field(default_factory=dict)
    start: int = 0
    muxer: dict[str, str] = field(default_factory=dict)
    audio: bool = False
    rotation: int = 0
    after: Callable[[Path], list[int]] | None = None

    def write(self, folder: Path) -> tuple[str, list[int]]:
        """Path of the file and the numbers that its frames show, in order."""
        path = folder / f"clip.{self.suffix}"
        frames = numbered_frames(self.frames, self.height, self.width)
        with av.open(str(path), "w", options=self.muxer) as container:
            sound = _sound(container) if self.audio else None
            stream: Any = container.add_stream(self.codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.pix_fmt
            stream.options = {"threads": "1", **self.options}
            if self.rotation:
                stream.set_display_rotation(self.rotation)
            if sound is not None:
                _write_sound(container, sound)
            time = self.start
            for number, frame in enumerate(frames):
                time += self.gaps.get(number, 0)
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=self.pix_fmt)
                picture.pts, picture.time_base = time, Fraction(1, 25)
                time += 1
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return str(path), list(range(self.frames)) if self.after is None else self.after(path)


def _sound(container: Any) -> Any:
    return container.add_stream("aac", rate=16000)


def _write_sound(container: Any, stream: Any) -> None:
    for _ in range(20):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))


def cut(first: int) -> Callable[[Path], list[int]]:
    """Trim by an edit list, as `ffmpeg -ss ... -c copy`: packets from the key packet on, times from frame `first`."""

    def rewrite(path: Path) -> list[int]:
        source = path.rename(path.with_name(f"whole{path.suffix}"))
        with av.open(str(source)) as old, av.open(str(path), "w") as new:
            stream = old.streams.video[0]
            out = new.add_stream_from_template(stream)
            packets = [packet for packet in old.demux(stream) if packet.size]
            unit = round(1 / (25 * stream.time_base))
            shift = packets[0].pts + first * unit
            key = max(number for number, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= shift)
            for packet in packets[key:]:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, out
                new.mux(packet)
        with av.open(str(path)) as check:
            total = sum(not packet.is_discard for packet in check.demux(check.streams.video[0]) if packet.size)
        count = len(packets) - first
        assert total == count, (total, count)
        return list(range(first, len(packets)))

    return rewrite


def prepared(path: Path) -> list[int]:
    """As `gcvideo prepare` writes it."""
    source = path.rename(path.with_name(f"raw{path.suffix}"))
    return list(range(transcode(str(source), path, Encoding(short_side=64))))


def _x264(params: str) -> dict[str, str]:
    return {"x264-params": f"{params}:scenecut=0"}


_AV1 = {"preset": "10", "g": "30", "svtav1-params": "lp=1:tune=0:qp=10:rc=0:aq-mode=0"}

CLIPS = (
    Clip("H.264, no B-frames, GOP 12", options={"g": "12", "bf": "0"}),
    Clip("H.264, GOP 12", options={"g": "12", "bf": "2"}),
    Clip("H.264, GOP 30, B-pyramid", options=_x264("keyint=30:bframes=8:b-pyramid=normal:b-adapt=0")),
    Clip("H.264, GOP 250", options={"g": "250"}, frames=250),
    Clip("H.264 by `gcvideo prepare`", after=prepared),
    Clip("H.264, open GOP", options=_x264("keyint=12:bframes=3:open-gop=1:b-adapt=0")),
    Clip("H.264, intra refresh, no key frames", options=_x264("keyint=24:intra-refresh=1")),
    Clip("H.264, 10 bit", pix_fmt="yuv420p10le"),
    Clip("H.264, 4:4:4, odd size", pix_fmt="yuv444p", height=97, width=131),
    Clip("H.264, key frames only", options={"g": "1"}),
    Clip("H.264 in Matroska", "mkv", options={"g": "30"}),
    Clip("H.264 in QuickTime", "mov", options={"g": "30"}),
    Clip("H.264 with B-frames in AVI", "avi", options={"g": "30", "bf": "3"}),
    Clip("H.264, fragmented MP4", options={"g": "30"}, muxer={"movflags": "frag_keyframe+empty_moov"}),
    Clip("H.264, variable frame rate", options={"g": "30"}, gaps={10: 3, 11: 1, 50: 40, 90: 7}),
    Clip("H.264, variable frame rate, Matroska", "mkv", options={"g": "30"}, gaps={10: 3, 11: 1, 50: 40, 90: 7}),
    Clip("H.264, cut by an edit list, GOP 30", options={"g": "30"}, after=cut(41)),
    Clip("H.264, cut by an edit list, GOP 250", options={"g": "250"}, after=cut(41)),
    Clip("H.264, no B-frames, cut by an edit list", options={"g": "30", "bf": "0"}, after=cut(41)),
    Clip("H.264, first frame at 2 s", options={"g": "30"}, start=50),
    Clip("H.264, first frame at 2 s, Matroska", "mkv", options={"g": "30"}, start=50),
    Clip("H.264, audio in front of video", options={"g": "30"}, audio=True),
    Clip("H.264, turned by 90 degrees", options={"g": "30"}, rotation=90),
    Clip("H.264, turned by 180 degrees", options={"g": "30"}, rotation=180),
    Clip("H.264, turned by 270 degrees", options={"g": "30"}, rotation=-90),
    Clip("H.264, 1 frame", frames=1),
    Clip("H.264, 3 frames", frames=3),
    Clip("H.264, 48 pixels wide", width=48),
    Clip("HEVC, open GOP (x265's default)", codec="libx265", options={"x265-params": "keyint=12:log-level=none"}),
    Clip(
        "HEVC, closed GOP",
        codec="libx265",
        options={"x265-params": "keyint=12:min-keyint=12:open-gop=0:log-level=none"},
    ),
    Clip("HEVC, 10 bit", codec="libx265", options={"x265-params": "log-level=none"}, pix_fmt="yuv420p10le"),
    Clip("HEVC, Matroska", "mkv", codec="libx265", options={"x265-params": "keyint=12:log-level=none"}),
    Clip("VP8, WebM", "webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    Clip("VP9, WebM", "webm", codec="libvpx-vp9", options={"g": "30", "deadline": "realtime", "cpu-used": "8"}),
    Clip(
        "VP9, alternate references, WebM",
        "webm",
        codec="libvpx-vp9",
        options={"auto-alt-ref": "1", "lag-in-frames": "25", "deadline": "good", "cpu-used": "8"},
    ),
    Clip("VP9, MP4, odd size", codec="libvpx-vp9", options={"cpu-used": "8"}, height=97, width=131),
    Clip("AV1, MP4", codec="libsvtav1", options=_AV1),
    Clip("AV1, WebM", "webm", codec="libsvtav1", options=_AV1),
    Clip("MPEG-4, MP4", codec="mpeg4", options={"g": "12", "q": "2"}),
    Clip("MPEG-4 with B-frames, MP4", codec="mpeg4", options={"g": "12", "bf": "2", "q": "2"}),
    Clip("MPEG-4, AVI (as UCF-101)", "avi", codec="mpeg4", options={"g": "12", "q": "2"}),
    Clip("MPEG-4 with B-frames, AVI", "avi", codec="mpeg4", options={"g": "12", "bf": "2", "q": "2"}),
    Clip("Motion JPEG, AVI", "avi", codec="mjpeg", pix_fmt="yuvj420p"),
    Clip("Motion JPEG, QuickTime", "mov", codec="mjpeg", pix_fmt="yuvj420p"),
    Clip("MPEG-2, Matroska", "mkv", codec="mpeg2video", options={"g": "12", "bf": "2"}),
    Clip("ProRes, QuickTime", "mov", codec="prores_ks", pix_fmt="yuv422p10le"),
    Clip("WMV2, AVI", "avi", codec="wmv2"),
)


def index_lists(num_frames: int, seed: int = 0) -> list[list[int]]:
    """What is read: a clip at each of several starts, the ends, shuffled repeats, everything."""
    draw = random.Random(seed)
    lists = [[0], [num_frames - 1], [num_frames - 1, 0], list(range(num_frames))]
    lists += [[(draw.randrange(num_frames) + 8 * step) % num_frames for step in range(8)] for _ in range(3)]
    lists += [[min(start + 8 * step, num_frames - 1) for step in range(8)] for start in range(0, num_frames, 29)]
    return lists


def outcome(path: str, expected: list[int], decoder: Any, rotation: int = 0) -> str:
    """ "right", or why the decoder refuses the file.

    Raises:
        AssertionError: a wrong frame.
    """
    for indices in index_lists(len(expected)):
        try:
            reader = open_video(path, decoder)
        except VideoDecodeError as error:
            return error.reason.split("; set data.decoder")[0]
        assert reader.num_frames == len(expected), (reader.num_frames, len(expected))
        frames = torch.rot90(reader.read(torch.tensor(indices)), -rotation // 90, (1, 2))
        got = read_numbers(frames)
        numbers = [expected[index] for index in indices]
        assert got == numbers, f"{decoder}: expected {numbers}, got {got}"
    return "right"


def table() -> str:
    """The document."""
    lines = [
        "# What each decoder does with each file",
        "",
        "Clips whose frames show their number, written in each encoding and read back frame by frame by lists of",
        "indices. *right*: every list returned exactly its frames. Anything else is the error that the reader raises;",
        "no decoder returns a wrong frame (`tests/data/test_corpus.py`). Files in other containers (MPEG-TS, MPEG-PS,",
        "WMV, FLV, GIF) are refused by their first bytes, by `gcvideo prepare` too.",
        "Made by `python -m tests.data.corpus > docs/decoders.md`.",
        "",
        "| file | " + " | ".join(DECODERS) + " |",
        "|---|" + "---|" * len(DECODERS),
    ]
    for clip in CLIPS:
        with tempfile.TemporaryDirectory() as folder:
            path, expected = clip.write(Path(folder))
            cells = [outcome(path, expected, decoder, clip.rotation) for decoder in DECODERS]
        lines.append(f"| {clip.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
