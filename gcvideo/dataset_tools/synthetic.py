"""Data sets of synthetic actions (`scene`), as H.264 files with a manifest: `gcvideo synth`."""

import multiprocessing
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from gcvideo.dataset_tools.h264 import write_video
from gcvideo.dataset_tools.relation import kinds_of
from gcvideo.dataset_tools.scene import (
    CLASS_NAMES,
    GAITS,
    LEFT,
    NUM_FRAMES,
    RIGHT,
    SIZE,
    lower_direction,
    make_video,
)
from gcvideo.files import csv_text, write_text

Task = Literal["relation", "direction"]
DIRECTIONS = {"left": LEFT, "right": RIGHT}


def write_dataset(
    out: str | Path,
    counts: dict[str, int],
    num_frames: int = NUM_FRAMES,
    size: int = SIZE,
    seed: int = 0,
    workers: int | None = None,
    task: Task = "relation",
) -> Path:
    """Write videos and `manifest.csv` (path, label, split, directions) into folder `out`.

    Classes are balanced in each split, and so are the directions in each class.

    Args:
        out: folder, created if missing. The manifest is written last, so a set with a manifest is complete.
        counts: split -> number of videos, such as {"train": 1500, "val": 180}.
        num_frames: of each video, at least 1.
        size: width and height in pixels, even, at least 32.
        seed: equal seeds give equal files.
        workers: number of processes; default one per core.
        task: what the classes are: gait x "relation" of the two directions; or gait x "direction", with both bands in
            the same direction, which a network without blocks can learn. A trunk for "relation" is trained on it.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: an odd or small size, no frames, an empty or negative count, an unknown task.
    """
    if size < 32 or size % 2 or size in (48, 72):
        raise ValueError(f"size must be even, at least 32 and not 48 or 72 (which decord can't read), got {size}")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"every split needs at least 1 video, got {counts}")
    if task not in get_args(Task):
        raise ValueError(f"task must be one of {get_args(Task)}, got {task!r}")
    out = Path(out)
    clips = []
    for number, (split, count) in enumerate(counts.items()):
        (out / split).mkdir(parents=True, exist_ok=True)
        clips += [_planned_clip(task, split, index, (seed, number, index)) for index in range(count)]
    work = partial(_write_one, out=out, num_frames=num_frames, size=size)
    # "spawn": a forked child of a process with threads (torch, when called from a test) can dead-lock.
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
        pool.map(work, clips, chunksize=32)
    manifest = out / "manifest.csv"
    rows = ((clip.path, clip.name, clip.split, _directions(clip)) for clip in clips)
    write_text(manifest, csv_text(("path", "label", "split", "directions"), rows, exact=True))
    return manifest


@dataclass(frozen=True, slots=True)
class _PlannedClip:
    """A video of the set: its class, and the arguments of `make_video`."""

    path: str
    name: str
    split: str
    label: int
    upper: int
    seed: tuple[int, ...]


def _planned_clip(task: Task, split: str, index: int, seed: tuple[int, ...]) -> _PlannedClip:
    """Video `index` of a split. Classes alternate: a round has a video of each."""
    round_number, number = divmod(index, len(CLASS_NAMES))  # both tasks have as many classes
    if task == "relation":
        label, name = number, CLASS_NAMES[number]
        upper = upper_direction(label, round_number)
    else:
        gait, direction = GAITS[number // 2], list(DIRECTIONS)[number % 2]
        label, name = CLASS_NAMES.index(f"{gait}_same"), f"{gait}_{direction}"
        upper = DIRECTIONS[direction]
        seed = (*seed, 1)  # other videos than those of the relation
    return _PlannedClip(f"{split}/{name}_{index:05d}.mp4", name, split, label, upper, seed)


def upper_direction(label: int, round_number: int) -> int:
    """Direction of the upper band in a round of all labels, balanced in each; kind 0 of `relation` is LEFT."""
    return (LEFT, RIGHT)[kinds_of(CLASS_NAMES[label].endswith("same"), round_number).first]


def _directions(clip: _PlannedClip) -> str:
    """Directions of the upper and the lower band, such as "left-right"."""
    name_of = {direction: name for name, direction in DIRECTIONS.items()}
    return f"{name_of[clip.upper]}-{name_of[lower_direction(clip.label, clip.upper)]}"


def _write_one(clip: _PlannedClip, out: Path, num_frames: int, size: int) -> None:
    write_video(out / clip.path, make_video(clip.seed, clip.label, clip.upper, num_frames, size))
