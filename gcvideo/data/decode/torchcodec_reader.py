"""torchcodec, for the sorts of files that it reads exactly.

An extra: `pip install 'gcvideo[torchcodec]'`, and FFmpeg's shared libraries.
"""

from typing import Any

from torch import Tensor

from gcvideo.data.decode.packets import VideoFile
from gcvideo.data.decode.reader import VideoDecodeError, read_each_once
from gcvideo.errors import UsageError


def torchcodec_fault(file: VideoFile) -> str | None:
    """Why torchcodec must not read this file (it would return other frames); None if it may."""
    if not file.container.startswith(("mov,", "matroska,")):
        return f"torchcodec is not reliable in this container ({file.container})"
    if not file.is_indexed:
        return "torchcodec is not reliable where packets have no timestamps of their own"
    if not file.keys_are_idr:
        return "torchcodec is not reliable where key pictures are not IDR (open GOP, intra refresh)"
    return None


class TorchcodecReader:
    """torchcodec's `VideoDecoder` in its exact mode; good for one `read`.

    Args:
        file: the file, demuxed; it is closed, because torchcodec opens the file itself.
        data: its contents, if they are in memory.
    """

    decoder = "torchcodec"

    def __init__(self, file: VideoFile, data: bytes | None = None):
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:
            raise UsageError(
                f"decoder torchcodec needs the package torchcodec and FFmpeg's shared libraries "
                f"(pip install 'gcvideo[torchcodec]'): {str(error).splitlines()[0]}"
            ) from None
        file.close()
        self._path = path = file.path
        try:
            # "exact" scans the file first; "approximate" computes times from the average rate.
            self._decoder: Any = VideoDecoder(
                path if data is None else data, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
            self.num_frames = int(self._decoder.metadata.num_frames)
            self.fps = float(self._decoder.metadata.average_fps)
        except Exception as error:  # ValueError, RuntimeError and others
            raise VideoDecodeError(path, f"can't be opened by torchcodec ({str(error).splitlines()[0]})") from None
        # With a packet lost, an index would mean another frame.
        if self.num_frames != len(file.order):
            raise VideoDecodeError(
                path, f"damaged video (torchcodec finds {self.num_frames} of {len(file.order)} frames)"
            )

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        return read_each_once(self._path, indices, self.num_frames, self._read)

    def _read(self, indices: Tensor) -> Tensor:
        try:
            frames = self._decoder.get_frames_at(indices.tolist()).data  # [n, H, W, 3]
        except Exception as error:
            raise VideoDecodeError(self._path, f"damaged video (torchcodec: {str(error).splitlines()[0]})") from None
        finally:
            del self._decoder
        return frames
