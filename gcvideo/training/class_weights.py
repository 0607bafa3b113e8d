"""Weights of the classes in the training loss."""

import pytorch_lightning as pl
from torch import Tensor

from gcvideo.errors import UsageError
from gcvideo.training.metrics import class_counts


def balanced_weights(trainer: pl.Trainer, num_classes: int) -> Tensor:
    """Weights [K] of the classes, by the numbers of their training videos; see `weights_of`.

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
    """Weights [K] for videos with these labels.

    With one class each, labels [N]: N / (classes with videos x videos of the class); their mean over the videos is 1.
    With several, labels [N, K]: videos without the class / videos of the class, so that both weigh the same; no number
    is taken below 1.
    """
    counts = class_counts(labels, num_classes)
    if labels.ndim == 2:
        return (len(labels) - counts).clamp(min=1) / counts.clamp(min=1)
    present = int((counts > 0).sum())
    return len(labels) / (present * counts.clamp(min=1)).float()  # a class without videos is never a label
