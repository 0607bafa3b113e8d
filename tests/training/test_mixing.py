"""MixUp and CutMix of clips: exact weights, and boxes that are the same in all frames."""

import pytest
import torch
import torch.nn.functional as F

from gcvideo.training.mixing import Mixing


def batch(num_clips=4, num_classes=3):
    """Clips of one value each: clip n is filled with n."""
    clips = torch.arange(num_clips).float().view(-1, 1, 1, 1, 1).expand(-1, 3, 2, 8, 8)
    return clips.contiguous(), F.one_hot(torch.arange(num_clips) % num_classes, num_classes).float()


def test_mixup_weighs_clips_and_labels_alike():
    clips, targets = batch()
    mixed, labels = Mixing(mixup=1.0).mix(clips, targets)
    assert mixed.shape == clips.shape
    share = labels[1, 1]  # of its own class in clip 1; the clip before it is of class 0
    assert torch.allclose(labels[1], torch.tensor([1 - share, share, 0]))
    assert torch.allclose(mixed[1], torch.full_like(mixed[1], float(share)))  # share * 1 + (1 - share) * 0


def test_cutmix_takes_one_box_in_all_frames_and_labels_by_its_area():
    torch.manual_seed(0)
    clips, targets = batch()
    shares = set()
    for _ in range(10):
        mixed, labels = Mixing(cutmix=1.0).mix(clips, targets)
        is_own = mixed[1] == 1  # [3, T, S, S]
        assert (is_own == is_own[:1, :1]).all()
        assert torch.isclose(labels[1, 1], is_own.float().mean())
        shares.add(round(float(labels[1, 1]), 3))
    assert len(shares) > 3


def test_both_take_turns_at_random_and_probabilities_stay_probabilities():
    torch.manual_seed(0)
    clips, targets = batch()
    kinds = set()
    for _ in range(20):
        mixed, labels = Mixing(mixup=0.8, cutmix=1.0).mix(clips, targets)
        assert torch.allclose(labels.sum(1), torch.ones(4))
        kinds.add(len(mixed[1].unique()))  # one value after MixUp, two after CutMix
    assert kinds >= {1, 2}


def test_settings():
    assert not Mixing().is_on
    assert Mixing(cutmix=0.1).is_on
    with pytest.raises(ValueError, match="mixing.mixup must be a finite number of at least 0, got -1"):
        Mixing(mixup=-1)
