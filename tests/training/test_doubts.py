"""Warnings of what an accuracy hides: their limits, and through a real Trainer."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.training.doubts import FEW_VIDEOS, Doubts, doubt_of_predictions, doubt_of_size, doubt_of_statistics
from gcvideo.training.optim import Optimization
from gcvideo.training.task import VideoTask

NAMES = ["run", "sit", "wave"]


def counts(*numbers):
    return torch.tensor(numbers)


def test_size():
    assert doubt_of_size(FEW_VIDEOS) is None
    assert "36 validation videos: their accuracy is known to about +-0.16" in doubt_of_size(36)
    assert "+-0.50" in doubt_of_size(1)


def test_predictions_of_one_class():
    text = doubt_of_predictions(counts(32, 32, 32), counts(1, 94, 1), NAMES)
    assert text.startswith("94 of 96 videos are predicted to be sit, 32 are")
    assert doubt_of_predictions(counts(32, 32, 32), counts(30, 36, 30), NAMES) is None
    assert doubt_of_predictions(counts(2, 92, 2), counts(0, 96, 0), NAMES) is None, "so are the videos"
    assert doubt_of_predictions(counts(6, 6, 7), counts(19, 0, 0), NAMES) is None, "too few videos to say"


def test_statistics():
    text = doubt_of_statistics(32, 10, 21)
    assert "32 training clips: 0.66 right with the statistics of each batch, 0.31 with the running averages" in text
    assert doubt_of_statistics(32, 20, 21) is None
    assert doubt_of_statistics(8, 0, 8) is None, "too few clips to say"


@pytest.fixture
def fitted(synthetic, tmp_path):
    """Warnings of a short fit, with settings of the task and of the trainer."""

    def fit(momentum=0.1, verb="fit", **settings):
        data = VideoDataModule(
            str(synthetic), clip=Clip(4, 1), augment=Augmentation(32, (32, 36)), batch_size=6, num_workers=0
        )
        task = VideoTask(data.class_names, "slowonly_tiny", "none", dropout=0.0, **settings)
        for module in task.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = momentum
        trainer = pl.Trainer(
            default_root_dir=tmp_path, accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0,
            max_epochs=12, check_val_every_n_epoch=6, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, callbacks=[Doubts()],
        )  # fmt: skip
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(trainer, verb)(task, data)
        return [str(warning.message) for warning in caught], task

    return fit


def test_a_fit_whose_running_averages_do_not_fit_is_told(fitted):
    """A momentum of 0 leaves the running averages as they were initialised."""
    torch.manual_seed(0)
    texts, task = fitted(momentum=0.0, lr=0.01, optim=Optimization("adamw", lr_batch=None))
    of_modes = [text for text in texts if "running averages of the batch norms" in text]
    assert len(of_modes) == 1, "once in a run"
    assert len([text for text in texts if text.startswith("6 validation videos")]) == 1
    norms = [module for module in task.modules() if isinstance(module, _BatchNorm)]
    assert all((norm.running_mean == 0).all() and norm.track_running_stats for norm in norms), "they stay as they were"


def test_group_norms_have_no_running_averages(fitted):
    texts, _ = fitted(norms="group", lr=0.01, optim=Optimization("adamw", lr_batch=None))
    assert not [text for text in texts if "running averages" in text]
