"""Runs with a best.ckpt, as `fit` leaves them, without the time of a training."""

from pathlib import Path

import pytorch_lightning as pl
import torch

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.training.task import VideoTask


def write_run(folder: Path, names=("a", "b", "c"), blocks="gc_all", block=None, net=None, **data) -> Path:
    """A run whose network has random weights, blocks and classifier included; clips of 4 frames of 32 x 32.

    Args:
        folder: of the run.
        names: of the classes.
        blocks, block: of slowonly_tiny.
        net: instead of it.
        data: settings of the data module.
    """
    network = {"net": net} if net is not None else {"network": "slowonly_tiny", "blocks": blocks, "block": block}
    task = VideoTask(list(names), **network)
    generator = torch.Generator().manual_seed(0)
    for parameter in task.parameters() if net is None else ():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    settings = {"clip": Clip(4, 2), "augment": Augmentation(32, (32, 36)), "views": Views(2, 1), **data}
    save_run(folder, task, VideoDataModule(class_names=list(names), **settings))
    return folder


def save_run(folder: Path, task: VideoTask, data: VideoDataModule) -> None:
    """Checkpoint of a task and its data module."""
    (folder / "checkpoints").mkdir(parents=True)
    content = {
        "state_dict": task.state_dict(),
        "hyper_parameters": dict(task.hparams),
        "datamodule_hyper_parameters": dict(data.hparams),
        "pytorch-lightning_version": pl.__version__,
    }
    torch.save(content, folder / "checkpoints" / "best.ckpt")


class Colour(torch.nn.Module):
    """Tells by the brighter of red, green and blue: logits [B, 3] are ten times the means of the channels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, clips):
        return self.scale * clips.mean(dim=(2, 3, 4))
