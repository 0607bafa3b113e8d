"""A run that is interrupted and resumed, wherever that is, ends bit for bit as one that was not."""

import math
import shutil

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

from gcvideo import VideoDataModule, VideoTask
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.training.checkpoint_io import SafeCheckpointIO
from gcvideo.training.last_checkpoint import LastCheckpoint
from gcvideo.training.optim import Optimization
from gcvideo.training.precise_bn import PreciseBatchNorm
from gcvideo.training.random_state import RandomState

ALWAYS = 1e-9  # minutes


class EverySave(LastCheckpoint):
    """Keeps a copy of the folder as it is after every save of last.ckpt."""

    def __init__(self, folder, copies):
        super().__init__(folder, ALWAYS)
        self.copies = copies

    def _save(self, trainer):
        super()._save(trainer)
        shutil.copytree(self.folder, self.copies / f"{len(list(self.copies.iterdir())):02d}")


class Validations(pl.Callback):
    """At which steps a validation ran."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


def fit(manifest, folder, resume=None, callbacks=(), last=None, data=None, accept=False, **settings):
    """Train 3 epochs of 4 batches; the end of it."""
    pl.seed_everything(7, verbose=False)
    options = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": 3, "num_workers": 0, "seed": 5}
    module = VideoDataModule(str(manifest), **(options | (data or {})))
    module.accept_changes = accept
    task = VideoTask(module.class_names, "slowonly_tiny", "gc_all", optim=Optimization("sgd", lr_batch=None), lr=0.05)
    validations = Validations()
    best = ModelCheckpoint(
        folder, "best", monitor=None if settings.get("limit_val_batches") == 0 else "val/loss", mode="min",
        enable_version_counter=False,
    )  # fmt: skip
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, default_root_dir=folder, plugins=[SafeCheckpointIO()],
        callbacks=[RandomState(), validations, *[make() for make in callbacks], best, *([last] if last else [])],
        **settings,
    )  # fmt: skip
    trainer.fit(task, module, ckpt_path=resume)
    files = {name: torch.load(folder / name, weights_only=True) for name in ("last.ckpt", "best.ckpt") if last}
    return files, validations.steps


def same(one, other):
    """Whether two checkpoints hold the same weights, averages and optimizer states."""
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert one.get(key, {}).keys() == other.get(key, {}).keys()
        assert [name for name, value in one.get(key, {}).items() if not torch.equal(value, other[key][name])] == []
    for mine, theirs in zip(one["random_states"], other["random_states"], strict=True):
        assert torch.equal(mine["torch"], theirs["torch"])
    (one_state,), (other_state,) = one["optimizer_states"], other["optimizer_states"]
    for number, state in one_state["state"].items():
        assert torch.equal(state["momentum_buffer"], other_state["state"][number]["momentum_buffer"])


CASES = {
    "validation after each epoch": {},
    "validation within an epoch": {"val_check_interval": 2},
    "no validation": {"limit_val_batches": 0},
    "accumulated gradients": {"accumulate_grad_batches": 2},
    "averaged weights": {"callbacks": [lambda: EMAWeightAveraging(decay=0.8)]},
    "loader processes": {"data": {"num_workers": 2}},
    "precise batch norm": {"callbacks": [lambda: PreciseBatchNorm(2)]},
    "a number of steps": {"max_steps": 10},
    "a number of steps without validation": {"max_steps": 10, "limit_val_batches": 0},
    "a part of each epoch": {"limit_train_batches": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_state_that_is_saved(case, synthetic, tmp_path):
    """Of each last.ckpt of a run: what it ends with, which validations are still to come."""
    folder, copies = tmp_path / "run", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    whole, validations = fit(synthetic, folder, last=EverySave(folder, copies), **CASES[case])
    assert len(list(copies.iterdir())) >= 8
    for copy in sorted(copies.iterdir()):
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
        resumed, again = fit(synthetic, folder, resume=folder / "last.ckpt", last=LastCheckpoint(folder), **CASES[case])
        same(resumed["last.ckpt"], whole["last.ckpt"])
        same(resumed["best.ckpt"], whole["best.ckpt"])
        # Those after the step of the checkpoint; that of its own step if it was saved before it.
        expected = [number for number in validations if number >= step]
        assert again in (expected, expected[1:]), copy


class Seen(pl.Callback):
    """The videos of each epoch, and whether each batch is as Lightning counts it."""

    def __init__(self):
        self.videos, self.rates = {}, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.videos.setdefault(trainer.current_epoch, []).extend(batch[2].tolist())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "epochs"), ((6, [10, 12, 12]), (2, [12, 12, 12]), (4, [12, 12, 12])))
def test_another_batch_size_continues_the_epoch(batch, epochs, synthetic, tmp_path):
    """Stopped after 4 videos of 12 (2 batches of 2), resumed with another size: no video twice, none left out but those
    that fill no batch; the rate follows the position and not the number of steps."""
    first, second = Seen(), Seen()
    last = EverySave(tmp_path / "run", tmp_path / "copies")
    (tmp_path / "run").mkdir()
    (tmp_path / "copies").mkdir()
    fit(synthetic, tmp_path / "run", callbacks=[lambda: first], last=last, data={"batch_size": 2})
    copy = tmp_path / "copies" / "01" / "last.ckpt"
    assert torch.load(copy, weights_only=True)["VideoDataModule"]["videos"] == 4
    fit(
        synthetic, tmp_path / "run", resume=copy, callbacks=[lambda: second], last=LastCheckpoint(tmp_path / "run"),
        data={"batch_size": batch},
    )  # fmt: skip
    second.videos[0] = first.videos[0][:4] + second.videos[0]
    assert [len(second.videos[epoch]) for epoch in range(3)] == epochs
    for epoch, videos in second.videos.items():
        assert len(set(videos)) == len(videos)
        assert videos == first.videos[epoch][: len(videos)]  # the same order, in other batches
    per_epoch = 12 // batch
    position = [epoch * per_epoch + number for epoch in range(3) for number in range(per_epoch)][-len(second.rates) :]
    total = 3 * per_epoch
    expected = [0.05 * 0.5 * (1 + math.cos(math.pi * step / total)) for step in position]
    assert second.rates == pytest.approx(expected)
