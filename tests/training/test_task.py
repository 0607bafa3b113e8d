"""The task under a real Trainer: it learns, counts videos once, follows its schedule, resumes with the same data."""

import math
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from torchvision.models.video import r3d_18

from gcvideo import ContextBlock3d, insert, inserted_blocks
from gcvideo.data.datamodule import Loading, Splits, VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.errors import UsageError
from gcvideo.models import create_model, export_weights, insert_blocks
from gcvideo.models.backbones import resnet3d
from gcvideo.training.checkpoint import load_task
from gcvideo.training.execution import Execution, Pixels, prefers_channels_last, to_channels_last
from gcvideo.training.optim import Optimization
from gcvideo.training.schedule import Schedule
from gcvideo.training.synchronised_norms import keep_hooks_of_synchronised_norms
from gcvideo.training.task import VideoTask

NAMES = ["a", "b", "c"]
ADAMW = Optimization("adamw", lr_batch=None)


def data(manifest, **arguments):
    defaults = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": 3, "num_workers": 0}
    return VideoDataModule(str(manifest), **(defaults | arguments))


def task(names, **arguments):
    defaults = {"lr": 0.01, "dropout": 0.0, "optim": ADAMW}
    return VideoTask(names, "slowonly_tiny", "gc_all", **(defaults | arguments))


class Record(Callback):
    """Keeps the indices of the training batches and the learning rates."""

    def __init__(self):
        self.indices, self.rates = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.indices.append(batch[2].tolist())
        self.groups = [dict(group) for group in trainer.optimizers[0].param_groups]
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def trainer(tmp_path, *callbacks, **arguments):
    defaults = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=list(callbacks), **(defaults | {"enable_checkpointing": False} | arguments),
    )  # fmt: skip


@pytest.mark.parametrize("channels_last", (True, False))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_normalisation_is_on_the_device_and_exact(dtype, channels_last):
    """In one pass to the dtype and the memory format of the first convolution."""
    model = task(NAMES, execution=Execution(channels_last=channels_last), pixels=Pixels((0.4, 0.5, 0.6), 0.225))
    clips = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    mean = torch.tensor([0.4, 0.5, 0.6], dtype=torch.double).view(3, 1, 1, 1)
    expected = ((clips.double() / 255 - mean) / 0.225).float()
    memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = model.normalise(clips.to(memory_format=layout))
        torch.testing.assert_close(out, expected.to(dtype))
        assert out.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(
    ("device", "is_16_bit", "threads", "expected"),
    [("cpu", False, 1, False), ("cpu", False, 2, True), ("cpu", True, 1, True), ("cuda", False, 1, True)],
)
def test_memory_format_by_measurement(device, is_16_bit, threads, expected):
    """docs/results.md has the measurements; our layers are faster in channels-last memory everywhere."""
    assert prefers_channels_last(r3d_18(), device, is_16_bit, threads) is expected
    assert prefers_channels_last(create_model("slowonly_tiny"), device, is_16_bit, threads)


@pytest.mark.parametrize("setting", ("auto", False))
def test_memory_format_is_that_of_the_weights(setting, tmp_path, synthetic):
    module = data(synthetic, batch_size=2)
    model = task(module.class_names, execution=Execution(channels_last=setting))
    trainer(tmp_path, limit_train_batches=1, limit_val_batches=0).fit(model, module)
    kernel = model.net.blocks[1].res_blocks[0].branch2.conv_b.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d if setting else torch.contiguous_format)


def test_evaluation_takes_a_bounded_number_of_views_at_once():
    model = task(NAMES, execution=Execution(max_clips=2)).eval()
    frames = torch.randint(0, 256, (1, 5, 3, 4, 32, 32), dtype=torch.uint8)
    sizes = []
    model.net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    logits = model(frames)
    assert sizes == [2, 2, 1]
    expected = task(NAMES, execution=Execution(max_clips=None)).eval()
    expected.load_state_dict(model.state_dict())
    torch.testing.assert_close(logits, expected(frames), rtol=1e-4, atol=1e-5)
    model.train()
    model(frames.flatten(0, 1)[:, None])
    assert sizes[3:] == [5], "the batch of a training is a batch"


