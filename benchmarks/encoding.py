"""What `gcvideo prepare` makes of videos: size and PSNR against the source, time to make, time to read.

    python -m benchmarks.encoding VIDEOS... [--clips 20]

PSNR is over the RGB values of every 5th frame; where the size changes, the frames of the source are scaled by PyTorch.
Reading is CPU time for the 8 frames at stride 8 of a training clip, by our PyAV reader and by decord, in one thread.
The time of decord includes the check whether it is accurate for the file, as in training.
"""

import argparse
import gc
import math
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from gcvideo.data.decode import open_video
from gcvideo.dataset_tools.options import Encoding
from gcvideo.dataset_tools.transcode import transcode

ENCODINGS = (
    Encoding(),
    Encoding(crf=18),
    Encoding(crf=23),
    Encoding(preset="veryfast"),
    Encoding(short_side=320),
    Encoding(short_side=128),
)


def psnr(source, prepared):
    """Decibels, over every 5th frame."""
    reader = open_video(prepared, "pyav")
    indices = torch.arange(0, reader.num_frames, 5)
    frames = reader.read(indices).float()  # [N, H, W, 3]
    expected = open_video(source, "pyav").read(indices).float()
    if expected.shape != frames.shape:
        channels_first = expected.permute(0, 3, 1, 2)
        scaled = F.interpolate(channels_first, frames.shape[1:3], mode="bicubic", antialias=True)
        expected = scaled.permute(0, 2, 3, 1)
    error = float(((frames - expected.clamp(0, 255)) ** 2).mean())
    return 10 * math.log10(255**2 / max(error, 1e-9))


def clip_ms(path, clips):
    """Mean CPU ms of a clip by PyAV and by decord, in turns."""
    seconds = {"pyav": 0.0, "decord": 0.0}
    num_frames = open_video(path, "pyav").num_frames
    for number in range(clips):
        start = number * max(num_frames - 57, 0) // clips
        indices = torch.arange(start, start + 57, 8).clamp(max=num_frames - 1)
        for decoder in seconds:
            began = time.process_time()
            open_video(path, decoder).read(indices)
            seconds[decoder] += time.process_time() - began
    return [1000 * value / clips for value in seconds.values()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--clips", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    print("| video | encoding | size / source | PSNR dB | to make, CPU s | clip, pyav ms | clip, decord ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prepared.mp4"
        for source in args.videos:
            times = " | ".join(f"{value:.1f}" for value in clip_ms(source, args.clips))
            print(f"| {Path(source).name} | unchanged | 1 | | | {times} |")
            for encoding in ENCODINGS:
                began = time.process_time()
                transcode(source, target, encoding)
                seconds = time.process_time() - began
                ratio = target.stat().st_size / os.path.getsize(source)
                times = " | ".join(f"{value:.1f}" for value in clip_ms(str(target), args.clips))
                name = f"short side {encoding.short_side}, crf {encoding.crf}, {encoding.preset}"
                print(f"| | {name} | {ratio:.2f} | {psnr(source, str(target)):.1f} | {seconds:.1f} | {times} |")


if __name__ == "__main__":
    main()
