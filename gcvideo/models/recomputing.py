"""Residual blocks that keep only their input for the backward pass ("Training Deep Nets with Sublinear Memory Cost",
Chen et al., arXiv:1604.06174).

Reference implementation: `torch.utils.checkpoint`, which runs each block a second time during the backward pass.
Difference: it would also update the running statistics of batch norms a second time; here they are updated once.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import Bottleneck

from gcvideo.errors import UsageError
from gcvideo.models.parts import ResBlock


def recompute(model: nn.Module) -> None:
    """Make the residual blocks of `model` compute their features again in the backward pass, in place.

    Parameters, their names, gradients and running statistics stay what they were.

    Raises:
        UsageError: the model has no residual blocks of `create_model`.
    """
    blocks = [module for module in model.modules() if isinstance(module, ResBlock | Bottleneck)]
    if not blocks:
        raise UsageError(f"recompute needs a network with residual blocks of create_model, got {type(model).__name__}")
    for block in blocks:
        block.forward = partial(_recomputed, block)


def _recomputed(block: nn.Module, x: Tensor) -> Any:
    forward: Callable[[Tensor], Any] = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(x)
    return checkpoint(forward, x, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the forward pass and of its repetition."""
    return nullcontext(), _without_statistics(block)


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """The norms normalise by the batch, as in training, but leave their running averages alone."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        count = norm.num_batches_tracked
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
