"""PyAV, selective: decodes what the frames asked for need, and no more.

The packets are read once (`VideoFile`), so that nothing is sought by time. From the latest key packet that gives a
frame right, packets are decoded up to it; of H.264, pictures to which no other refers are passed over unless they are
asked for (FFmpeg's `skip_frame`), which leaves all others bit for bit as a full decode gives them.

Where packets do not tell the frames (AVI, VP8, packets without times; `VideoFile.is_indexed`), frames are counted by
decoding from the start, which is exact and slow.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from gcvideo.data.decode.packets import VideoFile
from gcvideo.data.decode.reader import VideoDecodeError, read_each_once

_DEFAULT, _NONREF = "DEFAULT", "NONREF"


class PyavReader:
    """Reads any file that FFmpeg decodes; good for one `read`, which closes the file.

    Args:
        file: the file, demuxed.
    """

    decoder = "pyav"

    def __init__(self, file: VideoFile):
        self._file = file
        self.fps = file.fps
        self.num_frames = len(file.order) if file.is_indexed else sum(1 for _ in decode_all(file))
        if self.num_frames < 1:
            raise VideoDecodeError(file.path, "no frames")

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        return read_each_once(self._file.path, indices, self.num_frames, self._read)

    def _read(self, wanted: Tensor) -> Tensor:
        try:
            if self._file.is_indexed:
                try:
                    return self._gather(self._selected(wanted.tolist()), wanted)
                except VideoDecodeError:
                    if sum(1 for _ in decode_all(self._file)) != self.num_frames:
                        raise
            return self._gather(enumerate(decode_all(self._file)), wanted)
        finally:
            self._file.close()

    def _gather(self, frames: Iterable[tuple[int, Any]], wanted: Tensor) -> Tensor:
        """The frames `wanted` [n], ascending, out of (index, frame) pairs: [n, H, W, 3]."""
        place_of = {index: place for place, index in enumerate(wanted.tolist())}
        canvas: Tensor | None = None
        turn: int | None = None
        reformatter = VideoReformatter()
        for index, frame in frames:
            if index not in place_of:
                continue
            if turn is None:  # of the first alone: PyAV's side data tie a frame into a circle that lives on for a while
                turn = turn_of(self._file.path, frame)
            image = upright(reformatter.reformat(frame, format="rgb24").to_ndarray(), turn)
            if canvas is None:
                canvas = torch.empty((len(wanted), *image.shape), dtype=torch.uint8)
            if image.shape != canvas.shape[1:]:
                sizes = f"from {tuple(canvas.shape[1:3])} to {image.shape[:2]}"
                raise VideoDecodeError(self._file.path, f"frames change size {sizes}")
            canvas[place_of.pop(index)] = torch.from_numpy(image)
            if not place_of:
                return canvas
        raise VideoDecodeError(self._file.path, f"{len(place_of)} of {len(wanted)} frames are missing")

    def _selected(self, wanted: list[int]) -> Iterator[tuple[int, Any]]:
        """(index, frame) of the frames `wanted`, ascending, and of some others."""
        file, decoder = self._file, self._file.decoder
        index_of = {int(file.pts[place]): index for index, place in enumerate(file.order)}
        places = sorted(int(file.order[index]) for index in wanted)
        asked = set(places)
        needed = np.zeros(len(file.pts), bool)
        for place in places:
            needed[file.start(place) : place + 1] = True
        passing = _NONREF if file.codec == "h264" else _DEFAULT
        running = False
        for place, packet in enumerate(file.packets()):
            if needed[place]:
                decoder.skip_frame = _DEFAULT if place in asked else passing
                frames = _decode(file, packet)
                running = True
            elif running:
                frames = _decode(file, None)
                decoder.flush_buffers()
                running = False
            else:
                continue
            yield from ((index_of[frame.pts], frame) for frame in frames if frame.pts in index_of)
        if running:
            yield from ((index_of[frame.pts], frame) for frame in _decode(file, None) if frame.pts in index_of)


def decode_all(file: VideoFile) -> Iterator[Any]:
    """All frames (`av.VideoFrame`) in order of presentation.

    Raises:
        VideoDecodeError: any damage that FFmpeg notices.
    """
    file.decoder.skip_frame = _DEFAULT
    for packet in file.packets():
        yield from _decode(file, packet)
    yield from _decode(file, None)


def _decode(file: VideoFile, packet: Any) -> list[Any]:
    """Frames that the decoder gives for this packet; None ends the stream."""
    try:
        frames = file.decoder.decode(packet)
    except av.EOFError:
        return []
    except av.FFmpegError as error:
        raise VideoDecodeError(file.path, f"damaged video ({error.strerror}; {file.codec})") from None
    if any(frame.is_corrupt for frame in frames):
        raise VideoDecodeError(file.path, f"damaged video (a corrupt frame; {file.codec})")
    return frames


def turn_of(path: str, frame: Any) -> int:
    """Angle of the file's display matrix for a frame, in degrees counterclockwise.

    Raises:
        VideoDecodeError: the matrix mirrors.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack_from("<5i", bytes(data))
            if a * d - b * c < 0:
                raise VideoDecodeError(path, "is shown mirrored (by its display matrix), which is not supported")
    return int(frame.rotation)


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turn [H, W, 3] by the angle of the file's display matrix, in degrees counterclockwise."""
    if rotation == 0 or rotation % 90:
        return image
    return np.ascontiguousarray(np.rot90(image, rotation // 90 % 4))
