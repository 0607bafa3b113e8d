"""The packets of a video stream: what can be known of a file without decoding it.

A packet holds one coded picture. Its presentation time (pts) says when the picture is shown, its place in the file
when it is decoded; with B-frames the two orders differ. Packets that the edit list of an MP4 cuts off are decoded,
because others refer to them, and not shown.

Letters: P packets, in decode order.
"""

import io
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Discard

from gcvideo.data.decode.reader import MAX_PIXELS, VideoDecodeError

KEPT_BYTES = 2**26
"""Files up to this size are read once and their packets kept; larger ones are read a second time to decode."""

_NO_TIME = -(2**63)
_INDEXED = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "prores")
"""Codecs of which every packet in MP4 or Matroska is one picture. (VP8 has packets that are never shown.)"""


_REORDERED = ("h264", "hevc", "mpeg4")
"""Those of which pictures are decoded in another order than shown; elsewhere times out of order are a mistake."""


class VideoFile:
    """The video stream of an open file, demuxed.

    Args:
        path: the file.
        data: its contents, if they are in memory.

    Attributes:
        container, codec, pix_fmt: FFmpeg's names, such as "mov,mp4,m4a,3gp,3g2,mj2", "h264", "yuv420p".
        width, height: in pixels as coded, before rotation.
        fps: average frame rate; 0 if the file tells none.
        pts: int64 [P], in units of the stream's time base.
        is_key: bool [P]; decoding can start here. Of H.264 only IDR pictures: the others that files mark as key
            packets (open GOP, intra refresh) give right pictures only after some more, or none.
        keys_are_idr: False if the file marks such other pictures, or more than there are.
        is_shown: bool [P]; False for what the edit list cuts off.

    Raises:
        VideoDecodeError: can't be opened, has no video stream, or its frames are too large.
    """

    _container: Any = None  # an `av` container, while open

    def __init__(self, path: str, data: bytes | None = None):
        self.path, self._data = path, data
        stream = self._open()
        coded = stream.codec_context
        self.container, self.codec = str(stream.container.format.name), str(coded.codec.canonical_name)
        self.pix_fmt, self.width, self.height = str(coded.pix_fmt), int(coded.width), int(coded.height)
        self.time_base, self.fps = stream.time_base, float(stream.average_rate or stream.guessed_rate or 0)
        extradata = coded.extradata
        index_keys = sum(entry.is_keyframe for entry in stream.index_entries)  # FFmpeg may know better than the file
        del stream, coded  # freed by FFmpeg when the file is opened again
        if not 0 < self.width * self.height <= MAX_PIXELS:
            raise VideoDecodeError(path, f"frames of {self.width} x {self.height} pixels; wanted 1 to {MAX_PIXELS}")
        size = len(data) if data is not None else Path(path).stat().st_size
        self._kept = list(self._demux()) if size <= KEPT_BYTES else None
        pts, is_key, is_shown = [], [], []  # no tuples: so many would set off Python's garbage collection
        for packet in self.packets():
            pts.append(_NO_TIME if packet.pts is None else packet.pts)
            is_key.append(packet.is_keyframe)
            is_shown.append(not packet.is_discard)
        if not pts:
            raise VideoDecodeError(path, "no frames")
        self.pts, self.is_key, self.is_shown = np.array(pts), np.array(is_key), np.array(is_shown)
        self.keys_are_idr = index_keys <= int(self.is_key.sum())
        if self.codec in ("h264", "mpeg4"):
            self._find_starts(extradata)

    def _open(self) -> Any:
        """Open the file (again) and return its video stream, the decoder set to one thread."""
        self.close()
        try:
            # an absolute path: "concat:a" or "http:a" would be a protocol of FFmpeg's
            source = os.path.abspath(self.path) if self._data is None else io.BytesIO(self._data)
            self._container = av.open(source, metadata_errors="ignore")
            stream = self._container.streams.best("video")
            if stream is None:
                raise VideoDecodeError(self.path, "no video stream in the file")
            if stream.codec_context is None:
                raise VideoDecodeError(self.path, "an unknown codec")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoDecodeError(self.path, f"can't be opened: truncated, or not a video ({error})") from None
        for other in self._container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
        stream.codec_context.flags |= Flags.unaligned  # crop exactly as the file tells
        self.decoder = stream.codec_context
        self._stream = stream
        return stream

    def _demux(self) -> Iterator[Any]:
        try:
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        except (av.FFmpegError, OSError) as error:
            raise VideoDecodeError(self.path, f"damaged file ({error})") from None

    def packets(self) -> Iterator[Any]:
        """The packets in decode order; the decoder is at its start."""
        if self._kept is not None:
            self.decoder.flush_buffers()
            return iter(self._kept)
        self._open()
        return self._demux()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._container = None

    def __del__(self) -> None:
        self.close()  # PyAV's own objects refer to each other in a circle, which only the garbage collector ends

    @cached_property
    def order(self) -> np.ndarray:
        """Place in decode order of each frame: frame i is packet order[i], where `is_indexed`."""
        shown = np.flatnonzero(self.is_shown)
        return shown[np.argsort(self.pts[shown], kind="stable")]

    @cached_property
    def is_indexed(self) -> bool:
        """Whether packets tell the frames: one packet a picture, each with a time of its own, a key packet first."""
        times = self.pts[self.order]
        return (
            self.codec in _INDEXED
            and self.container.startswith(("mov,", "matroska,"))
            and len(times) > 0
            and bool(self.is_key[0])
            and int(self.pts.min()) == int(self.pts[0])  # else there are pictures in front of the first key packet
            and bool((times[1:] > times[:-1]).all())
            and (self.codec in _REORDERED or bool((self.pts[1:] > self.pts[:-1]).all()))
        )

    def start(self, place: int) -> int:
        """Place of the latest key packet from which decoding gives the packet at `place` right.

        A picture that is shown before the key packet it follows (open GOP) may refer to what lies in front of that
        key packet, so it needs an earlier one.
        """
        keys = self._keys[: np.searchsorted(self._keys, place, side="right")]
        return next((int(key) for key in keys[::-1] if self.pts[key] <= self.pts[place]), 0)

    @cached_property
    def has_open_gop(self) -> bool:
        """Whether some pictures refer beyond the key packet in front of them."""
        latest = self._keys[np.searchsorted(self._keys, np.arange(len(self.pts)), side="right") - 1]
        return not self.keys_are_idr or bool((self.pts < self.pts[latest]).any())

    @cached_property
    def _keys(self) -> np.ndarray:
        return np.flatnonzero(self.is_key)

    def _find_starts(self, extradata: bytes | None) -> None:
        for place, packet in enumerate(self.packets()):
            if self.is_key[place] and not _starts(self.codec, bytes(packet), extradata):
                self.is_key[place] = self.keys_are_idr = False


def _starts(codec: str, data: bytes, extradata: bytes | None) -> bool:
    """Whether decoding can start at a packet, whatever the file says.

    MPEG-4: its picture is an I-VOP (ISO 14496-2, 6.2.5: vop_coding_type 0). H.264: it has an IDR slice (ITU-T H.264,
    7.4.1: nal_unit_type 5).
    """
    if codec == "mpeg4":
        place = data.find(b"\0\0\1\xb6")
        return 0 <= place < len(data) - 4 and data[place + 4] >> 6 == 0
    if not extradata or extradata[0] != 1:  # Annex B: units behind start codes
        return any(unit[:1] and unit[0] & 31 == 5 for unit in data.split(b"\0\0\1"))
    width = (extradata[4] & 3) + 1  # ISO 14496-15: units behind their length
    place = 0
    while place + width < len(data):
        if data[place + width] & 31 == 5:
            return True
        place += width + int.from_bytes(data[place : place + width], "big")
    return False
