"""CPU time from a video file to a training clip and to 30 test views, next to decord, pytorchvideo and a full decode.

    python -m benchmarks.decode VIDEOS... [--trials 30] [--views-trials 5]

Each video (64 frames or more) is re-encoded as it could be downloaded (x264, a key frame every 250, 30 or 12 frames)
and prepared (`gcvideo prepare`), at its own size and scaled up to 1280x720. A clip has 8 frames at stride 8, its short
side jittered in 256-320, 224 x 224 cropped; the views are 10 clips x 3 squares of 256. In each trial all methods get
the same (video, start, seed), in shuffled order. The time is that of all threads of the process; PyTorch has one.
"""

import argparse
import functools
import gc
import importlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import decord
import torch
import torchvision
from pytorchvideo.data.encoded_video import EncodedVideo
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from gcvideo.data.dataset import EvalDataset
from gcvideo.data.decode import VideoFile, open_video
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Views, random_view
from gcvideo.data.videos import Videos
from gcvideo.dataset_tools.options import Encoding
from gcvideo.dataset_tools.transcode import transcode

sys.modules["torchvision.transforms.functional_tensor"] = torchvision.transforms._functional_tensor  # its old name
ptv = importlib.import_module("pytorchvideo.transforms.functional")

FRAMES, STRIDE, SPAN, SIDES, SIZE = 8, 8, 64, (256, 320), 224
CLIP = Clip(FRAMES, STRIDE)
CLIPS, SQUARES, VIEW = 10, 3, 256
RAW, PREPARED, RAW_720, PREPARED_720 = "GOP 250", "prepared", "1280x720 GOP 250", "1280x720 prepared"
PLAIN, PTV, PYAV, DECORD = "decord, plain", "pytorchvideo, pyav", "gcvideo, pyav", "gcvideo, decord"
PTV_SINGLE, DECORD_SINGLE = "pytorchvideo, one view per sample", "decord, one view per sample"
FULL = "limit: the whole file decoded"


