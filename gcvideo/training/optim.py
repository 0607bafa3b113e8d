"""Optimisers and learning-rate schedules; the schedules are pure functions of the step.

Recipes: "SlowFast Networks" (arXiv:1812.03982), section 4: SGD with momentum, half-period cosine with linear warm-up;
"Accurate, Large Minibatch SGD" (arXiv:1706.02677) for the linear scaling rule and for no weight decay on the
parameters of normalisation layers.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "multistep"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: decayed weights; biases and all of normalisation layers without decay."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                (plain if name == "bias" or isinstance(module, _NORMS) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def build_optimizer(
    name: OptimizerName, model: nn.Module, lr: float, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (then `momentum` is beta_1)."""
    groups = parameter_groups(model, weight_decay)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999))
    raise ValueError(f"optimizer must be 'sgd' or 'adamw', got {name!r}")


def scaled_lr(lr: float, batch: int, reference_batch: int | None) -> float:
    """Linear scaling rule: `lr` is meant for `reference_batch`; None means that it is meant for any batch."""
    return lr if reference_batch is None else lr * batch / reference_batch


def cosine(step: int, total_steps: int) -> float:
    """Half-period cosine: 1 at step 0, towards 0 at `total_steps`."""
    return 0.5 * (1 + math.cos(math.pi * min(step, total_steps) / total_steps))


def multistep(step: int, milestones: Sequence[int], gamma: float) -> float:
    """`gamma` to the power of the milestones reached."""
    return gamma ** sum(step >= milestone for milestone in milestones)


def lr_factor(
    step: int,
    total_steps: int,
    schedule: ScheduleName = "cosine",
    warmup_steps: int = 0,
    warmup_start: float = 0.1,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    """Learning rate at optimiser step `step`, as a multiple of the peak.

    The warm-up is a line from `warmup_start` to the value that the schedule has at its end, as in PySlowFast.

    Args:
        step: from 0.
        total_steps: length of the run, at least 1.
        schedule: "cosine" to 0, or "multistep": times `gamma` at each of `milestones` (in steps).
        warmup_steps: length of the warm-up, in steps.
        warmup_start: factor at step 0 if there is a warm-up.
    """
    if schedule not in ("cosine", "multistep"):
        raise ValueError(f"schedule must be 'cosine' or 'multistep', got {schedule!r}")

    def plain(at: int) -> float:
        return cosine(at, total_steps) if schedule == "cosine" else multistep(at, milestones, gamma)

    if step >= warmup_steps:
        return plain(step)
    return warmup_start + (plain(warmup_steps) - warmup_start) * step / warmup_steps
