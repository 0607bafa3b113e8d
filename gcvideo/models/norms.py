"""Group norms instead of batch norms ("Group Normalization", arXiv:1803.08494): for batches of a few clips.

They have no running statistics: training and evaluation compute the same function. Published weights need batch norms.
"""

from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcvideo.errors import UsageError

Norms = Literal["batch", "group"]

CHANNELS_OF_GROUP = 16
"""As in the second half of the paper's table 3. A layer with fewer channels, or another number, is one group."""


def set_norms(model: nn.Module, norms: Norms) -> None:
    """Replace the batch norms of a network without blocks, in place. Names and initial values stay.

    Raises:
        UsageError: no such kind of norms.
    """
    if norms not in get_args(Norms):
        raise UsageError(f"norms must be one of {get_args(Norms)}, got {norms!r}")
    if norms == "batch":
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _group_norm(child))


def _group_norm(batch_norm: _BatchNorm) -> nn.GroupNorm:
    channels = batch_norm.num_features
    groups = channels // CHANNELS_OF_GROUP if channels % CHANNELS_OF_GROUP == 0 else 1
    group_norm = nn.GroupNorm(groups, channels, batch_norm.eps)
    group_norm.load_state_dict({"weight": batch_norm.weight.data, "bias": batch_norm.bias.data})
    return group_norm
