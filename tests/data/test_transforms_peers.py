"""Sizes, offsets and pixels of PySlowFast (its formulas, written out) and of mmaction2 (itself, if installed)."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from gcvideo.data.geometry import scaled
from gcvideo.data.transforms import Augmentation, Views
from tests.data.test_transforms import ramp

SIZES = ((48, 64), (64, 48), (51, 85), (85, 51), (37, 37), (40, 79), (120, 161), (97, 130))


def noise(height, width):
    return torch.randint(256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def assert_same_picture(view, expected):
    """uint8 against real numbers: the resizing in whole numbers is up to 1 (of 255) off."""
    assert view.shape == expected.shape
    assert (view.float() - expected).abs().max() <= 1.1


def slowfast_scale(frames, length):
    """random_short_side_scale_jitter of slowfast/datasets/transform.py, with the length that it drew."""
    height, width = frames.shape[2:]
    if (width <= height and width == length) or (height <= width and height == length):
        return frames.float()
    if width < height:
        height, width = math.floor((float(height) / width) * length), length
    else:
        height, width = length, math.floor((float(width) / height) * length)
    return interpolate(frames.float(), (height, width), mode="bilinear", align_corners=False)


def slowfast_uniform_crop(frames, size, index):
    height, width = frames.shape[2:]
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if height > width:
        top = (0, top, height - size)[index]
    else:
        left = (0, left, width - size)[index]
    return frames[:, :, top : top + size, left : left + size]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("size", "short_side"), ((40, 40), (32, 37)))
def test_slowfast_views_are_those_of_uniform_crop(height, width, size, short_side):
    frames = noise(height, width)
    expected = [slowfast_uniform_crop(slowfast_scale(frames, short_side), size, index) for index in range(3)]
    squares = Views(size=size, short_side=short_side, geometry="slowfast").squares(frames)
    assert len(squares) == 3
    for square, other in zip(squares, expected, strict=True):
        assert_same_picture(square, other)
    (centre,) = Views(spatial=1, size=size, short_side=short_side, geometry="slowfast").squares(frames)
    assert torch.equal(centre, squares[1])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", (32, 40))
def test_slowfast_training_view_is_its_jitter_crop_and_flip(height, width, size):
    """The same numbers drawn in the same order: length, top, left, mirror."""
    augment = Augmentation(size, (40, 60), geometry="slowfast")
    frames = noise(height, width)
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        length = int(round(40 + (60 - 40) * float(torch.rand((), dtype=torch.float64, generator=draw))))  # noqa: RUF046
        expected = slowfast_scale(frames, length)
        offsets = [  # np.random.randint(0, room) excludes room
            int(torch.randint(0, side - size, (), generator=draw)) if side > size else draw_nothing(draw)
            for side in expected.shape[2:]
        ]
        expected = expected[:, :, offsets[0] : offsets[0] + size, offsets[1] : offsets[1] + size]
        if int(torch.randint(2, (), generator=draw)):
            expected = expected.flip(-1)
        assert_same_picture(augment.view(frames, torch.Generator().manual_seed(seed)), expected)


def draw_nothing(generator):
    """Where there is no room PySlowFast draws no number; ours is drawn, and is 0."""
    torch.randint(1, (), generator=generator)
    return 0


def test_slowfast_jitter_covers_its_lengths_and_offsets():
    """Columns of the view's left border: all but the last offset."""
    augment = Augmentation(32, (32, 32), flip=False, geometry="slowfast")
    frames = ramp(32, 40)
    lefts = {int(augment.view(frames, torch.Generator().manual_seed(seed))[0, 0, 0, 0]) for seed in range(100)}
    assert lefts == set(range(8))


@pytest.fixture(scope="module")
def mmaction():
    if importlib.util.find_spec("mmaction") is None or importlib.util.find_spec("mmcv") is None:
        pytest.skip("mmaction2 is not installed: see tests/peers.txt")
    from mmaction.datasets import transforms

    return transforms


def test_sizes_are_those_of_mmaction2(mmaction):
    """Ties included: 80x81 to a short side of 40 is 40x41."""
    for short_side in (40, 51):
        resize = mmaction.Resize((-1, short_side))
        for height, width in [*SIZES, *((80, width) for width in range(80, 120)), (81, 80), (240, 321)]:
            expected = resize.transform({"img_shape": (height, width)})["img_shape"]
            assert scaled(noise(height, width), short_side, "gcvideo").shape[2:] == expected
    assert scaled(noise(80, 81), 40, "gcvideo").shape[2:] == (40, 41)


@pytest.mark.parametrize("tall", (False, True))
def test_squares_are_those_of_mmaction2(mmaction, tall):
    three, centre = mmaction.ThreeCrop(40), mmaction.CenterCrop(35)
    for long_side in (40, 41, 42, 47, 71, 80):
        frames = ramp(*((long_side, 40) if tall else (40, long_side)))
        images = [frames[0].permute(1, 2, 0).numpy()]
        first, last, middle = three.transform({"imgs": list(images)})["imgs"]
        ours = Views(size=40, short_side=40).squares(frames)
        for square, image in zip(ours, (first, middle, last), strict=True):
            assert np.array_equal(square[0].permute(1, 2, 0).numpy(), image)
        (square,) = Views(spatial=1, size=35, short_side=40).squares(frames)
        (image,) = centre.transform({"imgs": list(images)})["imgs"]
        assert np.array_equal(square[0].permute(1, 2, 0).numpy(), image)