def encode(source: str, target: str, gop: int, preset: str = "medium", size: tuple[int, int] | None = None) -> str:
    """Encode the frames of `source` by x264 as is usual, a key frame at least every `gop`, scaled to `size`."""
    with av.open(source) as reading, av.open(target, "w") as writing:
        video = reading.streams.video[0]
        width, height = size or (video.width // 2 * 2, video.height // 2 * 2)
        options = {"crf": "23", "preset": preset, "g": str(gop)}
        stream = writing.add_stream("libx264", rate=video.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(reading.decode(video)):
            picture = frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base, picture.pict_type = number, 1 / video.average_rate, 0
            writing.mux(stream.encode(picture))
        writing.mux(stream.encode(None))
    return target


def make_variants(videos: Iterable[str], folder: str, few: bool = False) -> dict[str, list[str]]:
    """Name of each variant -> its files, one of each video; `few`: only GOP 250 and prepared."""
    made: dict[str, list[str]] = {}
    for number, video in enumerate(videos):
        path = f"{folder}/{number} {{}}.mp4".format
        files = {RAW: encode(video, path(RAW), 250)}
        if not few:
            files |= {f"GOP {gop}": encode(video, path(gop), gop) for gop in (30, 12)}
            files[RAW_720] = encode(video, path(RAW_720), 250, "veryfast", (1280, 720))
        for name, source in ((PREPARED, RAW), (PREPARED_720, RAW_720)):
            if source in files:
                files[name] = path(name)
                transcode(files[source], Path(files[name]), Encoding())
        for name, file in files.items():
            made.setdefault(name, []).append(file)
    return made


@functools.cache
def packets_of(path: str) -> VideoFile:
    """The packets of a file; read once, before anything is measured."""
    file = VideoFile(path)
    file.close()
    return file


def ours(frames: Tensor, seed: int) -> Tensor:
    """Frames [8, 3, H, W] to a clip [3, 8, 224, 224]."""
    view = random_view(frames, SIZE, SIDES, True, torch.Generator().manual_seed(seed))
    return view.transpose(0, 1).contiguous()


def usual(frames: Tensor, seed: int, resize: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The same in the usual order: whole frames resized, then cropped. [..., H, W] to [..., 224, 224]."""
    generator = torch.Generator().manual_seed(seed)
    frames = resize(frames, int(torch.randint(SIDES[0], SIDES[1] + 1, (), generator=generator)))
    top, left = (int(torch.randint(n - SIZE + 1, (), generator=generator)) for n in frames.shape[-2:])
    frames = frames[..., top : top + SIZE, left : left + SIZE]
    return frames.flip(-1) if torch.randint(2, (), generator=generator) else frames


# Methods for one clip: (path, start, seed) -> uint8 [3, 8, 224, 224]; pytorchvideo's is float32.


def gcvideo_clip(path: str, start: int, seed: int, decoder: Any) -> Tensor:
    frames = open_video(path, decoder).read(start + STRIDE * torch.arange(FRAMES))
    return ours(frames.permute(0, 3, 1, 2), seed)


def decord_clip(path: str, start: int, seed: int, transform: Callable[[Tensor, int], Tensor] | None = None) -> Tensor:
    reader = decord.VideoReader(path, num_threads=1)  # kept to the end, as in most code
    frames = get_batch(reader, range(start, start + SPAN, STRIDE))
    return transform(frames, seed) if transform else usual(frames, seed, resize).transpose(0, 1).contiguous()


def ptv_clip(path: str, start: int, seed: int, decoder: str = "pyav") -> Tensor:
    video = EncodedVideo.from_path(path, decode_audio=False, decoder=decoder)
    clip = get_clip(video, path, start)
    video.close()
    return usual(clip, seed, ptv.short_side_scale).contiguous()  # float32


def decode_only(path: str, first: int = 0, last: int = sys.maxsize) -> None:
    """Decode packets `first`..`last` with one thread, without conversion."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        for number, packet in enumerate(container.demux(stream)):
            if first <= number <= last:
                packet.decode()


def decode_span(path: str, start: int, seed: int) -> None:
    numbers = packets_of(path).order[start : start + SPAN : STRIDE]
    decode_only(path, packets_of(path).start(numbers[0]), max(numbers))


def resize(frames: Tensor, side: int) -> Tensor:
    return F.resize(frames, [side], antialias=True)


def get_batch(reader: Any, indices: Iterable[int]) -> Tensor:
    """Frames uint8 [n, 3, H, W] of decord."""
    return torch.from_numpy(reader.get_batch(list(indices)).asnumpy()).permute(0, 3, 1, 2)


def get_clip(video: Any, path: str, start: int) -> Tensor:
    """The 64 frames from `start` on, 8 of them kept: float32 [3, 8, H, W] of pytorchvideo."""
    rate = Fraction(packets_of(path).fps).limit_denominator(1001)
    decord.bridge.set_bridge("torch")  # as pytorchvideo leaves it, but the others expect "native"
    clip = video.get_clip(start / rate, (start + SPAN) / rate)["video"]
    decord.bridge.set_bridge("native")
    return ptv.uniform_temporal_subsample(clip, FRAMES)


# Methods for all views: path -> [30, 3, 8, 256, 256].


def gcvideo_views(path: str, decoder: Any) -> Tensor:
    views = Views(CLIPS, SQUARES, VIEW, VIEW)
    item = EvalDataset(Videos("", [path], [0]), CLIP, views, skip_broken=False, decoder=decoder)[0]
    assert item is not None
    return item.frames


def decord_views(path: str) -> Tensor:
    reader = decord.VideoReader(path, num_threads=1)
    needed, inverse = torch.unique(CLIP.uniform(len(reader), 0, CLIPS), return_inverse=True)
    frames = resize(get_batch(reader, needed.tolist()), VIEW)
    squares = [ptv.uniform_crop(frames, VIEW, square)[inverse] for square in range(SQUARES)]
    return torch.stack(squares, dim=1).transpose(2, 3).flatten(0, 1).contiguous()


def ptv_views(path: str) -> Tensor:
    video = EncodedVideo.from_path(path, decode_audio=False, decoder="pyav")
    clips = (get_clip(video, path, start) for start in ptv_starts(path))
    views = [ptv_square(clip, square) for clip in clips for square in range(SQUARES)]
    video.close()
    return torch.stack(views)


def decord_single(path: str) -> None:
    for indices in CLIP.uniform(len(packets_of(path).order), 0, CLIPS):
        reader = decord.VideoReader(path, num_threads=1)
        ptv.uniform_crop(resize(get_batch(reader, indices.tolist()), VIEW), VIEW, 1).transpose(0, 1).contiguous()
        del reader


def ptv_single(path: str) -> None:
    for start in ptv_starts(path):
        video = EncodedVideo.from_path(path, decode_audio=False, decoder="pyav")
        ptv_square(get_clip(video, path, start), 1)
        video.close()


def ptv_starts(path: str) -> list[int]:
    return [number * (len(packets_of(path).order) - SPAN) // (CLIPS - 1) for number in range(CLIPS)]


def ptv_square(clip: Tensor, square: int) -> Tensor:
    return ptv.uniform_crop(ptv.short_side_scale(clip, VIEW), VIEW, square).contiguous()


CLIP_METHODS: dict[str, Callable[..., Any]] = {
    PTV: ptv_clip,
    "pytorchvideo, decord": functools.partial(ptv_clip, decoder="decord"),
    PLAIN: decord_clip,
    "decord, our transform": functools.partial(decord_clip, transform=ours),
    DECORD: functools.partial(gcvideo_clip, decoder="decord"),
    PYAV: functools.partial(gcvideo_clip, decoder="pyav"),
    "limit: from the key frame to the last decoded": decode_span,
    FULL: lambda path, start, seed: decode_only(path),
}
VIEWS_METHODS: dict[str, Callable[..., Any]] = {
    PTV_SINGLE: ptv_single,
    DECORD_SINGLE: decord_single,
    PTV: ptv_views,
    PLAIN: decord_views,
    DECORD: functools.partial(gcvideo_views, decoder="decord"),
    PYAV: functools.partial(gcvideo_views, decoder="pyav"),
    FULL: decode_only,
}
"""One view per sample: one square of the three of each clip is made, and the time is tripled."""


def measure(methods: dict[str, Callable[..., Any]], draws: Iterable[tuple[Any, ...]], title: str) -> dict[str, float]:
    """Mean CPU ms of each method over the draws; prints them as a table."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for draw in draws:
        for name in random.sample(list(methods), len(methods)):
            start = time.process_time()
            result = methods[name](*draw)
            times[name].append((time.process_time() - start) * (3000 if "one view" in name else 1000))
            del result
    means = {name: statistics.mean(values) for name, values in times.items()}
    print(f"\n{title}\n\n| method | mean CPU ms | median | x plain decord | x pytorchvideo |\n|---|---|---|---|---|")
    for name, mean in means.items():
        ratios = f"{mean / means[PLAIN]:.2f} | {mean / means[PTV]:.3f}"
        print(f"| {name} | {mean:.1f} | {statistics.median(times[name]):.1f} | {ratios} |", flush=True)
    return means


def main() -> None:
    """Measure every variant, and print which requirements are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--views-trials", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    clip, views = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(args.videos, folder)
        for methods, draw in ((CLIP_METHODS, (variants[PREPARED][0], 0, 0)), (VIEWS_METHODS, (variants[PREPARED][0],))):
            for method in methods.values():
                method(*draw)  # libraries are loaded
        gc.collect()
        gc.freeze()
        for name, paths in variants.items():
            random.seed(0)
            draws = []
            for trial in range(args.trials):
                path = paths[trial % len(paths)]
                draws.append((path, random.randint(0, len(packets_of(path).order) - SPAN), trial))
            indices = draws[0][1] + STRIDE * torch.arange(FRAMES)
            theirs = get_batch(decord.VideoReader(paths[0], num_threads=1), indices.tolist())
            assert torch.equal(open_video(paths[0], "pyav").read(indices).permute(0, 3, 1, 2), theirs), "frames differ"
            title = f"{name}, {sum(Path(path).stat().st_size for path in paths) / 2**20:.2f} MiB"
            clip[name] = measure(CLIP_METHODS, draws, f"{title}: one clip")
            draws = [(paths[trial % len(paths)],) for trial in range(args.views_trials)]
            views[name] = measure(VIEWS_METHODS, draws, f"{title}: {CLIPS * SQUARES} views")
    rows = []
    for name, limit, ptv_limit in ((PREPARED, 0.4, 1 / 12), ("GOP 12", 0.65, 1 / 5)):
        rows.append((f"clip, {name}: {PYAV} / {PLAIN}", clip[name][PYAV] / clip[name][PLAIN], limit))
        rows.append((f"clip, {name}: {PYAV} / {PTV}", clip[name][PYAV] / clip[name][PTV], ptv_limit))
    ratio = clip[PREPARED_720][PYAV] / clip[RAW_720][PTV]
    rows.append((f"clip: {PYAV} on {PREPARED_720} / {PTV} on {RAW_720}", ratio, 1 / 100))
    rows += [(f"clip, {name}: {DECORD} / {PLAIN}", ms[DECORD] / ms[PLAIN], 1.0) for name, ms in clip.items()]
    rows += [(f"views, {name}: {PYAV} / {PTV_SINGLE}", ms[PYAV] / ms[PTV_SINGLE], 1 / 15) for name, ms in views.items()]
    rows += [(f"views, {name}: {PYAV} / {FULL}", ms[PYAV] / ms[FULL], 1.25) for name, ms in views.items()]
    print("\n| ratio of means | required | measured | |\n|---|---|---|---|")
    for what, ratio, limit in rows:
        required, measured = (f"1/{1 / x:.3g}" if limit < 0.3 else f"{x:.2f}" for x in (limit, ratio))
        print(f"| {what} | <= {required} | {measured} | {'yes' if ratio <= limit else '**no**'} |")


if __name__ == "__main__":
    main()
