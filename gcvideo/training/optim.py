"""Optimizers: which parameters decay, and the linear scaling rule.

Recipes: "SlowFast Networks" (arXiv:1812.03982), section 4: SGD with Nesterov momentum; "Accurate, Large Minibatch SGD"
(arXiv:1706.02677) for the linear scaling rule and for no weight decay on the parameters of normalization layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import nn

Groups = list[dict[str, Any]]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)  # the norm of GC blocks is a LayerNorm


def sgd(groups: Groups, lr: float, momentum: float) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum."""
    # torch refuses Nesterov without momentum.
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


def adamw(groups: Groups, lr: float, momentum: float) -> torch.optim.Optimizer:
    """AdamW; `momentum` is its beta_1."""
    return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999))


OPTIMIZERS: dict[str, Callable[[Groups, float, float], torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}

if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]


@dataclass(frozen=True)
class Optimization:
    """How the loss is minimized; the learning rate itself is `lr` of `VideoTask`.

    Args:
        name: "sgd" (Nesterov momentum) or "adamw".
        lr_batch: batch size that the learning rate is meant for: the rate is scaled linearly to the effective batch
            (clips per device x devices x accumulated batches). None uses the rate as it is.
        momentum: of SGD; beta_1 of AdamW.
        weight_decay: not applied to biases and normalization layers.
        label_smoothing: of the training loss; papers use 0.
    """

    name: OptimizerName = "sgd"
    lr_batch: int | None = 64
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ValueError(f"optim.name must be one of {tuple(OPTIMIZERS)}, got {self.name!r}")
        if self.lr_batch is not None and self.lr_batch < 1:
            raise ValueError(f"optim.lr_batch must be at least 1 or null, got {self.lr_batch}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optim.momentum must be in [0, 1), got {self.momentum}")
        if self.weight_decay < 0:
            raise ValueError(f"optim.weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"optim.label_smoothing must be in [0, 1), got {self.label_smoothing}")

    def build(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Optimizer of the trainable parameters of `model`, at learning rate `lr`."""
        return OPTIMIZERS[self.name](parameter_groups(model, self.weight_decay), lr, self.momentum)

    def peak_lr(self, lr: float, batch: int) -> float:
        """Learning rate for an effective batch of `batch` clips (arXiv:1706.02677, section 2.1)."""
        return lr if self.lr_batch is None else lr * batch / self.lr_batch


def parameter_groups(model: nn.Module, weight_decay: float) -> Groups:
    """Trainable parameters in two groups: decayed weights; biases and normalization layers without decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:  # BackboneFinetuning adds frozen ones later, as a group of its own
                (plain if name == "bias" or isinstance(module, _NORMS) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
