"""Small models, data sets and Trainers for the fault tests of results."""

import json
import os
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.dataset_tools.synthetic import write_dataset
from gcvideo.report.callback import TestReport
from gcvideo.training.optim import Optimization
from gcvideo.training.task import VideoTask

NUM_VIDEOS = 11  # prime: no number of ranks divides it
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
ACCURACIES = ("clip_top1", "clip_top5", "video_top1", "video_top5")
REPORT_FILES = {"report.json", "predictions.csv", "report.html"}


def write_videos(folder):
    """Manifest of 4 training, 3 validation and 11 test videos."""
    return write_dataset(folder, {"train": 4, "val": 3, "test": NUM_VIDEOS}, num_frames=8, workers=2)


def data_of(manifest, **settings):
    defaults = {"clip": Clip(4, 1), "augment": Augmentation(32, (32, 36)), "batch_size": 2, "num_workers": 0}
    return VideoDataModule(str(manifest), **(defaults | {"views": Views(2, 1)} | settings))


def task_of(data):
    torch.manual_seed(1)
    return VideoTask(data.class_names, "slowonly_tiny", "gc_all", dropout=0.0, optim=Optimization(lr_batch=None))


def trainer_of(folder, *callbacks, **settings):
    defaults = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0,
        callbacks=list(callbacks), **(defaults | {"enable_checkpointing": False} | settings),
    )  # fmt: skip


def evaluate(run, data, *callbacks, task=None):
    """Run a test into a folder; returns its report without the time of writing."""
    task = task or task_of(data)
    (printed,) = trainer_of(run, *callbacks, TestReport(run, {}, "none")).test(task, data, verbose=False)
    report = json.loads((run / "report.json").read_text())
    assert printed == pytest.approx({f"test/{name}": report[name] for name in ACCURACIES})
    del report["written"]
    assert {path.name for path in run.iterdir()} == REPORT_FILES | {".test.lock"}
    return report, (run / "predictions.csv").read_text()
