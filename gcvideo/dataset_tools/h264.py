"""Frames to H.264 files, equal frames to equal bytes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcvideo.files import replacing


def write_video(path: Path, frames: NDArray[np.uint8], fps: int = 15) -> None:
    """Write [T, H, W, 3] uint8 as H.264 in MP4; H and W even. Equal frames give equal bytes."""
    import av

    with replacing(path) as partial_file, av.open(str(partial_file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "g": "12", "threads": "1"}
        # mbtree reads uninitialised memory: equal frames would now and then give other bytes (x264 in PyAV 18.1)
        stream.options |= {"x264-params": "mbtree=0"}
        for frame in frames:
            # converted here: left to the encoder, equal frames sometimes give other bytes (PyAV 18.1)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
