"""Every configuration parses, builds its model and its data settings, and trains a step on tiny input."""

import inspect
import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchvision
import yaml

from gcvideo.cli.main import main
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.models import checkpoints, create_model
from gcvideo.sweep.file import read_sweep
from gcvideo.sweep.statistics import seeds_needed
from gcvideo.training.task import VideoTask

FOLDER = Path(__file__).parent.parent / "configs"
ALONE = ("demo", "ucf_subset", "pairs", "small", "finetune_small", "finetune", "imagenet/finetune_gc")
QUICK = ("demo", "ucf_subset", "pairs", "small")
ROWS = ("nl5", "snl5", "gc5", "gc_all")
# Files that are given together, later ones win: the paper's five rows under two recipes, and other networks and data.
RECIPES = [
    *((recipe, *row) for recipe in ("imagenet", "scratch") for row in ((), *((name,) for name in ROWS))),
    ("scratch", "i3d_r50", "gc5"),
    ("imagenet", "i3d_r50"),
    ("imagenet", "r101", "gc_all"),
    ("scratch", "k600"),
    ("scratch", "nl5_slowfast"),
    ("mmaction2", "gc_all"),
]
# The rows change the blocks only: they are trained under one of the two recipes.
ONCE = [files for files in RECIPES if files[0] != "scratch" or files[1:] not in [(row,) for row in ROWS]]
COMBINATIONS = (
    [(name,) for name in ALONE]
    + [("demo", "demo_trunk"), ("pairs", "pairs_trunk"), ("small", "small_motion")]
    + [tuple(f"kinetics/{name}" for name in recipe) for recipe in RECIPES]
)


def default_of(group, name):
    """Default of a setting, such as ("model", "optim.lr_batch")."""
    home = {"model": VideoTask, "data": VideoDataModule, "trainer": pl.Trainer}[group]
    first, *rest = name.split(".")
    value = inspect.signature(home.__init__).parameters[first].default
    for part in rest:
        value = getattr(value, part)
    return value


def leaves(settings, prefix=""):
    """(dotted name, value) of nested settings; the options of a block are one value."""
    for name, value in settings.items():
        if isinstance(value, dict) and name != "block":
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def merge(base, changes):
    """Nested settings, later ones over earlier ones."""
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict) and name != "block"
        merged[name] = merge(merged[name], value) if both else value
    return merged


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def read(files):
    """The settings of all files, later ones over earlier ones."""
    merged = {"model": {}, "data": {}, "trainer": {}}
    for file in files:
        for group, settings in yaml.safe_load((FOLDER / f"{file}.yaml").read_text()).items():
            if isinstance(settings, dict):
                merged[group] = merge(merged[group], settings)
    return merged


@pytest.fixture(scope="session")
def image_weights(tmp_path_factory):
    """Random networks in files of their projects: what the recipes would download."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(create_model("slowonly_r50").state_dict(), folder / "slow_8x8_r50.pth")  # the names are pytorchvideo's
    for name in ("resnet18", "resnet50", "resnet101"):
        torch.save(getattr(torchvision.models, name)().state_dict(), folder / f"{name}_v1.pth")
    return folder


def test_every_file_is_in_a_test():
    files = {str(path.relative_to(FOLDER)).removesuffix(".yaml") for path in FOLDER.rglob("*.yaml")}
    assert {file for files in COMBINATIONS for file in files} == {file for file in files if "sweeps/" not in file}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(files, id="+".join(files), marks=[] if files[0] in QUICK else pytest.mark.slow)
        for files in COMBINATIONS
        if not files[0].startswith("kinetics/") or tuple(file.split("/")[1] for file in files) in ONCE
    ],
)
def test_config_trains_a_step(files, synthetic, tmp_path, image_weights):
    config = read(files)
    if "weights" in config["model"]:
        assert config["model"]["weights"] in checkpoints()
        name = config["model"]["weights"].split("/")[1]
        config["model"]["weights"] = str(image_weights / f"{name}.pth")
    small = {"manifest": str(synthetic), "batch_size": 2, "num_workers": 0, "splits": {"test": "test"}}
    small |= {"augment": {"size": 32, "short_side": [32, 32]}, "views": {"size": 32, "short_side": 32}}
    data = VideoDataModule(**merge(config["data"], small))
    task = VideoTask(data.class_names, **config["model"])
    settings = {
        key: value
        for key, value in config["trainer"].items()
        if key not in ("max_epochs", "accelerator", "devices", "callbacks")
    }
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=1, use_distributed_sampler=False, default_root_dir=tmp_path,
        **settings,
    )  # fmt: skip
    trainer.fit(task, data)
    assert trainer.global_step == 1


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_begins_with_where_it_comes_from(path):
    head = re.match(r"(#.*\n)+", path.read_text())[0]
    assert len(head) > 60
    if path.parent.name in ("kinetics", "imagenet"):
        assert "# Source: " in head


@pytest.mark.parametrize("path", sorted((FOLDER / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_sweeps_can_be_read_and_their_variants_built(path, monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    sweep = read_sweep(str(path))
    base = read([sweep.config.removeprefix("configs/").removesuffix(".yaml")])
    for settings in sweep.variants.values():
        model = base["model"]
        for name, value in settings.items():
            model = merge(model, nested(name.removeprefix("model."), value))
        VideoTask(["a", "b"], **model)
    if sweep.name != "demo_sweep":  # it shows one seed, and claims no significance
        assert len(sweep.seeds) >= seeds_needed(len(sweep.variants) - 1)


@pytest.mark.parametrize("files", COMBINATIONS, ids="+".join)
def test_the_command_line_reads_and_merges_them(files, capsys):
    """Strictly: types are checked, an unknown key is an error, later files win."""
    arguments = [f"--config={FOLDER / file}.yaml" for file in files]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    assert stop.value.code in (0, None)
    printed = yaml.safe_load(capsys.readouterr().out)
    for group, settings in read(files).items():
        for name, value in leaves(settings):
            found = dict(leaves(printed[group]))[name]
            if name == "callbacks":  # with the package and every default
                assert [callback["class_path"].split(".")[-1] for callback in found] == ["EarlyStopping"]
                assert found[0]["init_args"].items() >= value[0]["init_args"].items()
            else:
                assert found == value, f"{group}.{name}"
