"""Lightning's own tools with our task: they work, or they are refused by name with the reason."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning, BatchSizeFinder, LearningRateFinder, LearningRateMonitor
from pytorch_lightning.tuner import Tuner
from torch import nn
from torch.utils.data import DataLoader

from gcvideo import ContextBlock3d, VideoDataModule, VideoTask, inserted_blocks
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation
from gcvideo.errors import UsageError
from gcvideo.report.callback import TestReport
from gcvideo.training.optim import Optimization

ADAMW = Optimization("adamw", lr_batch=None)
NAMES = ["a", "b"]


class Clips(torch.utils.data.Dataset):
    """A data set of one's own, of plain tuples: frames uint8 [1, 3, 4, 32, 32], label, index."""

    def __init__(self, length=8):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        frames = torch.randint(0, 256, (1, 3, 4, 32, 32), dtype=torch.uint8, generator=generator)
        return frames, index % 2, index


class Network(nn.Module):
    """A network of one's own."""

    def __init__(self, num_classes: int = 2, width: int = 8):
        super().__init__()
        self.stem = nn.Conv3d(3, width, (1, 4, 4), (1, 4, 4))
        self.body = nn.Conv3d(width, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).relu().mean(dim=(2, 3, 4)))


def task(**settings):
    return VideoTask(NAMES, "slowonly_tiny", "gc_all", **({"optim": ADAMW, "lr": 0.01, "dropout": 0.0} | settings))


def trainer(folder, **settings):
    defaults = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", default_root_dir=folder, enable_model_summary=False, **(defaults | settings))


def module(manifest, **settings):
    defaults = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": 3, "num_workers": 0}
    return VideoDataModule(str(manifest), **(defaults | settings))


def test_any_loader_of_our_batch_form(tmp_path):
    """fit, validate, test and predict, without our data module; the rate is scaled by the loader's batch size."""
    loader = DataLoader(Clips(), batch_size=4)
    model = task(optim=Optimization("adamw", lr_batch=8))
    runner = trainer(tmp_path, max_epochs=2)
    runner.fit(model, loader, loader)
    assert runner.global_step == 4
    assert model.learning_rate._peak == pytest.approx(0.01 * 4 / 8)
    assert runner.validate(model, loader, verbose=False)[0]["val/loss"] > 0
    runner.test(model, loader, verbose=False)
    assert model.scores.compute().indices.tolist() == list(range(8))
    indices, scores = runner.predict(model, loader)[1]
    assert indices.tolist() == [4, 5, 6, 7]
    torch.testing.assert_close(scores.sum(1), torch.ones(4))


def test_a_report_needs_the_data_module(tmp_path):
    runner = trainer(tmp_path, callbacks=[TestReport(tmp_path, {}, "none")])
    with pytest.raises(UsageError, match="a report needs the names and views of the videos: test with a VideoData"):
        runner.test(task(), DataLoader(Clips(), batch_size=4), verbose=False)


def test_a_loader_without_batch_size(tmp_path):
    batch = (torch.stack([Clips()[i][0] for i in (0, 1)]), torch.tensor([0, 1]), torch.tensor([0, 1]))
    batches = DataLoader([batch], batch_size=None)
    with pytest.raises(UsageError, match="has no batch_size, which .* scaled by; set model.optim.lr_batch to null"):
        trainer(tmp_path).fit(task(optim=Optimization("adamw")), batches)
    runner = trainer(tmp_path)
    runner.fit(task(), batches)
    assert runner.global_step == 1


def test_a_run_without_an_end(tmp_path):
    with pytest.raises(UsageError, match="needs a run of known length: set trainer.max_epochs or trainer.max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(task(), DataLoader(Clips(), batch_size=4))


def test_a_network_of_ones_own(tmp_path):
    """Trained, saved, and loaded again with the same class of network."""
    net = Network()
    model = VideoTask(
        NAMES, net=net, blocks="gc", block={"at": ["body"], "site": "after_block", "ratio": 0.5}, optim=ADAMW
    )
    assert type(inserted_blocks(net)["body"]) is ContextBlock3d
    runner = trainer(tmp_path)
    runner.fit(model, DataLoader(Clips(), batch_size=4))
    runner.save_checkpoint(tmp_path / "own.ckpt")
    torch.load(tmp_path / "own.ckpt", weights_only=True)
    with pytest.raises(UsageError, match="a network of its own, .*Network: pass net="):
        VideoTask.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    again = VideoTask.load_from_checkpoint(tmp_path / "own.ckpt", weights_only=True, net=Network())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"network": "c2d_r50"}, "with a network of your own .net., network would have no effect"),
        ({"dropout": 0.1}, "dropout would have no effect"),
        ({"blocks": "gc"}, "at"),
        ({"blocks": "gc", "block": {"at": {"res3": "all"}}}, "at"),
        ({"block": {"ratio": 0.5}}, "takes no ratio"),
    ),
)
def test_settings_that_do_not_fit_a_network_of_ones_own(settings, message):
    with pytest.raises(ValueError, match=message):
        VideoTask(NAMES, net=Network(), **settings)


