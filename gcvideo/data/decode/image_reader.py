"""Images, by torchvision."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from gcvideo.data.decode.reader import MAX_PIXELS, VideoDecodeError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Files that are read as a video of one frame."""


class ImageReader:
    """An image as a video of one frame.

    Args:
        path: the file.
        data: its contents, if they are in memory.
    """

    decoder = "image"
    num_frames = 1
    fps = 1.0  # any positive number: target_fps requires one

    def __init__(self, path: str, data: bytes | None = None):
        self._path, self._data = path, data

    def read(self, indices: Tensor) -> Tensor:
        """See `Reader.read`."""
        if bool((indices != 0).any()):
            raise VideoDecodeError(
                self._path, f"frames {indices.tolist()} requested of an image, which has only frame 0"
            )
        try:
            data = self._contents()
            with Image.open(io.BytesIO(data)) as header:  # reads the size only
                if header.width * header.height > MAX_PIXELS:
                    raise ValueError(f"{header.width} x {header.height} pixels")
            coded = torch.from_numpy(np.frombuffer(data, np.uint8).copy())  # copied: torch warns of read-only memory
            image = decode_image(coded, mode=ImageReadMode.RGB, apply_exif_orientation=True)  # [3, H, W]
        except Exception as error:  # OSError, RuntimeError and others
            raise VideoDecodeError(self._path, f"not an image that can be read ({error})") from None
        return image.permute(1, 2, 0).expand(len(indices), -1, -1, -1)

    def _contents(self) -> bytes:
        if self._data is not None:
            return self._data
        if not Path(self._path).is_file():  # reading a FIFO would block for ever
            raise OSError("no such file" if not Path(self._path).exists() else "not a regular file")
        return Path(self._path).read_bytes()
