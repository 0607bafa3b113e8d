"""Optimizers: which parameters decay, and the linear scaling rule.

Recipes: "SlowFast Networks" (arXiv:1812.03982), section 4: SGD with Nesterov momentum; "Accurate, Large Minibatch SGD"
(arXiv:1706.02677) for the linear scaling rule and for no weight decay on the parameters of normalization layers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import nn

Groups = list[dict[str, Any]]
Depths = Mapping[nn.Parameter, int]
"""Parameter -> stages between it and the output of the network."""
Decay = Literal["kernels", "biases", "all"]
ClassWeights = Literal["equal", "balanced"]

# The parameters of a network by kind, and to which kinds each rule applies the weight decay.
_KINDS = ("kernel", "bias", "norm")
_DECAYED: dict[str, tuple[str, ...]] = {"kernels": ("kernel",), "biases": ("kernel", "bias"), "all": _KINDS}

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)  # the norm of GC blocks is a LayerNorm


def sgd(groups: Groups, lr: float, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """SGD with momentum."""
    # torch refuses Nesterov without momentum.
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)


def adamw(groups: Groups, lr: float, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    """AdamW; `momentum` is its beta_1."""
    return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999))


OPTIMIZERS: dict[str, Callable[[Groups, float, float, bool], torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}

if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]


@dataclass(frozen=True)
class Optimization:
    """How the loss is minimized; the learning rate itself is `lr` of `VideoTask`.

    Args:
        name: "sgd" or "adamw".
        lr_batch: batch size that the learning rate is meant for: the rate is scaled linearly to the effective batch
            (clips per device x devices x accumulated batches). None uses the rate as it is.
        momentum: of SGD; beta_1 of AdamW.
        nesterov: Nesterov momentum, as in PySlowFast; mmaction2 has plain momentum. Of SGD only.
        weight_decay: strength of the decay, for the parameters that `decay` names.
        decay: "kernels" (neither biases nor normalization layers), "biases" (these too, as in PySlowFast) or "all"
            (normalization layers too, as in mmaction2).
        layer_decay: factor of the learning rate from each stage of the trunk to the one before it, such as 0.75 for
            fine-tuning; the head and inserted blocks have the full rate, res5 this factor of it.
        label_smoothing: of the training loss; papers use 0.
        class_weights: of the training loss: "equal", or "balanced", inversely to the number of training videos.
        max_skipped: updates in a row whose gradient is infinite or NaN; they are skipped, and one more ends the run.
    """

    name: OptimizerName = "sgd"
    lr_batch: int | None = 64
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    decay: Decay = "kernels"
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "equal"
    max_skipped: int = 10

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ValueError(f"optim.name must be one of {tuple(OPTIMIZERS)}, got {self.name!r}")
        if self.lr_batch is not None and self.lr_batch < 1:
            raise ValueError(f"optim.lr_batch must be at least 1 or null, got {self.lr_batch}")
        if self.max_skipped < 0:
            raise ValueError(f"optim.max_skipped must not be negative, got {self.max_skipped}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optim.momentum must be in [0, 1), got {self.momentum}")
        if self.name != "sgd" and not self.nesterov:
            raise ValueError(f"optim.nesterov false would have no effect with optim.name {self.name}: remove it")
        if self.decay not in _DECAYED:
            raise ValueError(f"optim.decay must be one of {tuple(_DECAYED)}, got {self.decay!r}")
        if not 0 <= self.weight_decay < math.inf:  # False for nan, too
            raise ValueError(f"optim.weight_decay must be a finite number of at least 0, got {self.weight_decay}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optim.layer_decay must be in (0, 1], got {self.layer_decay}")
        if self.class_weights not in get_args(ClassWeights):
            raise ValueError(f"optim.class_weights must be one of {get_args(ClassWeights)}, got {self.class_weights!r}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"optim.label_smoothing must be in [0, 1), got {self.label_smoothing}")

    def build(self, model: nn.Module, lr: float, depths: Depths | None = None) -> torch.optim.Optimizer:
        """Optimizer of the trainable parameters of `model`, at learning rate `lr`.

        Args:
            depths: of the parameters; required by `layer_decay`; see `freezing.depths_of`.
        """
        groups = parameter_groups(model, self.weight_decay, self.decay, self.layer_decay, depths)
        return OPTIMIZERS[self.name](groups, lr, self.momentum, self.nesterov)

    def peak_lr(self, lr: float, batch: int) -> float:
        """Learning rate for an effective batch of `batch` clips (arXiv:1706.02677, section 2.1)."""
        return lr if self.lr_batch is None else lr * batch / self.lr_batch


def parameter_groups(
    model: nn.Module, weight_decay: float, decay: Decay, layer_decay: float = 1.0, depths: Depths | None = None
) -> Groups:
    """Trainable parameters in three groups, whatever `decay` is: kernels, biases, normalization layers.

    PySlowFast's rule (`slowfast/models/optimizer.py`, `construct_optimizer`) excepts batch and instance norms only. Its
    ResNets have no others; ours with GC blocks have a LayerNorm in each block, which "biases" excepts as well.

    With a `layer_decay` below 1, each stage has its own three, whose rate is "lr_factor" of the run's.
    """
    depths = depths if depths and layer_decay < 1 else {}
    # Three groups also where two have the same decay: the optimizer's state of a run then fits every other `decay`.
    parameters: dict[tuple[int, str], list[nn.Parameter]] = {
        (depth, kind): [] for depth in sorted({0, *depths.values()}) for kind in _KINDS
    }
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:  # BackboneFinetuning adds frozen ones later, as a group of its own
                kind = "norm" if isinstance(module, _NORMS) else "bias" if name == "bias" else "kernel"
                parameters[depths.get(parameter, 0), kind].append(parameter)
    return [
        {
            "params": members,
            "weight_decay": weight_decay if kind in _DECAYED[decay] else 0.0,
            "lr_factor": layer_decay**depth,
        }
        for (depth, kind), members in parameters.items()
    ]