@pytest.mark.parametrize("stage", ("test", "predict"))
def test_tests_and_predictions_run_without_batch_norms(stage, tmp_path, synthetic):
    """The network of the task itself stays as it is, and so do the scores."""
    seen, scores = [], []
    for is_fused in (True, False):
        pl.seed_everything(0)
        module = data(synthetic)
        model = task(module.class_names, execution=Execution(fuse=is_fused))
        keys = list(model.state_dict())

        class Watch(pl.Callback):
            def on_test_batch_end(self, trainer, pl_module, outputs, *_):
                scores.append(outputs["scores"])
                seen.append(len(pl_module._fused))

            def on_predict_batch_end(self, trainer, pl_module, outputs, *_):
                scores.append(outputs[1])
                seen.append(len(pl_module._fused))

        run = trainer(tmp_path, Watch(), limit_test_batches=1, limit_predict_batches=1)
        if stage == "predict":
            module.predict_path = str(synthetic.parent)
            run.predict(model, module, return_predictions=False)
        else:
            run.test(model, module, verbose=False)
        assert list(model.state_dict()) == keys
        assert not model._fused
    assert seen == [1, 0]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)


def test_an_interrupted_test_leaves_no_old_network(tmp_path, synthetic):
    """The fused copy is of the weights of then."""
    module = data(synthetic)
    model = task(module.class_names)

    class Fails(pl.Callback):
        def on_test_batch_end(self, *_):
            raise RuntimeError("as any callback may")

    with pytest.raises(RuntimeError, match="as any callback may"):
        trainer(tmp_path, Fails()).test(model, module, verbose=False)
    frames = torch.randint(0, 256, (1, 1, 3, 4, 32, 32), dtype=torch.uint8)
    before = model.eval()(frames)
    torch.nn.init.normal_(model.net.blocks[-1].proj.weight)
    assert not torch.equal(model(frames), before)


