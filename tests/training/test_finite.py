"""Updates whose gradient is not finite: skipped as if their batch had not been, up to a bound."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from gcvideo import VideoTask
from gcvideo.errors import GcvideoError
from gcvideo.training.checkpoint_io import SafeCheckpointIO
from gcvideo.training.optim import Optimization
from tests.training.test_lightning import Clips


class Explosive(nn.Module):
    """A network whose output overflows on chosen calls, and only then."""

    def __init__(self, bad=()):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.bad, self.calls = bad, 0

    def forward(self, x):
        self.calls += 1
        return self.head(x.mean(dim=(2, 3, 4))) * (float("inf") if self.calls - 1 in self.bad else 1.0)


class SkipBatches(Clips):
    """The clips of an epoch without those of some batches of 2."""

    def __init__(self, skipped):
        super().__init__(16)
        self.kept = [index for index in range(16) if index // 2 not in skipped]

    def __len__(self):
        return len(self.kept)

    def __getitem__(self, index):
        return super().__getitem__(self.kept[index])


def fit(folder, loader, bad=(), max_skipped=10, **settings):
    torch.manual_seed(0)
    optim = Optimization("sgd", lr_batch=None, max_skipped=max_skipped, weight_decay=0.1)
    task = VideoTask(["a", "b"], net=Explosive(bad), optim=optim, lr=0.1)
    task.learning_rate.on_train_batch_start = lambda *_: None  # one rate: the schedule counts batches
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, enable_checkpointing=False, plugins=[SafeCheckpointIO()], **settings,
    )  # fmt: skip
    trainer.fit(task, loader)
    return task


def test_a_skipped_update_is_as_if_its_batch_had_not_been(tmp_path):
    with pytest.warns(UserWarning, match="the gradient is not finite at step 3: the update is skipped"):
        task = fit(tmp_path, DataLoader(Clips(16), batch_size=2), bad=(3, 5))
    expected = fit(tmp_path, DataLoader(SkipBatches((3, 5)), batch_size=2))
    for name, value in task.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    momentum, other = (next(iter(run.optimizers().state.values()))["momentum_buffer"] for run in (task, expected))
    assert torch.equal(momentum, other)


def test_too_many_in_a_row_end_the_run_with_the_names(tmp_path):
    with pytest.raises(
        GcvideoError, match=r"at step 4: 3 updates in a row; .*resume\nthe last batch: video 8, video 9"
    ):
        fit(tmp_path, DataLoader(Clips(16), batch_size=2), bad=range(2, 8), max_skipped=2)


def test_the_batch_whose_loss_is_bad_is_named_among_accumulated_ones(tmp_path):
    with pytest.raises(GcvideoError, match="last batch: video 2, video 3$"):
        fit(tmp_path, DataLoader(Clips(16), batch_size=2), bad=(1,), max_skipped=0, accumulate_grad_batches=2)


def test_the_last_step_of_a_run(tmp_path):
    """Its weights would be saved with exit status 0."""
    with pytest.raises(GcvideoError, match="not finite at step 7"):
        fit(tmp_path, DataLoader(Clips(16), batch_size=2), bad=(7,), max_skipped=0)


def test_statistics_that_are_lost_end_the_run(tmp_path):
    """A batch norm that has seen a NaN keeps it; a skipped update does not help."""
    task = VideoTask(["a", "b"], "slowonly_tiny", optim=Optimization("sgd", lr_batch=None))
    nn.init.constant_(task.net.blocks[0].conv.weight, float("nan"))
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(GcvideoError, match=r"at step 0: this and net.blocks.0.norm.running_mean; lower model.lr"):
        trainer.fit(task, DataLoader(Clips(16), batch_size=2))


def test_a_negative_bound():
    with pytest.raises(ValueError, match="optim.max_skipped must not be negative, got -1"):
        Optimization(max_skipped=-1)
