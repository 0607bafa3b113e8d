"""A data set of synthetic actions (`scene`), as H.264 files with a manifest: `gcvideo synth`."""

import multiprocessing
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.relation import kinds_of
from gcvideo.dataset_tools.scene import CLASS_NAMES, LEFT, NUM_FRAMES, RIGHT, SIZE, lower_direction, make_video
from gcvideo.files import csv_text, write_text


def write_dataset(
    out: str | Path,
    counts: dict[str, int],
    num_frames: int = NUM_FRAMES,
    size: int = SIZE,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write videos and `manifest.csv` (path, label, split, directions) into folder `out`.

    Classes are balanced in each split. So are directions in each class, but for the 'same' classes of a split named
    'train', of which 92 % drift left-left (`relation` says why).

    Args:
        out: folder, created if missing. The manifest is written last, so a set with a manifest is complete.
        counts: split -> number of videos, such as {"train": 1500, "val": 180}.
        num_frames: of each video, at least 1.
        size: width and height in pixels, even, at least 32.
        seed: equal seeds give equal files.
        workers: number of processes; default one per core.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: an odd or small size, no frames, an empty or negative count.
    """
    if size < 32 or size % 2 or size in (48, 72):
        raise ValueError(f"size must be even, at least 32 and not 48 or 72 (which decord can't read), got {size}")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"every split needs at least 1 video, got {counts}")
    out = Path(out)
    clips = []
    for number, (split, count) in enumerate(counts.items()):
        (out / split).mkdir(parents=True, exist_ok=True)
        clips += [_planned_clip(split, index, (seed, number, index)) for index in range(count)]
    work = partial(_write_one, out=out, num_frames=num_frames, size=size)
    # "spawn": a forked child of a process with threads (torch, when called from a test) can dead-lock.
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
        pool.map(work, clips, chunksize=32)
    manifest = out / "manifest.csv"
    rows = ((clip.path, CLASS_NAMES[clip.label], clip.split, _directions(clip)) for clip in clips)
    write_text(manifest, csv_text(("path", "label", "split", "directions"), rows))
    return manifest


@dataclass(frozen=True, slots=True)
class _PlannedClip:
    """A video of the set that is to be written; `label`, `upper` and `seed` are arguments of `make_video`."""

    path: str
    label: int
    upper: int
    split: str
    seed: tuple[int, int, int]


def _planned_clip(split: str, index: int, seed: tuple[int, int, int]) -> _PlannedClip:
    """Video `index` of a split. Labels alternate: a round has a video of each."""
    round_number, label = divmod(index, len(CLASS_NAMES))
    path = f"{split}/{CLASS_NAMES[label]}_{index:05d}.mp4"
    return _PlannedClip(path, label, upper_direction(split, label, round_number), split, seed)


def upper_direction(split: str, label: int, round_number: int) -> int:
    """Direction of the upper band in a round of all labels; kind 0 of `relation` is LEFT."""
    is_same = CLASS_NAMES[label].endswith("same")
    return (LEFT, RIGHT)[kinds_of(split, is_same, round_number).first]


def _directions(clip: _PlannedClip) -> str:
    """Directions of the upper and the lower band, such as "left-right"."""
    directions = (clip.upper, lower_direction(clip.label, clip.upper))
    return "-".join("left" if direction == LEFT else "right" for direction in directions)


def _write_one(clip: _PlannedClip, out: Path, num_frames: int, size: int) -> None:
    write_video(out / clip.path, make_video(clip.seed, clip.label, clip.upper, num_frames, size))
