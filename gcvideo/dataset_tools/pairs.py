"""Real videos whose class is a relation between distant places (`relation`): `gcvideo pairs`.

Each video shows the left third of one clip, darkness, and the right third of another clip. The classes of the clips are
divided into two kinds, such as outdoors and indoors; the label is whether both sides are of the 'same' kind or of
'different' kinds. The labels come from those of the clips: nothing is annotated. A split is made of clips of that split
only.

Letters: T frames.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gcvideo.data.decode import open_video
from gcvideo.data.labels import class_names_of, complete_rows
from gcvideo.data.manifest import read_manifest
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import fixed_views
from gcvideo.data.videos import Videos
from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.options import PairOptions
from gcvideo.dataset_tools.relation import kinds_of
from gcvideo.dataset_tools.scene import DARKNESS, band_height
from gcvideo.errors import UsageError
from gcvideo.files import csv_text, write_text

LABELS = ("same", "different")


@dataclass(frozen=True, slots=True)
class Pair:
    """One video to write: rows of the clips on the left and on the right, and the label."""

    left: int
    right: int
    label: str


def write_pairs(
    manifest: str | Path,
    out: str | Path,
    options: PairOptions,
    root: str | Path | None = None,
    workers: int | None = None,
) -> Path:
    """Write pairs of the clips of every split, and `manifest.csv` (path, label, split, left, right).

    Args:
        manifest: of the sources, with the columns label and split.
        out: folder, created if missing. The manifest is written last, so a set with a manifest is complete.
        options: how pairs are made.
        root: folder that the paths of the sources are relative to; default that of the manifest.
        workers: number of processes; default one per core.

    Returns:
        Path of the manifest.

    Raises:
        UsageError: a bad manifest, one without splits or without one of the classes, or a split without clips of both
            kinds.
        VideoDecodeError: a clip can't be decoded.
    """
    out, rows = Path(out), []
    table = complete_rows(Path(manifest))
    names = class_names_of(table.labels)
    unknown = sorted({name for kind in options.kinds for name in kind} - set(names))
    if unknown:
        raise UsageError(f"{manifest}: no class {', '.join(unknown)}; classes there: {', '.join(names)}")
    splits = list(dict.fromkeys(table.splits or ()))
    if not splits:
        raise UsageError(f"{manifest}: expected a column split, so that no clip is in two splits of the pairs")
    # "spawn": a forked child of a process with threads (torch, when called from a test) can dead-lock.
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
        for number, split in enumerate(splits):
            videos = read_manifest(manifest, split, root, names)
            (out / split).mkdir(parents=True, exist_ok=True)
            jobs = []
            for index, pair in enumerate(_plan(videos, names, split, options, number)):
                path = f"{split}/{pair.label}_{index:05d}.mp4"
                left, right = videos[pair.left], videos[pair.right]
                jobs.append((out / path, left.file, right.file, (options.seed, number, index)))
                rows.append((path, pair.label, split, left.name, right.name))
            pool.starmap(partial(_write_one, options=options), jobs, chunksize=16)
    write_text(out / "manifest.csv", csv_text(("path", "label", "split", "left", "right"), rows, exact=True))
    return out / "manifest.csv"


def _plan(videos: Videos, names: Sequence[str], split: str, options: PairOptions, number: int) -> Iterator[Pair]:
    """Pairs of one split, alternately 'same' and 'different'; as many rounds as give four pairs of kinds equally."""
    rng = np.random.default_rng((options.seed, number))
    clips = []
    for kind in options.kinds:
        clips.append([row for row, label in enumerate(videos.labels.tolist()) if names[label] in kind])
        if not clips[-1]:
            raise UsageError(f"split {split!r} has no clip of {', '.join(kind)}")
    decks = [_shuffled_for_ever(rows, rng) for rows in clips]
    num_rounds = sum(map(len, clips)) * options.each // 4 * 2  # even, of two pairs each
    for round_number in range(num_rounds):
        for label in LABELS:
            first, second = kinds_of(label == "same", round_number)
            yield Pair(next(decks[first]), next(decks[second]), label)


def _shuffled_for_ever(rows: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    """All rows in random order, again and again: each is used about equally often."""
    while True:
        yield from rng.permutation(rows).tolist()


def _write_one(path: Path, left: str, right: str, seed: tuple[int, int, int], options: PairOptions) -> None:
    torch.set_num_threads(1)  # one process for each core
    rng = np.random.default_rng(seed)
    write_video(path, compose(_square(left, options, rng), _square(right, options, rng)))


def _square(path: str, options: PairOptions, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The centre square of a clip at a random time: uint8 [T, size, size, 3]."""
    video = open_video(path)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    clip = Clip(options.frames, options.stride, short="hold").random(video.num_frames, video.fps, generator)
    frames = video.read(clip[0]).permute(0, 3, 1, 2)  # [T, 3, H, W]
    square = fixed_views(frames, options.size, options.size, 1)[0]  # [T, 3, size, size]
    return square.permute(0, 2, 3, 1).contiguous().numpy()


def compose(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The left third of one clip and the right third of another, darkness between; all uint8 [T, size, size, 3]."""
    width = band_height(left.shape[2])  # as far apart as the bands of the synthetic videos
    frames = np.full_like(left, DARKNESS)
    frames[:, :, :width] = left[:, :, :width]
    frames[:, :, -width:] = right[:, :, -width:]
    return frames