def test_a_network_with_another_number_of_classes(tmp_path):
    with pytest.raises(UsageError, match=r"must return \[B, 2\], one logit for each class; got shape \(4, 400\)"):
        trainer(tmp_path).fit(VideoTask(NAMES, net=Network(400), optim=ADAMW), DataLoader(Clips(), batch_size=4))


@pytest.mark.slow
def test_the_learning_rate_finder(tmp_path):
    """It tries its own rates, not those of our schedule, and its suggestion becomes `lr`."""
    loader = DataLoader(Clips(80), batch_size=2)
    with pytest.raises(UsageError, match="LearningRateFinder .* set model.optim.lr_batch to null"):
        Tuner(trainer(tmp_path)).lr_find(task(optim=Optimization("adamw")), loader)
    model = task(lr=1e-5)
    finder = Tuner(trainer(tmp_path)).lr_find(model, loader, min_lr=1e-6, max_lr=0.1, num_training=36)
    assert finder.results["lr"][0] == pytest.approx(1e-6, rel=0.5)
    assert finder.results["lr"][-1] > 0.01
    assert model.hparams["lr"] == finder.suggestion() != 1e-5
    runner = trainer(tmp_path, callbacks=[LearningRateFinder(min_lr=1e-6, num_training_steps=30)])
    runner.fit(task(), loader)
    assert runner.callbacks[0].optimal_lr is not None


def test_the_batch_size_finder(tmp_path, synthetic):
    data = module(synthetic, batch_size=1)
    with pytest.raises(UsageError, match="BatchSizeFinder .* set model.optim.lr_batch to null"):
        trainer(tmp_path, callbacks=[BatchSizeFinder()]).fit(task(optim=Optimization("adamw")), data)
    names = data.class_names
    runner = trainer(tmp_path, limit_val_batches=0)
    model = VideoTask(names, "slowonly_tiny", optim=ADAMW)
    assert Tuner(runner).scale_batch_size(model, datamodule=data, max_trials=2, steps_per_trial=1, init_val=2) == 4
    assert data.batch_size == 4


def test_backbone_finetuning(tmp_path):
    """The backbone is frozen for an epoch, then trained at a rate of its own, which our schedule leaves alone."""
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=1, lambda_func=lambda epoch: 2.0, backbone_initial_lr=1e-5)
    model = task()
    first = model.net.blocks[0].conv.weight.detach().clone()

    class Watch(pl.Callback):
        def on_train_epoch_end(self, runner, pl_module):
            if runner.current_epoch == 0:
                assert torch.equal(pl_module.net.blocks[0].conv.weight, first)
                assert [group["lr"] > 0 for group in runner.optimizers[0].param_groups] == [True] * 3

    runner = trainer(tmp_path, max_epochs=3, callbacks=[callback, Watch(), LearningRateMonitor()], logger=True)
    runner.fit(model, DataLoader(Clips(), batch_size=4))
    assert not torch.equal(model.net.blocks[0].conv.weight, first)
    ours, _, _, backbone, *_ = (group["lr"] for group in runner.optimizers[0].param_groups)
    assert backbone == pytest.approx(2e-5)
    assert ours < 0.01


@pytest.mark.parametrize(("network", "head"), (("slowonly_tiny", "blocks.5.proj."), ("resnet50", "fc.")))
def test_the_backbone_is_everything_but_the_classifier(network, head):
    model = VideoTask(NAMES, network, "gc", block={"at": {"res4": [0]}})
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    left_out = {name for name, parameter in model.net.named_parameters() if id(parameter) not in backbone}
    assert left_out == {f"{head}weight", f"{head}bias"}


def test_overfit_batches_and_fast_dev_run(tmp_path, synthetic):
    for settings in ({"overfit_batches": 2}, {"fast_dev_run": True}):
        data = module(synthetic)
        runner = trainer(tmp_path, **settings)
        runner.fit(VideoTask(data.class_names, "slowonly_tiny", optim=ADAMW), data)
        assert runner.global_step == (2 if "overfit_batches" in settings else 1)
