"""Clips per second of a whole data loader, from files to batches, compared with pytorchvideo's.

    python -m benchmarks.loader VIDEOS... [--items 200] [--workers 2] [--batch 8]

On the videos re-encoded as they could be downloaded (a key frame every 250 frames) and prepared: clips of 8 frames at
stride 8, short side jittered in 256-320, 224 x 224, uint8 from gcvideo, normalised float32 from pytorchvideo, as in its
recipes. CPU time is that of all processes, workers included. Then where the time of one process goes, and how its
memory grows. Pass several videos; they are read in turn.
"""

import argparse
import gc
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from pytorchvideo.data import LabeledVideoDataset, RandomClipSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from benchmarks.decode import CLIP, FRAMES, SIDES, SIZE, SPAN, make_variants, packets_of, ptv, usual
from gcvideo.data.batch import Item, collate
from gcvideo.data.dataset import TrainDataset
from gcvideo.data.decode import open_video
from gcvideo.data.transforms import Augmentation
from gcvideo.data.videos import Videos

MEAN, STD = torch.tensor([0.45] * 3).view(3, 1, 1, 1), torch.tensor([0.225] * 3).view(3, 1, 1, 1)
DECODERS = ("pyav", "decord")
AUGMENT = Augmentation(SIZE, SIDES)


def gcvideo_dataset(paths: list[str], decoder: Any) -> TrainDataset:
    """Training data."""
    videos = Videos("", paths, [0] * len(paths))
    return TrainDataset(videos, CLIP, AUGMENT, seed=0, max_broken=0.0, decoder=decoder)


def keys(count: int, videos: int) -> list[tuple[int, int]]:
    """(epoch, index) of `count` items, the videos in turn."""
    return [divmod(number, videos) for number in range(count)]


def pytorchvideo_dataset(paths: list[str], items: int) -> LabeledVideoDataset:
    """The same clips as its recipes take them, normalised float32."""
    rate = Fraction(packets_of(paths[0]).fps).limit_denominator(1001)
    videos = [(paths[number % len(paths)], {"label": 0}) for number in range(items)]
    return LabeledVideoDataset(videos, RandomClipSampler(SPAN / rate), transform=_recipe, decode_audio=False)


def _recipe(item: dict[str, Any]) -> tuple[Tensor, int]:
    clip = (ptv.div_255(ptv.uniform_temporal_subsample(item["video"], FRAMES)) - MEAN) / STD
    return usual(clip, int(torch.randint(2**62, ())), ptv.short_side_scale).contiguous(), item["label"]


def start_worker(worker: int) -> None:
    """As `VideoDataModule` starts its workers."""
    torch.set_num_threads(1)
    gc.freeze()


def run(loader: DataLoader[Any]) -> tuple[float, float, float]:
    """Seconds to the first batch, clips per second with it, and CPU ms a clip of all processes."""
    cpu, start = _cpu_s(), time.perf_counter()
    first, clips = 0.0, 0
    for batch in loader:
        first = first or time.perf_counter() - start
        clips += len(batch[0])
    wall = time.perf_counter() - start  # the workers have ended and been waited for
    return first, clips / wall, (_cpu_s() - cpu) / clips * 1000


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def shares(paths: list[str], decoder: Any, items: int, batch: int) -> list[float]:
    """CPU ms a clip in one process: open and read, crop and resize, copies (of the clip, and into the batch)."""
    spent = [0.0, 0.0, 0.0]
    clips: list[Item] = []
    for number in range(items):
        generator = torch.Generator().manual_seed(number)
        times = [time.process_time()]
        reader = open_video(paths[number % len(paths)], decoder)
        indices = CLIP.random(reader.num_frames, reader.fps, generator)[0]
        frames = reader.read(indices).permute(0, 3, 1, 2)
        times.append(time.process_time())
        view = AUGMENT.view(frames, generator)
        times.append(time.process_time())
        clips.append(Item(view.permute(1, 0, 2, 3).contiguous()[None], 0, number))
        if len(clips) == batch:
            collate(clips)
            clips = []
        times.append(time.process_time())
        spent = [before + b - a for before, a, b in zip(spent, times[:-1], times[1:], strict=True)]
    return [1000 * seconds / items for seconds in spent]


def memory(dataset: Any, items: int) -> list[float]:
    """MiB resident in a process like a worker: at its start, after a tenth of the items, after all."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_read_all, args=(dataset, items, sender))
    process.start()
    marks = receiver.recv()
    process.join()
    return marks


def _read_all(dataset: Any, items: int, sender: Any) -> None:
    start_worker(0)
    marks = [_resident_mib()]
    for number, _ in enumerate(_items(dataset, items), start=1):
        if number in (max(items // 10, 1), items):
            marks.append(_resident_mib())
    sender.send(marks)


def _items(dataset: Any, items: int) -> Iterator[Any]:
    if isinstance(dataset, IterableDataset):
        return iter(dataset)
    return (dataset[key] for key in keys(items, len(dataset)))


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print three Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    items, batch = args.items, args.batch
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(args.videos, folder, few=True)
        cases: list[tuple[str, str, Dataset[Any]]] = []
        for name, paths in variants.items():
            cases += [(name, f"gcvideo, {decoder}", gcvideo_dataset(paths, decoder)) for decoder in DECODERS]
            cases.append((name, "pytorchvideo", pytorchvideo_dataset(paths, items)))
        for _, _, dataset in cases:
            next(_items(dataset, 1))  # libraries are loaded
        gc.collect()
        gc.freeze()
        print("| file | loader | workers | clips/s | CPU ms a clip | s to the first batch |\n|---|---|---|---|---|---|")
        for name, what, dataset in cases:
            for workers in (0, args.workers):
                options: dict[str, Any] = {"batch_size": batch, "num_workers": workers, "worker_init_fn": start_worker}
                if isinstance(dataset, TrainDataset):
                    options |= {"sampler": keys(items, len(dataset)), "collate_fn": collate}
                first, rate, cpu_ms = run(DataLoader(dataset, **options))
                print(f"| {name} | {what} | {workers} | {rate:.1f} | {cpu_ms:.1f} | {first:.2f} |", flush=True)
        print(
            "\n| file | in one process | decode ms | crop, resize ms | copies ms | decode share |\n" + "|---" * 6 + "|"
        )
        for name, paths in variants.items():
            for decoder in DECODERS:
                spent = shares(paths, decoder, items, batch)
                times = " | ".join(f"{ms:.2f}" for ms in spent)
                print(f"| {name} | gcvideo, {decoder} | {times} | {spent[0] / sum(spent):.0%} |", flush=True)
        print(f"\n| file | {items} items in one process | MiB at start | after a tenth | after all | KiB an item |")
        print("|---" * 6 + "|")
        for name, what, dataset in cases:
            start, tenth, end = memory(dataset, items)
            slope = (end - tenth) * 1024 / (items - max(items // 10, 1))
            print(f"| {name} | {what} | {start:.0f} | {tenth:.0f} | {end:.0f} | {slope:.1f} |", flush=True)


if __name__ == "__main__":
    main()
