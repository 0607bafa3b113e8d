"""PyAV, selective: decodes what the requested frames need, and no more.

The packets are read once (`VideoFile`), so nothing is sought by time. From the latest key packet that yields a frame
correctly, packets are decoded up to it. H.264 pictures to which no other refers are skipped unless they are requested
(FFmpeg's `skip_frame`), which leaves all others bit for bit as in a full decode. For frame 5 of a closed group:

    # picture           I B P B P B P B      (each B refers to its neighbours, nothing refers to it)
    # frame             0 1 2 3 4 5 6 7
    # decoded           I   P   P B P        4 pictures of references and the requested one

Where packets do not determine the frames (AVI, VP8, packets without times; `VideoFile.is_indexed`), frames are counted
by decoding from the start, which is exact and slow.
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
    """Reads any file that FFmpeg decodes. It is for one `read`, which closes the file.

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

    def stream(self) -> Iterator[Tensor]:
        """All frames in order, uint8 RGB [H, W, 3] each; the file is closed after the last one.

        Raises:
            VideoDecodeError: a frame can't be decoded.
        """
        reformatter = VideoReformatter()
        turn: int | None = None
        try:
            for frame in decode_all(self._file):
                if turn is None:
                    turn = turn_of(self._file.path, frame)
                image = upright(reformatter.reformat(frame, format="rgb24").to_ndarray(), turn)
                yield torch.from_numpy(image)
        finally:
            self._file.close()

    def _read(self, indices: Tensor) -> Tensor:
        try:
            if self._file.is_indexed:
                try:
                    return self._gather(self._decode_needed(indices.tolist()), indices)
                except VideoDecodeError:
                    # Some undamaged streams can't be entered at a key packet. Damaged ones fail here again, or have
                    # fewer frames than packets.
                    if sum(1 for _ in decode_all(self._file)) != self.num_frames:
                        raise
            return self._gather(enumerate(decode_all(self._file)), indices)
        finally:
            self._file.close()

    def _gather(self, frames: Iterable[tuple[int, Any]], indices: Tensor) -> Tensor:
        """The frames at `indices` [n], ascending, out of (index, frame) pairs: [n, H, W, 3]."""
        row_of = {index: row for row, index in enumerate(indices.tolist())}
        images: Tensor | None = None
        turn: int | None = None
        reformatter = VideoReformatter()  # one for all frames: it keeps its scaling context
        for index, frame in frames:
            if index not in row_of:
                continue
            if turn is None:  # of the first only: looking at side data ties a frame into a circle that is freed late
                turn = turn_of(self._file.path, frame)
            image = upright(reformatter.reformat(frame, format="rgb24").to_ndarray(), turn)
            if images is None:
                images = torch.empty((len(indices), *image.shape), dtype=torch.uint8)
            if image.shape != images.shape[1:]:
                sizes = f"from {tuple(images.shape[1:3])} to {image.shape[:2]}"
                raise VideoDecodeError(self._file.path, f"frames change size {sizes}")
            images[row_of.pop(index)] = torch.from_numpy(image)
            if not row_of:  # the last one: nothing after it is decoded
                return images
        raise VideoDecodeError(self._file.path, f"{len(row_of)} of {len(indices)} frames are missing")

    def _decode_needed(self, indices: list[int]) -> Iterator[tuple[int, Any]]:
        """(index, frame) of the frames at `indices`, ascending, and of some others."""
        file, decoder = self._file, self._file.decoder
        # The decoder returns frames late and in presentation order: they are recognised by their times.
        # Frames that the edit list cuts off are decoded, too, and have no index.
        index_of = {int(file.pts[number]): index for index, number in enumerate(file.order)}
        requested = {int(file.order[index]) for index in indices}  # packet numbers
        needed = self._needed(requested)
        # A picture that is only needed for others to refer to can be skipped if none does.
        skip_unrequested = _NONREF if file.codec == "h264" else _DEFAULT
        running = False
        for number, packet in enumerate(file.packets()):
            if needed[number]:
                decoder.skip_frame = _DEFAULT if number in requested else skip_unrequested
                frames = _decode(file, packet)
                running = True
            elif running:  # the end of a run: the decoder still holds frames, and must forget its references
                frames = _decode(file, None)
                decoder.flush_buffers()
                running = False
            else:
                continue
            yield from ((index_of[frame.pts], frame) for frame in frames if frame.pts in index_of)
        if running:
            yield from ((index_of[frame.pts], frame) for frame in _decode(file, None) if frame.pts in index_of)

    def _needed(self, requested: Iterable[int]) -> np.ndarray:
        """bool [P]: the packets from the key packet before each requested one up to it."""
        needed = np.zeros(len(self._file.pts), bool)
        for number in requested:
            needed[self._file.start(number) : number + 1] = True
        return needed


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
    """Frames that the decoder returns for this packet; None ends the stream."""
    try:
        frames = file.decoder.decode(packet)
    except av.EOFError:
        return []
    except av.FFmpegError as error:
        raise VideoDecodeError(file.path, f"damaged video ({error.strerror}; {file.codec})") from None
    # FFmpeg conceals damage and marks the frame: the picture looks plausible and is wrong.
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
            a, b, _, c, d = struct.unpack_from("<5i", bytes(data))  # rows [a, b, u], [c, d, v], ...
            if a * d - b * c < 0:  # a negative determinant mirrors; a rotation has +1
                raise VideoDecodeError(path, "is shown mirrored (by its display matrix), which is not supported")
    return int(frame.rotation)


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turn [H, W, 3] by the angle of the file's display matrix, in degrees counterclockwise."""
    if rotation == 0 or rotation % 90:
        return image
    # rot90 returns a view with negative strides, which torch.from_numpy refuses.
    return np.ascontiguousarray(np.rot90(image, rotation // 90 % 4))
