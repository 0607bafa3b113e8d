"""The data module: settings in, loaders out; with a Trainer, without one, and from the settings of a checkpoint."""

from pathlib import Path

import pytest
import torch

from gcvideo.data.datamodule import Loading, Splits, VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views

SMALL = {"clip": Clip(2, 1), "augment": Augmentation(32, (32, 36)), "num_workers": 0, "batch_size": 3}


def test_a_file_to_predict_is_taken_whatever_its_suffix(numbered_clip, tmp_path):
    named = tmp_path / "clip.video"
    named.write_bytes(Path(numbered_clip(5)).read_bytes())
    data = VideoDataModule(predict=str(named), **SMALL)
    data.setup("predict")
    assert [video.file for video in data.datasets["predict"].videos] == [str(named)]


def test_it_works_without_a_trainer(synthetic):
    data = VideoDataModule(str(synthetic), **SMALL)
    data.setup("fit")
    data.setup("test")
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    assert batches[0].frames.shape == (3, 1, 3, 2, 32, 32)
    assert sorted(index for batch in batches for index in batch.indices.tolist()) == list(range(12))
    assert [batch.frames.shape for batch in data.val_dataloader()] == [(6, 1, 3, 2, 32, 32)]
    assert [batch.frames.shape for batch in data.test_dataloader()] == [(1, 30, 3, 2, 32, 32)] * 6


def test_mappings_are_settings_too_and_checkpoints_hold_plain_values(synthetic):
    """What `save_hyperparameters` stores can be loaded by torch's safe loader, and passed back."""
    settings = {
        "splits": {"test": "val"},
        "clip": {"frames": 2, "stride": 1},
        "augment": {"size": 32, "short_side": [32, 36]},
        "views": {"temporal": 2},
        "loading": {"eval_batch_size": 2, "skip_broken": True},
    }
    data = VideoDataModule(str(synthetic), **settings)
    assert (data.splits, data.clip) == (Splits(test="val"), Clip(2, 1))
    assert (data.augment, data.views) == (Augmentation(32, (32, 36)), Views(2, 3, 32, 32))
    assert data.loading == Loading(eval_batch_size=2, skip_broken=True)
    stored = dict(data.hparams)
    assert stored["augment"] == {"size": 32, "short_side": [32, 36], "min_area": None, "flip": True}
    assert stored["views"] == {"temporal": 2, "spatial": 3, "size": None, "short_side": None}
    again = VideoDataModule(**stored)
    assert dict(again.hparams) == stored
    assert vars(again)["views"] == data.views


def test_the_stored_settings_pass_the_safe_loader(synthetic, tmp_path):
    data = VideoDataModule(str(synthetic), **SMALL)
    torch.save(dict(data.hparams), tmp_path / "hparams.pt")
    assert torch.load(tmp_path / "hparams.pt", weights_only=True) == dict(data.hparams)


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"batch_size": 0}, "expected batch_size >= 1 and num_workers >= 0, got 0 and 4"),
        ({"num_workers": -1}, "expected batch_size >= 1 and num_workers >= 0, got 8 and -1"),
        ({"loading": {"eval_batch_size": 0}}, "expected loading.eval_batch_size >= 1, got 0"),
        ({"loading": {"max_broken": 1.0}}, r"expected loading.max_broken in \[0, 1\), got 1"),
        ({"loading": {"timeout_s": -1}}, "expected loading.timeout_s >= 0, got -1"),
        ({"clip": {"frame": 8}}, "Clip: unknown key frame; expected some of frames, stride, target_fps"),
        ({"clip": 8}, "expected Clip or a mapping of its fields, got int"),
        ({"views": {"size": 300}}, "expected views.size <= views.short_side, got 300 > 256"),
        ({"augment": {"size": 300}}, "expected 1 <= augment.size"),
    ),
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        VideoDataModule(**settings)
