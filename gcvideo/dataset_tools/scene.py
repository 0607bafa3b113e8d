"""The pixels of synthetic actions: labelled videos whose class is a relation between two distant motions.

Each video shows two textured bands, at the upper and at the lower edge of the picture, with darkness between them. The
texture of each band drifts horizontally and enters again on the other side. The label is the product of

- the *gait*: both bands 'walk' (slow), 'run' (fast) or 'hop' (slow, bouncing), and
- the *relation*: both drift in the 'same' direction or in 'opposite' directions.

Where the directions are balanced, as in validation and test, no model can read the relation without relating the bands
(tests/dataset_tools/test_synthetic.py):

- Single frames: a texture is a torus with a uniformly random start, so at every instant a frame has the same
  distribution in all classes. (A band that does not hop has the height of a random, frozen hop phase.)
- One band: it is the same video in 'same' and in 'opposite'; only the other band differs.
- Both bands, each on its own: a network whose units see at most one band (`band_gap`) adds up a score of the upper and
  a score of the lower band, which is right on at most 3/4 of the videos (`relation`).

Letters: T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAITS = ("walk", "run", "hop")
RELATIONS = ("same", "opposite")
LEFT, RIGHT = -1, 1  # directions
NUM_FRAMES, SIZE = 20, 64  # of a video; width and height in pixels
CLASS_NAMES = tuple(f"{gait}_{relation}" for gait in GAITS for relation in RELATIONS)

SPEED = {"walk": 1 / 20, "run": 1 / 11, "hop": 1 / 20}  # picture widths a frame
HOP_HEIGHT, HOP_PERIOD_FRAMES = 1 / 14, 8  # amplitude in picture heights
BAND_HEIGHT = 21 / 64  # in picture heights
DARKNESS = 16  # value of the pixels between the bands
# Decay of the texture's spectrum. Its waves are longer than twice the motion of 'run' per frame: shorter ones would
# seem to move backwards (the wagon-wheel effect).
SMOOTHNESS = 1.2


@dataclass(frozen=True)
class Band:
    """One band: its texture and its motion."""

    texture: NDArray[np.float64]  # [size, size, 3], a torus; 0..255
    shifts: NDArray[np.int64]  # [T, 2] how far the texture has moved (down, right) at each frame, pixels


def make_bands(
    seed: int | Sequence[int], label: int, upper: int, num_frames: int = NUM_FRAMES, size: int = SIZE
) -> tuple[Band, Band]:
    """The upper and the lower band of a video.

    The random draws depend on the seed only: all labels and directions of one seed share textures and starts.

    Args:
        seed: decides the textures and where they start.
        label: index into `CLASS_NAMES`.
        upper: direction of the upper band, LEFT or RIGHT; that of the lower follows from the label.
        num_frames, size: as for `make_video`.
    """
    gait = CLASS_NAMES[label].split("_")[0]
    rng = np.random.default_rng(seed)
    return (
        _band(rng, upper, gait, num_frames, size),
        _band(rng, lower_direction(label, upper), gait, num_frames, size),
    )


def lower_direction(label: int, upper: int) -> int:
    """Direction of the lower band, from the label and the direction of the upper one."""
    return upper if CLASS_NAMES[label].endswith("same") else -upper


def _band(rng: np.random.Generator, direction: int, gait: str, num_frames: int, size: int) -> Band:
    # The order of the draws decides the pixels of a seed: another order is another data set.
    frame = np.arange(num_frames)
    texture = _texture(rng, size)
    x = rng.uniform(0, size) + direction * SPEED[gait] * size * frame
    phase = rng.uniform(0, 2 * np.pi) + (2 * np.pi / HOP_PERIOD_FRAMES * frame if gait == "hop" else 0 * frame)
    y = HOP_HEIGHT * size * np.sin(phase)
    return Band(texture, np.rint(np.stack([y, x], axis=1)).astype(np.int64))


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Smooth coloured noise on a torus, [size, size, 3]."""
    # White noise with a Gaussian low-pass; filtering by FFT makes it periodic, so it can be rolled without a seam.
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    noise = np.fft.irfft2(spectrum * np.exp(-((fx**2 + fy**2) * size * SMOOTHNESS)), s=(size, size))
    # Contrast and mean colour.
    noise = noise / noise.std() * rng.uniform(30, 50) + rng.uniform(100, 160, (3, 1, 1))
    return noise.transpose(1, 2, 0)


def make_video(
    seed: int | Sequence[int],
    label: int,
    upper: int,
    num_frames: int = NUM_FRAMES,
    size: int = SIZE,
    visible: tuple[bool, bool] = (True, True),
) -> NDArray[np.uint8]:
    """One video as uint8 [T, size, size, 3]. Equal arguments give equal pixels.

    Args:
        seed: decides the textures and where they start.
        label: index into `CLASS_NAMES`.
        upper: direction of the upper band, LEFT or RIGHT; that of the lower follows from the label.
        num_frames: T.
        size: height and width in pixels.
        visible: whether the upper and the lower band are shown.
    """
    frames = np.full((num_frames, size, size, 3), DARKNESS, dtype=np.float64)
    height = band_height(size)
    for band, top, is_visible in zip(
        make_bands(seed, label, upper, num_frames, size), (0, size - height), visible, strict=True
    ):
        if is_visible:
            for frame, (down, right) in zip(frames, band.shifts, strict=True):
                frame[top : top + height] = np.roll(band.texture, (down, right), axis=(0, 1))[:height]
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def band_height(size: int = SIZE) -> int:
    """Height of a band in pixels."""
    return round(size * BAND_HEIGHT)


def band_gap(size: int = SIZE) -> int:
    """Number of dark rows between the bands. A unit with a receptive field of that height never sees both."""
    return size - 2 * band_height(size)
