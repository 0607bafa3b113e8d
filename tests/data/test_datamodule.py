"""The data module: settings in, loaders out; with a Trainer, without one, and from the settings of a checkpoint."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from gcvideo.data.datamodule import Loading, Splits, VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.dataset_tools.pack import pack
from gcvideo.errors import UsageError

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
    assert stored["augment"] == {
        "size": 32, "short_side": [32, 36], "min_area": None, "flip": True, "geometry": "gcvideo", "repeats": 1,
        "appearance": {"rand_augment": None, "operations": 2, "color_jitter": 0.0, "erase": 0.0},
    }  # fmt: skip
    assert stored["views"] == {
        "temporal": 2, "spatial": 3, "size": None, "short_side": None, "geometry": "gcvideo"
    }  # fmt: skip
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
        ({"batch_size": 0}, "expected data.batch_size >= 1 and data.num_workers in 0 to 512, got 0 and 4"),
        ({"num_workers": -1}, "expected data.batch_size >= 1 and data.num_workers in 0 to 512, got 8 and -1"),
        ({"seed": -1}, r"expected data.seed in 0 to 2\*\*63 - 1, got -1"),
        ({"loading": {"eval_batch_size": 0}}, "expected loading.eval_batch_size >= 1, got 0"),
        ({"loading": {"max_broken": 1.0}}, r"expected loading.max_broken in \[0, 1\), got 1"),
        ({"loading": {"timeout_s": -1}}, "expected a finite loading.timeout_s >= 0, got -1"),
        ({"clip": {"frame": 8}}, "Clip: unknown key frame; expected some of frames, stride, target_fps"),
        ({"clip": 8}, "expected Clip or a mapping of its fields, got int"),
        ({"views": {"size": 300}}, "expected views.size <= views.short_side, got 300 > 256"),
        ({"augment": {"size": 300}}, "expected 1 <= augment.size"),
    ),
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        VideoDataModule(**settings)


class Probe(pl.LightningModule):
    """A network of one's own: keeps the indices of the videos that it is trained and validated on."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 6)
        self.trained, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.trained += batch.indices.tolist()
        colours = batch.frames.float().mean(dim=(1, 3, 4, 5)) / 255  # [B, 3]
        return F.cross_entropy(self.layer(colours), batch.labels)

    def validation_step(self, batch, batch_idx):
        self.validated += batch.indices.tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(tmp_path, **options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sharded(synthetic):
    """The same set in shards."""
    return pack(synthetic.parent, 0.02, progress=False)


@pytest.fixture(params=("files", "shards"))
def either(request, synthetic):
    return request.getfixturevalue("sharded") if request.param == "shards" else synthetic


def test_a_trainer_of_ones_own(either, tmp_path):
    """With Lightning's defaults: one device, and use_distributed_sampler=True."""
    module = Probe()
    trainer(tmp_path, max_epochs=2).fit(module, datamodule=VideoDataModule(str(either), **SMALL))
    epochs = module.trained[:12], module.trained[12:]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0] != epochs[1]
    assert sorted(set(module.validated)) == list(range(6))


@pytest.mark.parametrize("workers", (0, 1))
def test_overfit_batches_trains_on_the_same_videos(either, tmp_path, workers):
    """Lightning replaces the sampler by one that yields plain indices in order."""
    module = Probe()
    data = VideoDataModule(str(either), **(SMALL | {"num_workers": workers}))
    trainer(tmp_path, max_epochs=3, overfit_batches=2).fit(module, datamodule=data)
    epochs = [module.trained[6 * epoch : 6 * epoch + 6] for epoch in range(3)]
    assert len(module.trained) == 18
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert len(set(epochs[0])) == 6


def test_fast_dev_run_trains_a_batch(either, tmp_path):
    module = Probe()
    trainer(tmp_path, fast_dev_run=True).fit(module, datamodule=VideoDataModule(str(either), **SMALL))
    assert len(module.trained) == 3
    assert len(module.validated) == 6


@pytest.mark.parametrize("stage", ("fit", "validate", "test"))
def test_samplers_that_lightning_would_replace_are_refused(synthetic, tmp_path, stage):
    """Several devices and Lightning's default, use_distributed_sampler=True."""
    data = VideoDataModule(str(synthetic), **SMALL)
    data.setup(stage)
    data.trainer = trainer(tmp_path, strategy="ddp", devices=2)
    loader = {"fit": data.train_dataloader, "validate": data.val_dataloader, "test": data.test_dataloader}[stage]
    with pytest.raises(UsageError, match=r"with 2 devices expected Trainer\(use_distributed_sampler=False\), got True"):
        loader()
    data.trainer = trainer(tmp_path, strategy="ddp", devices=2, use_distributed_sampler=False)
    assert len(loader()) == {"fit": 2, "validate": 1, "test": 3}[stage]


def test_more_ranks_than_videos(synthetic, tmp_path):
    """A training has no batch for some of them; an evaluation has an empty one."""
    data = VideoDataModule(str(synthetic), num_workers=0, batch_size=7)
    data.setup("fit")
    data.trainer = trainer(tmp_path, strategy="ddp", devices=7, use_distributed_sampler=False)
    assert len(data.val_dataloader()) == 1
    with pytest.raises(UsageError, match=r"12 training videos on 7 device\(s\) do not fill one batch of 7"):
        data.train_dataloader()
