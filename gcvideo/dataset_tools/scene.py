"""The pixels of synthetic actions: labelled videos whose class is a relation between two distant objects.

Each video shows two small textured objects over a drifting textured background. One moves in the upper lane, one in
the lower; both cross the picture horizontally and enter again on the other side. The label is the product of

- the *relation*: both move in the 'same' direction or in 'opposite' directions, and
- the *gait*: both 'walk' (slow), 'run' (fast) or 'hop' (slow, bouncing).

No model can read the label without relating the objects (verified by tests/dataset_tools/test_synthetic.py):

- Single frames: the picture is a torus in x. Start x, direction of one object and hop phase are uniform and drawn
  independently of the label, so at every instant the positions have the same distribution in all classes. (An
  object that does not hop has the height of a random, frozen hop phase.)
- One object: given everything about one object, including its direction, the other moves in the same direction with
  probability 1/2. So one object reveals the gait (the easy cue) but never the relation: 1/2 is the best accuracy.
- Appearance, height and background are drawn independently of the label.

In half of the *training* videos the lanes are close to each other ('near'), so that a local receptive field sees both
objects; validation and test videos are all 'far' (`object_gap`). Without near videos, about half of the seeds learn
only the gait for longer than the demo lasts: a relation that no local feature shows is a saddle for gradient descent.
With or without blocks, a network that relates only what it sees at one position has accuracy 1/2 on the far videos.

Letters: T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAITS = ("walk", "run", "hop")
RELATIONS = ("same", "opposite")
NUM_FRAMES, SIZE = 20, 64  # of a video; width and height in pixels
CLASS_NAMES = tuple(f"{gait}_{relation}" for gait in GAITS for relation in RELATIONS)

SPEED = {"walk": 1 / 20, "run": 1 / 11, "hop": 1 / 20}  # picture widths a frame
HOP_HEIGHT, HOP_PERIOD_FRAMES = 1 / 28, 8  # amplitude in picture heights
LANES = (0.16, 0.84)  # height of the lanes, in picture heights
NEAR_LANES = (0.34, 0.66)  # of the near videos
LANE_JITTER = 0.015  # either way, in picture heights
RADIUS = (0.085, 0.1)  # half the height of an object, in picture heights


@dataclass(frozen=True)
class Actor:
    """One object: its appearance and its track."""

    radius: float  # half its height, pixels
    aspect: float  # width / height
    squareness: float  # exponent of the superellipse: 2 disc, 6 nearly a square
    colours: NDArray[np.float64]  # [2, 3] of its stripes, 0..255
    stripe_angle: float
    stripe_period: float
    positions: NDArray[np.float64]  # [T, 2] centre (x, y) in pixels; x is taken modulo the width


def _actor(rng: np.random.Generator, lane: float, direction: int, gait: str, num_frames: int, size: int) -> Actor:
    # The order of the draws decides the pixels of a seed: another order is another data set.
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
    # White noise with a Gaussian low-pass; filtering by FFT makes it periodic, so it can be rolled without a seam.
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    texture = np.fft.irfft2(spectrum * np.exp(-((fx**2 + fy**2) * size * 1.2)), s=(size, size))
    # Contrast and mean colour; darker than the colours of `_actor`.
    texture = texture / texture.std() * rng.uniform(5, 12) + rng.uniform(50, 80, (3, 1, 1))
    texture = texture.transpose(1, 2, 0).astype(np.float32)
    velocity = rng.uniform(-0.01, 0.01, 2) * size
    shifts = np.rint(np.arange(num_frames)[:, None] * velocity).astype(int)
    return np.stack([np.roll(texture, tuple(shift), axis=(0, 1)) for shift in shifts])


def _paint(frames: NDArray[np.float32], actor: Actor) -> None:
    """Draw one object into [T, size, size, 3], in place: a superellipse with stripes, |dx/a|^p + |dy|^p <= r^p."""
    size = frames.shape[1]
    y = actor.positions[:, 1]
    reach = actor.radius + 1
    # Only the rows of the lane are computed.
    top, bottom = max(int(y.min() - reach), 0), min(int(y.max() + reach) + 1, size)
    # Distance on the torus: an object that leaves the picture on one side is continued on the other.
    dx = (np.arange(size) - actor.positions[:, :1] + size / 2) % size - size / 2  # [T, size]
    dy = np.arange(top, bottom) - y[:, None]  # [T, rows]
    power = actor.squareness
    distance = ((np.abs(dx / actor.aspect) ** power)[:, None, :] + (np.abs(dy) ** power)[:, :, None]) ** (1 / power)
    alpha = np.clip(actor.radius + 0.5 - distance, 0, 1)[..., None]  # [T, rows, size, 1], soft edge of one pixel
    along = dx[:, None, :] * np.cos(actor.stripe_angle) + dy[:, :, None] * np.sin(actor.stripe_angle)
    stripe = (0.5 + 0.5 * np.sin(2 * np.pi * along / actor.stripe_period))[..., None]
    lane = frames[:, top:bottom]  # a view: painting into it changes `frames`
    lane += (alpha * (stripe * actor.colours[0] + (1 - stripe) * actor.colours[1] - lane)).astype(np.float32)


def make_actors(
    seed: int | Sequence[int], label: int, num_frames: int = NUM_FRAMES, size: int = SIZE, near: bool = False
) -> tuple[Actor, Actor]:
    """The upper and the lower object of a video.

    The random draws do not depend on the label: all labels of one seed share the appearance and the start of both
    objects, and the direction of the upper one.
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
    num_frames: int = NUM_FRAMES,
    size: int = SIZE,
    visible: tuple[bool, bool] = (True, True),
    near: bool = False,
) -> NDArray[np.uint8]:
    """One video as uint8 [T, size, size, 3]. Equal arguments give equal pixels.

    Args:
        seed: decides everything but the label.
        label: index into `CLASS_NAMES`.
        num_frames: T.
        size: height and width in pixels.
        visible: whether the upper and the lower object are shown.
        near: move the lanes close to each other.
    """
    frames = _background(_rng(seed, 1), num_frames, size)
    for actor, is_visible in zip(make_actors(seed, label, num_frames, size, near), visible, strict=True):
        if is_visible:
            _paint(frames, actor)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _rng(seed: int | Sequence[int], stream: int) -> np.random.Generator:
    return np.random.default_rng([*(seed if isinstance(seed, Sequence) else (seed,)), stream])


def object_gap(size: int = SIZE) -> float:
    """Smallest distance in pixels between the edges of the two objects, over all far videos of this size.

    A unit with a smaller receptive field never sees both.
    """
    return size * (LANES[1] - LANES[0] - 2 * (LANE_JITTER + HOP_HEIGHT + RADIUS[1])) - 2
