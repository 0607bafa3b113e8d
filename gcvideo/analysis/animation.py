"""Pictures as an animated GIF."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def gif(pictures: Sequence[NDArray[np.uint8]], seconds: float) -> bytes:
    """A GIF file that repeats for ever.

    Args:
        pictures: uint8 [H, W, 3] each, of one size.
        seconds: that each is shown; GIF counts in hundredths, and browsers show none for less than two.
    """
    # One palette for all pictures: with one for each, what stands still flickers.
    sample = np.concatenate([picture[::4, ::4] for picture in pictures])
    palette = Image.fromarray(sample).quantize(256, dither=Image.Dither.NONE)
    frames = [Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    stream = io.BytesIO()
    duration_ms = max(round(seconds * 100), 2) * 10
    frames[0].save(stream, format="GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0)
    return stream.getvalue()
