"""Which test it is: a hash of everything that its scores depend on."""

import hashlib
import json
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.videos import Videos
from gcvideo.report import provenance
from gcvideo.settings import as_plain
from gcvideo.training.task import VideoTask


def identity_of(trainer: pl.Trainer, task: VideoTask, data: VideoDataModule) -> str:
    """Hash of the weights, the settings of model and data, the list of videos, precision, device and versions.

    Not of the videos' contents: to read them all would take longer than some tests.

    Args:
        trainer: about to test; the weights are those of its checkpoint, or else of the task.
        task, data: set up for 'test'.
    """
    facts = {
        "weights": _hash_of_file(Path(trainer.ckpt_path)) if trainer.ckpt_path else _hash_of_weights(task.net),
        "model": dict(task.hparams),
        "videos": _hash_of_videos(data.datasets["test"].videos),
        "clip": as_plain(data.clip),
        "views": as_plain(data.views),
        "decoder": data.decoder,
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
        "versions": provenance.versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _hash_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _hash_of_weights(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _hash_of_videos(videos: Videos) -> str:
    digest = hashlib.sha256()
    for video in videos:
        digest.update(f"{video.label} {video.name!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
