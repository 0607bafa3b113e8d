"""Synthetic actions: labelled videos whose class is a relation between two distant objects.

Each video shows two small textured objects over a drifting textured background. One moves in the upper lane, one in
the lower; both cross the picture horizontally and come in again on the other side. The label crosses

- the *relation*: both go the 'same' way or 'opposite' ways, and
- the *gait*: both 'walk' (slow), 'run' (fast) or 'hop' (slow, bouncing).

What makes the label unreadable without relating the objects (proved by tests/data/test_synthetic.py):

- Single frames: the picture is a torus in x. Start x, direction of one object and hop phase are uniform and drawn
  independently of the label, so at every instant the positions have the same distribution in all classes (an
  object that does not hop stands at the height of a random, frozen hop phase).
- One object: given everything about one object, its way included, the other goes the same way with probability 1/2.
  So one object tells the gait (the easy cue) but never the relation: 1 / 2 is the best accuracy.
- Appearance, place and background are drawn independently of the label.

In half of the *training* videos the lanes lie side by side ('near'), where a local receptive field sees both objects;
validation and test videos are all 'far' (`object_gap`). Without near videos about half of the seeds stay at the gait
alone for longer than the demo lasts: a relation that no local feature shows is a saddle for gradient descent. With or
without blocks, a net that relates only what it sees at one place is at 1/2 on the far videos.
"""

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcvideo.files import csv_text, replacing, write_text

GAITS = ("walk", "run", "hop")
RELATIONS = ("same", "opposite")
CLASS_NAMES = tuple(f"{gait}_{relation}" for gait in GAITS for relation in RELATIONS)

SPEED = {"walk": 1 / 20, "run": 1 / 11, "hop": 1 / 20}  # picture widths a frame
HOP_HEIGHT, HOP_PERIOD_FRAMES = 1 / 28, 8  # amplitude in picture heights
LANES = (0.16, 0.84)  # height of the lanes, in picture heights
NEAR_LANES = (0.34, 0.66)  # of the near videos
LANE_JITTER = 0.015  # either way, in picture heights
RADIUS = (0.085, 0.1)  # half the height of an object, in picture heights


@dataclass(frozen=True)
class Actor:
    """One object: how it looks and where it is."""

    radius: float  # half its height, pixels
    aspect: float  # width / height
    squareness: float  # exponent of the superellipse: 2 disc, 6 nearly a square
    colours: NDArray[np.float64]  # [2, 3] of its stripes, 0..255
    stripe_angle: float
    stripe_period: float
    positions: NDArray[np.float64]  # [T, 2] centre (x, y) in pixels; x is taken modulo the width


def _actor(rng: np.random.Generator, lane: float, direction: int, gait: str, num_frames: int, size: int) -> Actor:
    frame = np.arange(num_frames)
    colour = rng.uniform(170, 255, 3)
    x = rng.uniform(0, size) + direction * SPEED[gait] * size * frame
    phase = rng.uniform(0, 2 * np.pi) + (2 * np.pi / HOP_PERIOD_FRAMES * frame if gait == "hop" else 0 * frame)
    y = size * (lane + rng.uniform(-LANE_JITTER, LANE_JITTER) + HOP_HEIGHT * np.sin(phase))
    return Actor(
        radius=size * rng.uniform(*RADIUS),
        aspect=rng.uniform(1.4, 1.8),
        squareness=rng.uniform(2, 6),
        colours=np.stack([colour, colour * rng.uniform(0.6, 0.85)]),
        stripe_angle=rng.uniform(0, np.pi),
        stripe_period=size * rng.uniform(0.06, 0.12),
        positions=np.stack([x, y], axis=1),
    )


def _background(rng: np.random.Generator, num_frames: int, size: int) -> NDArray[np.float32]:
    """Smooth coloured noise on a torus, drifting at a random constant velocity: [T, size, size, 3]."""
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    texture = np.fft.irfft2(spectrum * np.exp(-((fx**2 + fy**2) * size * 1.2)), s=(size, size))
    texture = texture / texture.std() * rng.uniform(5, 12) + rng.uniform(50, 80, (3, 1, 1))
    texture = texture.transpose(1, 2, 0).astype(np.float32)
    velocity = rng.uniform(-0.01, 0.01, 2) * size
    shifts = np.rint(np.arange(num_frames)[:, None] * velocity).astype(int)
    return np.stack([np.roll(texture, tuple(shift), axis=(0, 1)) for shift in shifts])


