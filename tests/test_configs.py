"""Every configuration parses, builds its model and its data settings, and trains a step on tiny input."""

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.task import VideoTask

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def default_of(group, name):
    home = {"model": VideoTask, "data": VideoDataModule, "trainer": pl.Trainer}[group]
    return inspect.signature(home.__init__).parameters[name].default


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_trains_a_step(path, synthetic, tmp_path):
    config = yaml.safe_load(path.read_text())
    small = {"manifest": str(synthetic), "batch_size": 2, "num_workers": 0, "test_split": "test"}
    small |= {"size": 32, "short_side_min": 32, "short_side_max": 32, "eval_short_side": 32}
    data = VideoDataModule(**(config["data"] | small))
    task = VideoTask(data.class_names, **config["model"])
    settings = {
        key: value for key, value in config["trainer"].items() if key not in ("max_epochs", "accelerator", "devices")
    }
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=1, use_distributed_sampler=False, default_root_dir=tmp_path,
        **settings,
    )  # fmt: skip
    trainer.fit(task, data)
    assert trainer.global_step == 1
