"""Precise batch-norm statistics: the exact law, on any number of ranks, and a training that does not notice."""

import copy
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BaseFinetuning, Callback, EMAWeightAveraging
from torch import nn

from gcvideo.data.batch import collate
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.position import Position
from gcvideo.data.samplers import TrainSampler
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.errors import UsageError
from gcvideo.training.best_checkpoint import BestCheckpoint
from gcvideo.training.optim import Optimization
from gcvideo.training.precise_bn import PreciseBatchNorm
from gcvideo.training.schedule import Schedule
from gcvideo.training.task import VideoTask

BATCH = 3  # 12 training videos: 4 batches an epoch


SETTINGS = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": BATCH, "num_workers": 0}


def data(manifest):
    return VideoDataModule(str(manifest), **SETTINGS)


def task(module, **settings):
    pl.seed_everything(0)
    defaults = {"lr": 0.01, "optim": Optimization("adamw", lr_batch=None)}
    return VideoTask(module.class_names, "slowonly_tiny", "gc_all", **(defaults | settings))


def trainer(folder, *callbacks, **settings):
    defaults = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0,
        limit_val_batches=settings.pop("limit_val_batches", 1), callbacks=list(callbacks),
        **(defaults | {"enable_checkpointing": False} | settings),
    )  # fmt: skip


def batches(module, epoch, count, rank=0, world_size=1):
    """The first batches of a training epoch, item by item."""
    dataset = module.datasets["fit"]
    keys = list(TrainSampler(len(dataset), module.seed, rank, world_size, Position(epoch)))[: count * BATCH]
    return [collate([dataset[key] for key in keys[first : first + BATCH]]) for first in range(0, len(keys), BATCH)]


def norms(model):
    return {name: norm for name, norm in model.named_modules() if isinstance(norm, nn.BatchNorm3d)}


def statistics(model):
    return {name: (norm.running_mean.clone(), norm.running_var.clone()) for name, norm in norms(model).items()}


def expected_statistics(model, batches):
    """Mean and variance of all values that each norm sees, in float64: their definition."""
    model = copy.deepcopy(model).double().eval()
    seen = {name: [] for name in norms(model)}
    for name, norm in norms(model).items():
        norm.train()
        norm.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0].detach()))
    with torch.no_grad():
        for frames, _, _ in batches:
            clips = (frames.flatten(0, 1).double() / 255 - 0.45) / 0.225
            model.net(clips)
    values = {name: torch.cat(parts).transpose(0, 1).flatten(1) for name, parts in seen.items()}  # [C, all values]
    return {name: (x.mean(1), x.var(1, correction=0)) for name, x in values.items()}