def _paint(frames: NDArray[np.float32], actor: Actor) -> None:
    size = frames.shape[1]
    y = actor.positions[:, 1]
    reach = actor.radius + 1
    top, bottom = max(int(y.min() - reach), 0), min(int(y.max() + reach) + 1, size)
    dx = (np.arange(size) - actor.positions[:, :1] + size / 2) % size - size / 2  # [T, size]
    dy = np.arange(top, bottom) - y[:, None]  # [T, rows]
    power = actor.squareness
    distance = ((np.abs(dx / actor.aspect) ** power)[:, None, :] + (np.abs(dy) ** power)[:, :, None]) ** (1 / power)
    alpha = np.clip(actor.radius + 0.5 - distance, 0, 1)[..., None]  # [T, rows, size, 1], soft edge of one pixel
    along = dx[:, None, :] * np.cos(actor.stripe_angle) + dy[:, :, None] * np.sin(actor.stripe_angle)
    stripe = (0.5 + 0.5 * np.sin(2 * np.pi * along / actor.stripe_period))[..., None]
    lane = frames[:, top:bottom]
    lane += (alpha * (stripe * actor.colours[0] + (1 - stripe) * actor.colours[1] - lane)).astype(np.float32)


def make_actors(
    seed: int | Sequence[int], label: int, num_frames: int = 20, size: int = 64, near: bool = False
) -> tuple[Actor, Actor]:
    """The upper and the lower object of a video.

    The random draws do not depend on the label: all labels of one seed share the looks, the start and the way of the
    upper object.
    """
    gait, relation = CLASS_NAMES[label].split("_")
    rng = _rng(seed, 0)
    upper = int(rng.choice((-1, 1)))
    lanes = NEAR_LANES if near else LANES
    lower = upper if relation == "same" else -upper
    return (
        _actor(rng, lanes[0], upper, gait, num_frames, size),
        _actor(rng, lanes[1], lower, gait, num_frames, size),
    )


def make_video(
    seed: int | Sequence[int],
    label: int,
    num_frames: int = 20,
    size: int = 64,
    visible: tuple[bool, bool] = (True, True),
    near: bool = False,
) -> NDArray[np.uint8]:
    """One video as uint8 [T, size, size, 3]. Equal arguments give equal pixels.

    Args:
        seed: of everything but the label.
        label: index into `CLASS_NAMES`.
        num_frames: T.
        size: height and width in pixels.
        visible: whether the upper and the lower object are shown.
        near: put the lanes side by side.
    """
    frames = _background(_rng(seed, 1), num_frames, size)
    for actor, shown in zip(make_actors(seed, label, num_frames, size, near), visible, strict=True):
        if shown:
            _paint(frames, actor)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _rng(seed: int | Sequence[int], stream: int) -> np.random.Generator:
    return np.random.default_rng([*(seed if isinstance(seed, Sequence) else (seed,)), stream])


def object_gap(size: int = 64) -> float:
    """Least distance in pixels between the edges of the two objects, over all far videos of this size.

    A unit whose receptive field is narrower never sees both.
    """
    return size * (LANES[1] - LANES[0] - 2 * (LANE_JITTER + HOP_HEIGHT + RADIUS[1])) - 2


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


def write_dataset(
    out: str | Path,
    counts: dict[str, int],
    num_frames: int = 20,
    size: int = 64,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write videos and `manifest.csv` (path, label, split, distance) into folder `out`.

    Classes are balanced in each split. Half of the videos of a split named 'train' are near, all others are far.

    Args:
        out: folder, made if it is not there. The manifest is written last, so its presence means a complete set.
        counts: split -> number of videos, such as {"train": 1500, "val": 180}.
        num_frames: of each video, at least 1.
        size: width and height in pixels, even, at least 32.
        seed: equal seeds give equal files.
        workers: processes; default one for each core.

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
    rows = []
    for number, (split, count) in enumerate(counts.items()):
        (out / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            label = index % len(CLASS_NAMES)
            video_seed = (seed, number, index)
            near = split == "train" and index // len(CLASS_NAMES) % 2 == 0
            rows.append((f"{split}/{CLASS_NAMES[label]}_{index:05d}.mp4", label, split, near, video_seed))
    work = partial(_write_one, out=out, num_frames=num_frames, size=size)
    # "spawn": forking a process that runs threads (torch, when called from a test) can dead-lock the child.
    with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
        pool.starmap(work, [(path, label, video_seed, near) for path, label, _, near, video_seed in rows], chunksize=32)
    manifest = out / "manifest.csv"
    lines = [(path, CLASS_NAMES[label], split, "near" if near else "far") for path, label, split, near, _ in rows]
    write_text(manifest, csv_text(("path", "label", "split", "distance"), lines))
    return manifest


def _write_one(path: str, label: int, seed: Sequence[int], near: bool, out: Path, num_frames: int, size: int) -> None:
    write_video(out / path, make_video(seed, label, num_frames, size, near=near))
