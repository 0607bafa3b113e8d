"""Changes of training views: laws of a clip, and that an item stays a pure function of its generator."""

import pytest
import torch

from gcvideo.data.appearance import Appearance
from gcvideo.data.transforms import Augmentation

KINDS = [Appearance(rand_augment=9), Appearance(color_jitter=0.4), Appearance(erase=1.0)]
EVERYTHING = Appearance(rand_augment=15, operations=3, color_jitter=0.5, erase=0.5)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def still(num_frames=4, side=32):
    frame = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8, generator=generator(0))
    return frame.permute(0, 3, 1, 2).expand(num_frames, -1, -1, -1)  # [T, 3, S, S], channels innermost


@pytest.mark.parametrize("appearance", [*KINDS, EVERYTHING])
def test_all_frames_of_a_clip_change_equally(appearance):
    view = still()
    for seed in range(8):
        changed = appearance.change(view, generator(seed))
        assert changed.shape == view.shape
        assert changed.dtype == torch.uint8
        assert type(changed) is torch.Tensor
        assert (changed == changed[:1]).all()


@pytest.mark.parametrize("appearance", KINDS)
def test_views_do_change(appearance):
    assert any((appearance.change(still(), generator(seed)) != still()).any() for seed in range(8))


def test_the_change_depends_on_the_generator_alone_and_leaves_torchs_own_alone():
    torch.manual_seed(1)
    first = EVERYTHING.change(still(), generator(3))
    after_first = torch.rand(3)
    torch.manual_seed(2)
    assert (EVERYTHING.change(still(), generator(3)) == first).all()
    torch.manual_seed(1)
    assert (torch.rand(3) == after_first).all()
    assert (EVERYTHING.change(still(), generator(4)) != first).any()


def test_without_settings_nothing_is_changed_and_nothing_drawn():
    source = generator(5)
    state = source.get_state()
    assert Appearance().change(still(), source) is not None
    assert (source.get_state() == state).all()
    plain = Augmentation(size=16, short_side=(20, 24)).view(still(), generator(6))
    assert (
        Augmentation(size=16, short_side=(20, 24), appearance=Appearance()).view(still(), generator(6)) == plain
    ).all()


def test_an_erased_box_is_grey_and_has_2_to_33_percent_of_the_area():
    for seed in range(20):
        changed = Appearance(erase=1.0).change(torch.full((2, 3, 64, 64), 255, dtype=torch.uint8), generator(seed))
        is_erased = (changed != 255).all(1)
        assert (is_erased[0] == is_erased[1]).all()
        assert set(changed.unique().tolist()) <= {114, 255}
        assert 0.015 < is_erased[0].float().mean() < 0.345


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"rand_augment": 31}, "rand_augment in 0 to 30, got 31"),
        ({"rand_augment": -1}, "rand_augment in 0 to 30, got -1"),
        ({"rand_augment": 9, "operations": 0}, "operations >= 1, got 0"),
        ({"operations": 3}, "no effect without appearance.rand_augment"),
        ({"color_jitter": 1.5}, r"color_jitter in \[0, 1\], got 1.5"),
        ({"erase": float("nan")}, r"erase in \[0, 1\], got nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Appearance(**settings)


def test_an_instance_holds_its_fields_only():
    """The command line reads its defaults from instances."""
    appearance = Appearance(color_jitter=0.2)
    before = dict(vars(appearance))
    appearance.change(still(), generator(0))
    assert vars(appearance) == before
