"""The packets of a video stream: everything that a file reveals without being decoded.

A packet holds one coded picture. Packets lie in the file in the order in which they are decoded; their presentation
time (pts) says when the picture is shown. With B-frames the two orders differ:

    # packet number    0 1 2 3 4 5
    # picture          I P B B P B        (a B refers to the pictures shown before and after it)
    # pts              0 3 1 2 5 4
    # order            0 2 3 1 5 4        frame i is packet order[i]

Packets that the edit list of an MP4 cuts off are decoded, because others refer to them, but not shown.

Letters: P packets, in decode order. A packet's number is its index in that order.
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

_NO_TIME = -(2**63)  # AV_NOPTS_VALUE of FFmpeg

_INDEXED = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "prores")
"""Codecs of which every packet in MP4 or Matroska is one picture. (VP8 has packets that are never shown.)"""

_REORDERED = ("h264", "hevc", "mpeg4")
"""Codecs whose pictures are decoded in another order than shown; elsewhere times out of order are a mistake."""


class VideoFile:
    """The video stream of an open file, demuxed.

    Args:
        path: the file.
        data: its contents, if they are in memory.

    Attributes:
        container, codec, pix_fmt: FFmpeg's names, such as "mov,mp4,m4a,3gp,3g2,mj2", "h264", "yuv420p".
        width, height: in pixels as coded, before rotation.
        fps: average frame rate; 0 if the file has none.
        pts: int64 [P], in units of the stream's time base.
        is_key: bool [P]; decoding can start here. In H.264 only IDR pictures: the others that files mark as key packets
            (open GOP, intra refresh) yield correct pictures only after some more packets, or never.
        keys_are_idr: False if the file marks such other pictures, or more key packets than there are.
        is_shown: bool [P]; False for what the edit list cuts off.

    Raises:
        VideoDecodeError: can't be opened, has no video stream, or its frames are too large.
    """

    _container: Any = None  # an `av` container, while open

    def __init__(self, path: str, data: bytes | None = None):
        self.path, self._data = path, data
        self._read_header()
        self._check_frame_size()
        size = len(data) if data is not None else Path(path).stat().st_size
        self._kept = list(self._demux()) if size <= KEPT_BYTES else None
        self._read_packets()
        self._check_keys()

    def _read_header(self) -> None:
        """Open the file and set what its header says."""
        stream = self._open()
        coded = stream.codec_context
        self.container, self.codec = str(stream.container.format.name), str(coded.codec.canonical_name)
        self.pix_fmt, self.width, self.height = str(coded.pix_fmt), int(coded.width), int(coded.height)
        self.time_base, self.fps = stream.time_base, float(stream.average_rate or stream.guessed_rate or 0)
        # `stream` must not outlive this method: FFmpeg frees it when the file is opened again.
        self._extradata: bytes | None = coded.extradata
        self._num_index_keys = sum(entry.is_keyframe for entry in stream.index_entries)

    def _check_frame_size(self) -> None:
        if not 0 < self.width * self.height <= MAX_PIXELS:
            raise VideoDecodeError(
                self.path, f"expected frames of 1 to {MAX_PIXELS} pixels, got {self.width} x {self.height}"
            )

    def _read_packets(self) -> None:
        """Set the arrays [P]."""
        # Three lists of numbers and not one of tuples: so many tuples would set off Python's garbage collection.
        pts, is_key, is_shown = [], [], []
        for packet in self.packets():
            pts.append(_NO_TIME if packet.pts is None else packet.pts)
            is_key.append(packet.is_keyframe)
            is_shown.append(not packet.is_discard)
        if not pts:
            raise VideoDecodeError(self.path, "no frames")
        self.pts, self.is_key, self.is_shown = np.array(pts), np.array(is_key), np.array(is_shown)

    def _check_keys(self) -> None:
        """Correct `is_key` where the file marks packets at which decoding can't start, and set `keys_are_idr`."""
        # FFmpeg's index may have fewer key packets than the file marks: it looks into some of them.
        self.keys_are_idr = self._num_index_keys <= int(self.is_key.sum())
        if self.codec not in ("h264", "mpeg4"):
            return
        for number, packet in enumerate(self.packets()):
            if self.is_key[number] and not _is_start(self.codec, bytes(packet), self._extradata):
                self.is_key[number] = self.keys_are_idr = False

    def _open(self) -> Any:
        """Open the file (again) and return its video stream, the decoder set to one thread."""
        self.close()
        try:
            # An absolute path: FFmpeg would take "concat:a" or "http:a" for a protocol.
            source = os.path.abspath(self.path) if self._data is None else io.BytesIO(self._data)
            # Titles and comments need not be valid UTF-8; by default PyAV would refuse such a file.
            self._container = av.open(source, metadata_errors="ignore")
            stream = self._container.streams.best("video")
            if stream is None:
                raise VideoDecodeError(self.path, "no video stream in the file")
            if stream.codec_context is None:
                raise VideoDecodeError(self.path, "an unknown codec")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoDecodeError(self.path, f"can't be opened: truncated, or not a video ({error})") from None
        # Other streams are not even read, and one thread decodes: the loader has a process for each core already.
        for other in self._container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}  # else FFmpeg conceals damage
        stream.codec_context.flags |= Flags.unaligned  # crop exactly as the file says
        self.decoder = stream.codec_context
        self._stream = stream
        return stream

    def _demux(self) -> Iterator[Any]:
        try:
            # PyAV ends a stream with an empty packet, which would flush the decoder.
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
        self.close()  # PyAV's objects refer to each other in a circle: only the garbage collector would free them

    @cached_property
    def order(self) -> np.ndarray:
        """Packet number of each frame: frame i is packet order[i], where `is_indexed`."""
        shown = np.flatnonzero(self.is_shown)
        return shown[np.argsort(self.pts[shown], kind="stable")]

    @cached_property
    def is_indexed(self) -> bool:
        """Whether packets determine the frames: one packet a picture, each with its own time, a key packet first."""
        times = self.pts[self.order]
        return (
            self.codec in _INDEXED
            and self.container.startswith(("mov,", "matroska,"))
            and len(times) > 0  # an edit list can cut everything off
            and bool(self.is_key[0])
            and int(self.pts.min()) == int(self.pts[0])  # else pictures are shown before the first key packet
            and bool((times[1:] > times[:-1]).all())
            and (self.codec in _REORDERED or bool((self.pts[1:] > self.pts[:-1]).all()))
        )

    def start(self, number: int) -> int:
        """Number of the latest key packet from which decoding yields packet `number` correctly.

        A picture that is shown before the key packet it follows in the file (open GOP) may refer to pictures before
        that key packet, so it needs an earlier one:

            # packet number   0 1 2 3 4 5
            # picture         I P B I B B     with I at 0 and 3; the Bs at 4 and 5 are shown before the I at 3
            # pts             0 2 1 5 3 4     start(4) = start(5) = 0, start(3) = 3
        """
        keys = self._keys[: np.searchsorted(self._keys, number, side="right")]
        return next((int(key) for key in keys[::-1] if self.pts[key] <= self.pts[number]), 0)

    @cached_property
    def has_open_gop(self) -> bool:
        """Whether some pictures refer to pictures before the key packet that they follow."""
        # [P]: number of the latest key packet at or before each packet
        latest = self._keys[np.searchsorted(self._keys, np.arange(len(self.pts)), side="right") - 1]
        return not self.keys_are_idr or bool((self.pts < self.pts[latest]).any())

    @cached_property
    def _keys(self) -> np.ndarray:
        """Numbers of the key packets, ascending."""
        return np.flatnonzero(self.is_key)


def _is_start(codec: str, data: bytes, extradata: bytes | None) -> bool:
    """Whether decoding can start at a packet, whatever the file says.

    MPEG-4: its picture is an I-VOP (ISO 14496-2, 6.2.5: vop_coding_type 0). H.264: it has an IDR slice (ITU-T H.264,
    7.4.1: nal_unit_type 5).
    """
    if codec == "mpeg4":
        start = data.find(b"\0\0\1\xb6")  # start code of a VOP; the type is in the two bits after it
        return 0 <= start < len(data) - 4 and data[start + 4] >> 6 == 0
    if not extradata or extradata[0] != 1:  # Annex B: each unit follows a start code
        return any(unit[:1] and unit[0] & 31 == 5 for unit in data.split(b"\0\0\1"))
    length_bytes = (extradata[4] & 3) + 1  # ISO 14496-15: each unit follows its length
    offset = 0
    while offset + length_bytes < len(data):
        if data[offset + length_bytes] & 31 == 5:
            return True
        offset += length_bytes + int.from_bytes(data[offset : offset + length_bytes], "big")
    return False
