"""Weights of the classes in the training loss."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from gcvideo.errors import UsageError


def balanced_weights(trainer: pl.Trainer, num_classes: int) -> Tensor:
    """Weights [K] inversely to the number of training videos of a class; their mean over these videos is 1.

    Args:
        trainer: with a `VideoDataModule` that is set up for a fit.
        num_classes: K.

    Raises:
        UsageError: the labels of the training videos are not known.
    """
    datasets = getattr(getattr(trainer, "datamodule", None), "datasets", {})
    if "fit" not in datasets:
        raise UsageError("optim.class_weights balanced counts the training videos: fit with a VideoDataModule")
    return weights_of(datasets["fit"].videos.labels, num_classes)


def weights_of(labels: Tensor, num_classes: int) -> Tensor:
    """Weights [K] for videos with these labels [N]: N / (classes with videos x videos of the class)."""
    counts = torch.bincount(labels.long(), minlength=num_classes)
    present = int((counts > 0).sum())
    return len(labels) / (present * counts.clamp(min=1)).float()  # a class without videos is never a label
