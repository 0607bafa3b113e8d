"""Views: exact boxes on frames whose pixels encode their position."""

import pytest
import torch

from gcvideo.data.transforms import Augmentation, Views, fixed_views, random_resized_view, random_view


def ramp(height, width, num_frames=2):
    """Frames [T, 3, H, W]: channel 0 is the column, channel 1 the row, channel 2 the frame."""
    frames = torch.zeros(num_frames, 3, height, width, dtype=torch.uint8)
    frames[:, 0] = torch.arange(width, dtype=torch.uint8)
    frames[:, 1] = torch.arange(height, dtype=torch.uint8)[:, None]
    frames[:, 2] = torch.arange(num_frames, dtype=torch.uint8)[:, None, None]
    return frames


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_centre_view_without_scaling_is_a_plain_crop():
    frames = ramp(40, 60)
    view = torch.stack(fixed_views(frames, size=40, short_side=40, spatial_views=1))
    assert torch.equal(view, frames[None, :, :, :, 10:50])
    smaller = torch.stack(fixed_views(frames, size=20, short_side=40, spatial_views=1))
    assert torch.equal(smaller, frames[None, :, :, 10:30, 20:40])


@pytest.mark.parametrize(("height", "width"), ((40, 60), (60, 40), (40, 40)))
def test_three_views_are_first_centre_and_last_of_the_long_side(height, width):
    frames = ramp(height, width)
    views = torch.stack(fixed_views(frames, size=40, short_side=40, spatial_views=3))
    assert views.shape == (3, 2, 3, 40, 40)
    starts = (views[:, 0, 0, 0, 0] if width >= height else views[:, 0, 1, 0, 0]).tolist()
    room = max(height, width) - 40  # even
    assert starts == [0, room // 2, room]
    assert torch.equal(views[1], fixed_views(frames, 40, 40, 1)[0])


def test_an_odd_margin_is_halved_down_or_up():
    """41 - 32 = 9 columns to spare: squares equally far apart, as mmaction2, or to the last column, as PySlowFast."""
    frames = ramp(32, 41)
    for geometry, expected in (("gcvideo", [0, 4, 8]), ("slowfast", [0, 5, 9])):
        views = Views(size=32, short_side=32, geometry=geometry).squares(frames)
        assert [int(view[0, 0, 0, 0]) for view in views] == expected


def test_scaling_takes_the_right_box():
    """Short side 80 scaled to 40 and a 30-pixel view: a 60-pixel box around the centre."""
    view = fixed_views(ramp(80, 120), size=30, short_side=40, spatial_views=1)[0][0]
    assert view.shape == (3, 30, 30)
    assert abs(int(view[0, 15, 0]) - 30.5) <= 1  # columns 30..89
    assert abs(int(view[0, 15, -1]) - 88.5) <= 1
    assert abs(int(view[1, 0, 15]) - 10.5) <= 1  # rows 10..69


def test_random_view_stays_inside_and_covers_all_of_the_frame():
    frames = ramp(48, 64)
    corners = set()
    for seed in range(200):
        view = random_view(frames, 32, (32, 64), flip=False, generator=generator(seed))
        assert view.shape == (2, 3, 32, 32)
        assert view.dtype == torch.uint8
        assert view[0, 0].max() <= 63
        assert (view[0, 0].float().diff(dim=1) >= 0).all()  # columns in order: not mirrored
        corners.add((int(view[0, 0, 0, 0]), int(view[0, 1, 0, 0])))
    assert len(corners) > 100


def test_all_frames_share_one_box():
    view = random_view(ramp(48, 64), 32, (32, 64), flip=True, generator=generator(1))
    assert torch.equal(view[0, :2], view[1, :2])
    assert view[:, 2].flatten(1).float().mean(1).tolist() == [0, 1]


def test_half_of_the_views_are_mirrored():
    frames = ramp(32, 40)
    mirrored = 0
    for seed in range(300):
        columns = random_view(frames, 32, (32, 32), flip=True, generator=generator(seed))[0, 0, 0].int()
        mirrored += bool(columns[0] > columns[-1])
    assert 110 < mirrored < 190


def test_a_view_is_a_function_of_the_generator():
    frames = ramp(48, 64)
    views = [random_view(frames, 32, (32, 64), True, generator(seed)) for seed in (5, 5, 6)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_unknown_number_of_spatial_views():
    with pytest.raises(ValueError, match=r"expected spatial_views to be one of \(1, 3\), got 5"):
        fixed_views(ramp(32, 32), 32, 32, 5)


def corners(view):
    """Box of a view of `ramp`: left, top, right, bottom, by its corner pixels."""
    return [int(view[0, 0, 0, 0]), int(view[0, 1, 0, 0]), int(view[0, 0, -1, -1]), int(view[0, 1, -1, -1])]


def test_resized_view_has_area_and_shape_in_their_range_and_the_same_box_in_all_frames():
    areas, ratios = [], []
    for seed in range(300):
        view = random_resized_view(ramp(200, 240), 64, 0.25, False, generator(seed))
        assert view.shape == (2, 3, 64, 64)
        assert torch.equal(view[0, :2], view[1, :2])
        left, top, right, bottom = corners(view)
        width, height = (right - left) * 64 / 63, (bottom - top) * 64 / 63  # corners are centres of pixels of the view
        areas.append(width * height / (200 * 240))
        ratios.append(width / height)
    assert 0.2 < min(areas) < 0.35
    assert 0.85 < max(areas) <= 1.05
    assert 0.7 < min(ratios) < 0.85
    assert 1.2 < max(ratios) < 1.42


def test_resized_view_is_a_function_of_the_generator_and_flips_half():
    frames = ramp(100, 120)
    once, again = (random_resized_view(frames, 32, 0.08, True, generator(5)) for _ in range(2))
    assert torch.equal(once, again)
    flipped = sum(
        corners(view)[0] > corners(view)[2]
        for view in (random_resized_view(frames, 32, 0.5, True, generator(seed)) for seed in range(100))
    )
    assert 30 < flipped < 70


@pytest.mark.parametrize(("height", "width"), ((10, 200), (200, 10)))
def test_resized_view_of_a_long_strip_is_its_centre(height, width):
    """Boxes of half the area do not fit: the largest centre box of an allowed ratio is taken."""
    view = random_resized_view(ramp(height, width), 16, 0.5, False, generator(0))
    left, top, right, bottom = corners(view)
    assert abs((left + right) / 2 - (width - 1) / 2) <= 1
    assert abs((top + bottom) / 2 - (height - 1) / 2) <= 1


def test_an_augmentation_takes_the_view_that_it_describes():
    frames = ramp(48, 64)
    jitter = Augmentation(32, (32, 64)).view(frames, generator(3))
    assert torch.equal(jitter, random_view(frames, 32, (32, 64), True, generator(3)))
    boxes = Augmentation(32, (32, 64), min_area=0.1, flip=False).view(frames, generator(3))
    assert torch.equal(boxes, random_resized_view(frames, 32, 0.1, False, generator(3)))


def test_views_take_what_they_lack_from_the_training_views():
    augment = Augmentation(32, (40, 64))
    assert Views().resolved(augment) == Views(10, 3, 32, 40)
    assert Views(2, 1, 36, 44).resolved(augment) == Views(2, 1, 36, 44)
    with pytest.raises(ValueError, match="expected views.size <= views.short_side, got 64 > 40"):
        Views(size=64).resolved(augment)
    with pytest.raises(ValueError, match="expected views with a size and a short side, got .*; see Views.resolved"):
        Views().squares(ramp(48, 64))
    squares = Views(1, 3).resolved(augment).squares(ramp(48, 64))
    assert torch.equal(torch.stack(squares), torch.stack(fixed_views(ramp(48, 64), 32, 40, 3)))


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    (
        (Augmentation, {"min_area": 0.0}, r"expected augment.min_area in \(0, 1\], got 0"),
        (Augmentation, {"min_area": 1.5}, r"expected augment.min_area in \(0, 1\], got 1.5"),
        (Augmentation, {"size": 0}, r"got size 0, short_side \(256, 320\)"),
        (
            Augmentation,
            {"size": 257},
            r"expected 1 <= augment.size <= augment.short_side\[0\] <= augment.short_side\[1\]",
        ),
        (Augmentation, {"short_side": (320, 256)}, r"got size 224, short_side \(320, 256\)"),
        (Augmentation, {"short_side": (256,)}, r"got size 224, short_side \(256,\)"),
        (Augmentation, {"geometry": "x"}, r"expected augment.geometry to be one of \('gcvideo', 'slowfast'\), got 'x'"),
        (
            Augmentation,
            {"geometry": "slowfast", "min_area": 0.5},
            "augment.geometry slowfast .* expected augment.min_area None, got 0.5",
        ),
        (Views, {"geometry": "x"}, r"expected views.geometry to be one of \('gcvideo', 'slowfast'\), got 'x'"),
        (Views, {"temporal": 0}, "expected views.temporal >= 1, got 0"),
        (Views, {"spatial": 2}, r"expected views.spatial to be one of \(1, 3\), got 2"),
        (Views, {"size": 0}, "expected views.size in 1 to 4096, got 0"),
        (Views, {"short_side": -1}, "expected views.short_side in 1 to 4096, got -1"),
    ),
)
def test_bad_settings(cls, settings, message):
    with pytest.raises(ValueError, match=message):
        cls(**settings)