def assert_statistics(own, expected):
    assert own.keys() == expected.keys()
    for name in own:
        for value, other in zip(own[name], expected[name]):
            torch.testing.assert_close(value.double(), other.double(), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(("requested", "used"), ((2, 2), (200, 4)))
def test_the_law(tmp_path, synthetic, requested, used):
    """After epoch 0, from the first batches of epoch 1; never more than an epoch has."""
    module = data(synthetic)
    model = task(module)
    trainer(tmp_path, PreciseBatchNorm(requested)).fit(model, module)
    assert_statistics(statistics(model), expected_statistics(model, batches(module, 1, used)))


def test_the_reference_implementation(tmp_path, synthetic):
    """fvcore's, on the same batches; it leaves the network as a whole in training mode, here without dropout."""
    update_bn_stats = pytest.importorskip("fvcore.nn.precise_bn").update_bn_stats
    module = data(synthetic)
    model = task(module, dropout=0.0)
    trainer(tmp_path, PreciseBatchNorm(3)).fit(model, module)
    own = statistics(model)
    update_bn_stats(model.train(), (frames for frames, _, _ in batches(module, 1, 3)), 3)
    assert_statistics(own, statistics(model))


class State(Callback):
    """All that a training step depends on or changes, but for the running statistics; and the data that it sees."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        modes = [module.training for module in pl_module.modules()]
        tracked = {name: norm.num_batches_tracked.item() for name, norm in norms(pl_module).items()}
        weights = [parameter.detach().clone() for parameter in pl_module.parameters()]
        moments = copy.deepcopy(trainer.optimizers[0].state_dict()["state"])
        self.steps.append((batch[2].tolist(), modes, tracked, torch.get_rng_state(), weights, moments))


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    (
        pytest.param({}, id="after each epoch"),
        pytest.param({"val_check_interval": 2}, id="in the middle of an epoch"),
        pytest.param({"limit_val_batches": 0}, id="without a validation"),
        pytest.param({"precision": "bf16-mixed", "accumulate_grad_batches": 2}, id="bf16, accumulated"),
    ),
)
def test_the_training_does_not_notice(tmp_path, synthetic, settings):
    """Bit for bit, with dropout: data, modes, random numbers, weights and moments after every step."""
    runs = []
    for callbacks in ([], [PreciseBatchNorm(3)]):
        module, state = data(synthetic), State()
        model = task(module, dropout=0.5)
        trainer(tmp_path, state, *callbacks, max_epochs=2, **dict(settings)).fit(model, module)
        runs.append((state.steps, statistics(model)))
    (plain, running), (precise, statistics_) = runs
    assert len(plain) == 8
    assert same(plain, precise)
    assert not any(same(running[name], statistics_[name]) for name in running)


def without(manifest, split, folder):
    """The manifest without the videos of a split."""
    lines = [line for line in manifest.read_text().splitlines() if line.split(",")[2] != split]
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("every", "validates", "limit"),
    ((1, True, {}), (2, True, {}), (1, False, {}), (2, False, {}), (1, True, {"max_steps": 10})),
)
def test_the_best_checkpoint_is_the_latest_with_its_statistics(tmp_path, synthetic, every, validates, limit):
    """Also where there are no validation videos, and where none of them comes after the last step."""
    manifest = synthetic if validates else without(synthetic, "val", tmp_path)
    module = VideoDataModule(str(manifest), root=str(synthetic.parent), **SETTINGS)
    model, best = task(module), BestCheckpoint(tmp_path / "checkpoints", "latest", validates=True)
    settings = {"enable_checkpointing": True, "check_val_every_n_epoch": every, "limit_val_batches": 1.0, **limit}
    trainer(tmp_path, PreciseBatchNorm(4), best, max_epochs=3, **settings).fit(model, module)
    content = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert content["global_step"] == limit.get("max_steps", 12)
    saved = task(module)
    saved.load_state_dict(content["state_dict"])
    assert same(dict(saved.named_parameters()), dict(model.named_parameters()))
    if not limit:
        assert_statistics(statistics(saved), expected_statistics(saved, batches(module, 3, 4)))
    assert same(statistics(saved), statistics(model))


def test_averages_need_a_validation_of_the_last_epoch(tmp_path, synthetic):
    for settings in ({"limit_val_batches": 0}, {"max_epochs": 3, "check_val_every_n_epoch": 2}):
        module = data(synthetic)
        runner = trainer(tmp_path, EMAWeightAveraging(decay=0.5), PreciseBatchNorm(2), **settings)
        with pytest.raises(UsageError, match="precise_bn needs a validation after the last epoch next to averaged"):
            runner.fit(task(module), module)


def test_a_resumed_run_has_the_same_statistics(tmp_path, synthetic):
    ends = []
    for parts in ((2,), (1, 2)):
        resumed = {}
        for epochs in parts:
            module = data(synthetic)
            # A constant rate: the same for a run of one epoch and of two.
            model = task(module, dropout=0.0, schedule=Schedule("multistep", milestones=(9.0,)))
            runner = trainer(tmp_path, PreciseBatchNorm(2), max_epochs=epochs)
            runner.fit(model, module, **resumed)
            runner.save_checkpoint(tmp_path / "a.ckpt")
            resumed = {"ckpt_path": tmp_path / "a.ckpt", "weights_only": True}
        ends.append(statistics(model))
    assert same(*ends)


def test_statistics_of_averaged_weights(tmp_path, synthetic):
    """The checkpoint holds the averaged weights: with their own statistics."""
    module = data(synthetic)
    model = task(module)
    runner = trainer(tmp_path, EMAWeightAveraging(decay=0.5), PreciseBatchNorm(3))
    runner.fit(model, module)
    runner.save_checkpoint(tmp_path / "a.ckpt")
    saved = task(module)
    saved.load_state_dict(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"])
    assert_statistics(statistics(saved), expected_statistics(saved, batches(module, 1, 3)))


@pytest.mark.slow
def test_compiled_networks(tmp_path, synthetic):
    """Hooks of a module that is compiled already would be ignored."""
    module = data(synthetic)
    model = task(module)
    model.net.compile(backend="eager")
    trainer(tmp_path, PreciseBatchNorm(3)).fit(model, module)
    assert_statistics(statistics(model), expected_statistics(model, batches(module, 1, 3)))


class Freeze(Callback):
    """Freezes the stem's norm when the training begins."""

    def __init__(self, freeze):
        self.freeze = freeze

    def on_train_epoch_start(self, trainer, pl_module):
        self.freeze(pl_module.net.blocks[0].norm)


@pytest.mark.parametrize("freeze", (nn.Module.eval, BaseFinetuning.freeze_module), ids=("eval", "Lightning"))
def test_frozen_norms_keep_their_statistics(tmp_path, synthetic, freeze):
    module = data(synthetic)
    model = task(module)
    before = statistics(model)
    trainer(tmp_path, Freeze(freeze), PreciseBatchNorm(2)).fit(model, module)
    after = statistics(model)
    assert {name for name in after if same(before[name], after[name])} == {"net.blocks.0.norm"}


def test_refusals(tmp_path, synthetic):
    with pytest.raises(ValueError, match="precise_bn must be at least 1 or null, got 0"):
        PreciseBatchNorm(0)
    module = data(synthetic)
    model = task(module)
    with pytest.raises(UsageError, match="needs a validation after the last epoch next to averaged weights"):
        trainer(tmp_path, EMAWeightAveraging(), PreciseBatchNorm(1), limit_val_batches=0).fit(model, module)
    with pytest.raises(UsageError, match="fit with a VideoDataModule"):
        trainer(tmp_path, PreciseBatchNorm(1)).fit(model, [])
    without_norms = VideoTask(module.class_names, net=nn.Sequential(nn.Flatten(), nn.Linear(2, 2)))
    with pytest.raises(UsageError, match="would have no effect: the network has no batch norms"):
        trainer(tmp_path, PreciseBatchNorm(1)).fit(without_norms, module)


SCRIPT = """
import sys
import torch
from pathlib import Path
from tests.training.test_precise_bn import PreciseBatchNorm, data, task, trainer

if __name__ == "__main__":
    manifest, folder = sys.argv[1:]
    torch.set_num_threads(1)
    module = data(manifest)
    model = task(module)
    runner = trainer(folder, PreciseBatchNorm(2), devices=2, strategy="ddp")
    runner.fit(model, module)
    torch.save(model.state_dict(), f"{folder}/{runner.global_rank}.pt")
"""


@pytest.mark.slow
def test_two_ranks_have_the_statistics_of_the_batches_of_both(tmp_path, synthetic):
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "run.py"), str(synthetic), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    module = data(synthetic)
    module.setup("fit")
    model = task(module)
    both = [batch for rank in (0, 1) for batch in batches(module, 1, 2, rank, world_size=2)]
    for rank in (0, 1):
        model.load_state_dict(torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        assert_statistics(statistics(model), expected_statistics(model, both))