def test_parts_of_a_test_are_checked_one_by_one():
    class Squeezes(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3, 4)).squeeze()

    model = VideoTask(NAMES, net=Squeezes(), execution=Execution(max_clips=2)).eval()
    with pytest.raises(UsageError, match=r"must return \[B, 3\], one logit for each class; got shape \(3,\)"):
        model(torch.zeros(1, 3, 3, 2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("stage", ("apply", "revert"))
def test_synchronised_norms_keep_their_blocks(stage, tmp_path):
    """torch's conversion would lose the hooks, and so the blocks."""
    runner = trainer(tmp_path, strategy="ddp", devices=1, sync_batchnorm=True)
    keep_hooks_of_synchronised_norms(runner.strategy)
    sync = runner.strategy._layer_sync
    net = create_model("slowonly_tiny", "gc_all", 5).eval()
    for block in inserted_blocks(net).values():
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        expected = net(x)
        converted = sync.apply(net)
        assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
        if stage == "revert":
            converted = sync.revert(converted).eval()
        torch.testing.assert_close(converted(x), expected)
    assert len(inserted_blocks(converted)) == 3


def test_networks_of_2d_and_3d_kernels():
    net = torch.nn.ModuleList([torch.nn.Conv3d(3, 4, 3), torch.nn.Conv2d(4, 4, 3)])
    to_channels_last(net)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert net[1].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_block_does_not_make_a_network_ours():
    net = r3d_18()
    insert(net, {"layer1": ContextBlock3d})
    assert not prefers_channels_last(net, "cpu", False, 1)


def test_bad_execution():
    with pytest.raises(ValueError, match=r"execution\.compile and execution\.recompute exclude each other"):
        Execution(compile=True, recompute=True)
    with pytest.raises(ValueError, match="execution.max_clips must be at least 1, or null for all, got 0"):
        Execution(max_clips=0)
    with pytest.raises(ValueError, match="execution.channels_last must be true, false or auto, got 'always'"):
        Execution(channels_last="always")


def test_views_go_through_the_net_one_by_one():
    model = task(NAMES).eval()
    frames = torch.randint(0, 256, (2, 3, 3, 4, 32, 32), dtype=torch.uint8)
    logits = model(frames)
    assert logits.shape == (2, 3, 3)
    torch.testing.assert_close(logits[1, 2], model(frames[1:, 2:])[0, 0], rtol=1e-4, atol=1e-5)


def test_it_learns_two_videos_by_heart(tmp_path, synthetic):
    lines = synthetic.read_text().splitlines()
    manifest = synthetic.with_name("two.csv")
    manifest.write_text("\n".join([lines[0], *lines[1:3]]) + "\n")
    module = data(
        manifest,
        splits=Splits(val="train"),
        batch_size=2,
        augment=Augmentation(32, (32, 36), flip=False),
        clip=Clip(8, 1),
    )
    runner = trainer(tmp_path, max_epochs=30, limit_val_batches=0)
    runner.fit(task(module.class_names, lr=0.005), module)
    assert runner.callback_metrics["train/loss"] < 0.1


def test_validation_and_test_count_every_video_once(tmp_path, synthetic):
    module = data(synthetic, views=Views(temporal=2), loading=Loading(eval_batch_size=4))
    model = task(module.class_names)
    runner = trainer(tmp_path)
    metrics = runner.validate(model, module, verbose=False)[0]
    assert set(metrics) == {"val/loss", "val/clip_top1", "val/clip_top5", "val/video_top1", "val/video_top5"}
    runner.test(model, module, verbose=False)
    indices, labels, better, scores = model.scores.compute()
    assert indices.tolist() == list(range(6))
    assert better.shape == (6, 6)  # 2 in time x 3 in space
    by_hand = (scores.argmax(1) == labels).float().mean().item()
    assert runner.callback_metrics["test/video_top1"].item() == pytest.approx(by_hand)
    assert runner.callback_metrics["test/clip_top1"].item() == pytest.approx((better == 0).float().mean().item())


def test_predictions_are_distributions(tmp_path, synthetic):
    module = data(synthetic, predict=str(synthetic.parent / "test"))
    outputs = trainer(tmp_path).predict(task(module.class_names), module)
    assert [int(indices) for indices, _ in outputs] == list(range(6))
    torch.testing.assert_close(torch.cat([scores for _, scores in outputs]).sum(1), torch.ones(6))


def test_learning_rate_is_scaled_and_follows_the_schedule(tmp_path, synthetic):
    record = Record()
    module = data(synthetic)
    model = task(
        module.class_names,
        lr=0.1,
        optim=Optimization("sgd", 48),
        schedule=Schedule(warmup_epochs=0.5, warmup_start=0.5),
    )
    trainer(tmp_path, record, max_epochs=2, accumulate_grad_batches=2, limit_val_batches=0).fit(model, module)
    peak = 0.1 * 3 * 2 / 48  # 3 clips, 2 batches accumulated
    cosine = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    expected = [0.5, cosine[1], cosine[2], cosine[3]]  # one step of warm-up
    assert record.rates[1::2] == pytest.approx([peak * factor for factor in expected])


def test_bf16_clipping_smoothing_and_moving_average_run(tmp_path, synthetic):
    module = data(synthetic)
    runner = trainer(
        tmp_path, EMAWeightAveraging(decay=0.5), precision="bf16-mixed", gradient_clip_val=1.0, max_steps=3,
        limit_val_batches=1,
    )  # fmt: skip
    runner.fit(task(module.class_names, optim=replace(ADAMW, label_smoothing=0.1)), module)
    assert runner.global_step == 3
    assert torch.isfinite(runner.callback_metrics["train/loss"])


def test_class_names_and_settings_travel_in_a_checkpoint_that_loads_safely(tmp_path, synthetic):
    module = data(synthetic)
    runner = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    model = task(module.class_names, block={"ratio": 0.5})
    runner.fit(model, module)
    runner.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert content["hyper_parameters"]["class_names"] == module.class_names
    assert content["datamodule_hyper_parameters"]["clip"]["stride"] == 1
    again = VideoTask.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert again.class_names == module.class_names
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("stop", (2, pytest.param(4, marks=pytest.mark.slow), 6))
@pytest.mark.parametrize("workers", (0, pytest.param(2, marks=pytest.mark.slow)))
def test_a_resumed_run_goes_on_with_the_same_data(tmp_path, synthetic, stop, workers):
    """4 batches an epoch, 3 epochs; interrupted in the middle of an epoch and at its end."""
    whole = Record()
    module = data(synthetic, num_workers=workers)
    trainer(tmp_path, whole, max_epochs=3, limit_val_batches=0).fit(task(module.class_names), module)

    # As in an interruption: the checkpoint is written inside the epoch, and one batch more is lost.
    saver = ModelCheckpoint(tmp_path, "stop", every_n_train_steps=stop, enable_version_counter=False)
    first, second = Record(), Record()
    module = data(synthetic, num_workers=workers)
    limits = {"max_epochs": 3, "limit_val_batches": 0}
    runner = trainer(tmp_path, first, saver, max_steps=stop + 1, enable_checkpointing=True, **limits)
    runner.fit(task(module.class_names), module)
    module = data(synthetic, num_workers=workers)
    trainer(tmp_path, second, **limits).fit(
        task(module.class_names), module, ckpt_path=tmp_path / "stop.ckpt", weights_only=True
    )
    assert len(whole.indices) == 12
    assert first.indices[:stop] + second.indices == whole.indices


def test_settings_of_the_resuming_run_win(tmp_path, synthetic):
    module = data(synthetic)
    runner = trainer(tmp_path, max_epochs=2, max_steps=4, limit_val_batches=0)
    runner.fit(task(module.class_names, lr=0.01, optim=replace(ADAMW, weight_decay=0.5, momentum=0.5)), module)
    runner.save_checkpoint(tmp_path / "a.ckpt")
    record = Record()
    runner = trainer(tmp_path, record, max_epochs=2, limit_val_batches=0)
    runner.fit(
        task(module.class_names, lr=0.8, optim=replace(ADAMW, weight_decay=0.25)),
        module,
        ckpt_path=tmp_path / "a.ckpt",
        weights_only=True,
    )
    assert record.rates[0] == pytest.approx(0.8 * 0.5)  # half of the cosine
    assert [group["weight_decay"] for group in runner.optimizers[0].param_groups] == [0.25, 0.0, 0.0]
    assert [group["betas"] for group in runner.optimizers[0].param_groups] == [(0.9, 0.999)] * 3


def test_no_class_names():
    with pytest.raises(ValueError, match="class_names must name at least two classes"):
        VideoTask([])


def test_pixels_are_normalised_by_channel():
    model = VideoTask(NAMES, "slowonly_tiny", pixels=Pixels((0.1, 0.2, 0.3), (0.5, 0.25, 1.0)))
    clips = torch.full((1, 3, 2, 4, 4), 51, dtype=torch.uint8)  # 0.2
    expected = torch.tensor([0.2, 0.0, -0.1]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    torch.testing.assert_close(model.normalise(clips), expected)
    assert not [key for key in model.state_dict() if key in ("mean", "std")]


def test_fine_tuning_starts_from_weights_and_a_resumed_run_from_its_checkpoint(tmp_path, synthetic):
    module = data(synthetic)
    source = task(module.class_names)
    for parameter in source.net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save({"state_dict": {f"net.{k}": v for k, v in source.net.state_dict().items()}}, tmp_path / "w.ckpt")
    model = task(module.class_names, weights=str(tmp_path / "w.ckpt"), lr=0.0)
    saver = ModelCheckpoint(dirpath=tmp_path, filename="run")
    trainer(tmp_path, saver, enable_checkpointing=True).fit(model, datamodule=module)
    key = "blocks.1.res_blocks.0.branch2.conv_a.weight"
    assert torch.equal(model.net.state_dict()[key], source.net.state_dict()[key])
    torch.save({"state_dict": {f"net.{k}": v * 0 for k, v in source.net.state_dict().items()}}, tmp_path / "w.ckpt")
    again = task(module.class_names, weights=str(tmp_path / "w.ckpt"), lr=0.0)
    trainer(tmp_path, max_epochs=2).fit(again, datamodule=module, ckpt_path=str(tmp_path / "run.ckpt"))
    assert torch.equal(again.net.state_dict()[key], source.net.state_dict()[key])
    (tmp_path / "w.ckpt").unlink()  # a validation needs the weights no more
    trainer(tmp_path).validate(again, datamodule=module, verbose=False)


def test_the_head_travels_in_checkpoints(tmp_path):
    """A run evaluates as it was trained to, whatever the table of published files says later."""
    clips = torch.randint(0, 256, (1, 1, 3, 4, 96, 96), dtype=torch.uint8)  # features of 12 x 12
    for head, expected in ((None, "pool"), ("dense", "dense")):
        model = task(NAMES, head=head).eval()
        torch.nn.init.normal_(model.net.blocks[-1].proj.weight)
        assert model.hparams["head"] == expected
        save(model, tmp_path / "a.ckpt")
        again = load_task(tmp_path / "a.ckpt").eval()
        assert again.hparams["head"] == expected
        assert torch.equal(again(clips), model(clips))
    assert task(NAMES, weights="pyslowfast/slow_8x8_r50").hparams["head"] == "dense"
    assert task(NAMES, weights="pyslowfast/slow_8x8_r50", head="pool").hparams["head"] == "pool"
    assert VideoTask(NAMES, "resnet50").hparams["head"] == "pool"


def save(model, path):
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    torch.save({**content, "pytorch-lightning_version": pl.__version__}, path)


def test_options_of_a_published_file_travel_in_checkpoints():
    model = VideoTask(NAMES, "i3d_32x2_r50", "nl5", weights="mmaction2/i3d_32x2_r50_nl_gaussian")
    assert model.hparams["block"] == {"pool_first": False, "mode": "gaussian"}
    model = VideoTask(NAMES, "slowonly_r50", "gc5", weights="mmaction2/i3d_32x2_r50_nl_gaussian")
    assert model.hparams["block"] is None  # they are not options of such blocks


def test_a_network_of_ones_own_has_a_head_of_its_own():
    with pytest.raises(UsageError, match=r"with a network of your own \(net\), head would have no effect"):
        VideoTask(NAMES, net=torch.nn.Linear(1, 3), head="dense")
    assert VideoTask(NAMES, net=torch.nn.Linear(1, 3)).hparams["head"] is None


def test_a_video_network_is_inflated_only_if_asked_for(tmp_path, synthetic):
    """Of C2D, which has the other tensors of slow-only; the options of the block are stated by giving them."""
    module = data(synthetic)
    block = {"at": {"res4": [0]}, "mode": "dot_product", "sub_sample": True}
    source = resnet3d(
        "c2d_nopool", (1, 1, 1, 1), 3, width=8, stem_kernel=5, stem_stride=4, spatial_kernels=(3, 3, 1, 1)
    )
    insert_blocks(source, "nl", block["at"], block_options={"mode": "dot_product"})
    export_weights(source, tmp_path / "c2d.pyth", "pyslowfast")
    arguments = {"weights": str(tmp_path / "c2d.pyth"), "lr": 0.0}
    for block_options, inflation, message in (
        ({"at": block["at"]}, "mean", "files do not tell mode, sub_sample"),
        (block, None, "2 kernels have one frame"),
    ):
        model = VideoTask(module.class_names, "slowonly_tiny", "nl", block_options, inflation=inflation, **arguments)
        with pytest.raises(UsageError, match=message):
            trainer(tmp_path).fit(model, datamodule=module)
    model = VideoTask(module.class_names, "slowonly_tiny", "nl", block, inflation="mean", **arguments)
    trainer(tmp_path, limit_train_batches=1, limit_val_batches=0).fit(model, datamodule=module)
    key = "blocks.3.res_blocks.0.branch2.conv_a.weight"
    torch.testing.assert_close(model.net.state_dict()[key].sum(2, keepdim=True), source.state_dict()[key])


@pytest.mark.slow
def test_an_image_model_learns_images_through_the_same_task(tmp_path):
    """Classes told apart by colour, in a folder split/class/file."""
    pl.seed_everything(0)
    from torchvision.io import write_png

    for split, count in (("train", 8), ("val", 2)):
        for label, colour in (("blue", 2), ("red", 0)):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                image = torch.randint(0, 100, (3, 40, 48), dtype=torch.uint8)
                image[colour] += 120
                write_png(image, str(folder / f"{number}.png"))
    module = data(
        tmp_path, clip=Clip(1, 1), batch_size=8, augment=Augmentation(32, (32, 36), min_area=0.5),
        splits=Splits(test="val"), views=Views(1, 1),
    )  # fmt: skip
    model = VideoTask(module.class_names, "resnet50", "gc_all", {"ratio": 1 / 16}, optim=ADAMW, lr=3e-4)
    fit = trainer(tmp_path, max_epochs=10)
    fit.fit(model, datamodule=module)
    assert fit.logged_metrics["val/video_top1"] == 1.0


@pytest.mark.parametrize("settings", [{"mixing": {"mixup": 0.8, "cutmix": 1.0}}, {"optim": Optimization(
    "adamw", lr_batch=None, class_weights="balanced", layer_decay=0.5)}, {"freeze": "norms"}])  # fmt: skip
def test_settings_of_recipes_train_under_a_real_trainer(synthetic, tmp_path, settings):
    """With several clips of each video, whose number is that of the batch."""
    module = data(synthetic, augment=Augmentation(32, (32, 36), repeats=2))
    model = task(module.class_names, **settings)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shapes = []
    hook = model.net.register_forward_pre_hook(lambda net, inputs: shapes.append(inputs[0].shape))
    record = Record()
    trainer(tmp_path, record, limit_val_batches=0).fit(model, module)
    hook.remove()
    assert shapes == [(6, 3, 4, 32, 32)] * 4  # 12 videos, batches of 3, two clips of each
    assert all(len(indices) == 3 for indices in record.indices)
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if "freeze" in settings:
        kept = [name for name in before if "running_" in name and ".context." not in name]
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in kept)
    groups = {group["lr_factor"] for group in record.groups}
    assert groups == ({1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125} if "optim" in settings else {1.0})
    rates = {group["lr"] / group["lr_factor"] for group in record.groups}
    assert max(rates) == pytest.approx(min(rates))


def test_the_batch_of_the_learning_rate_counts_clips(synthetic, tmp_path):
    module = data(synthetic, augment=Augmentation(32, (32, 36), repeats=2))
    model = task(module.class_names, lr=0.01, optim=Optimization("adamw", lr_batch=12), schedule=Schedule())
    record = Record()
    trainer(tmp_path, record, limit_val_batches=0).fit(model, module)
    assert record.rates[0] == pytest.approx(0.01 * 6 / 12)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_differences_of_frames_are_exact(dtype):
    model = task(NAMES, pixels=Pixels(std=(0.2, 0.25, 0.5), difference=True))
    clips = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = model.normalise(clips)
    std = torch.tensor([0.2, 0.25, 0.5], dtype=torch.double).view(3, 1, 1, 1)
    expected = (clips.double().diff(dim=2) / 255 / std).float()
    assert out.dtype == dtype
    assert torch.allclose(out.float(), expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)
    assert model(clips[:, None]).shape == (2, 1, 3)
    with pytest.raises(UsageError, match="needs clips of at least two frames"):
        model.normalise(clips[:, :, :1])
