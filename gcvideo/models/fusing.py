"""Batch norms folded into the convolutions before them, for inference.

In evaluation a batch norm multiplies and shifts each channel by constants, which the convolution can do:

    gamma (W x - mean) / sqrt(var + eps) + beta  =  (s W) x + (beta - s mean),    s = gamma / sqrt(var + eps)

Reference implementation: `torch.nn.utils.fusion`, which computes one pair.
"""

import copy
from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck

from gcvideo.blocks.family import CONVS
from gcvideo.blocks.non_local import NonLocalBlock1d, NonLocalBlock2d, NonLocalBlock3d
from gcvideo.insertion import has_other_hooks
from gcvideo.models.basic import BasicBlock
from gcvideo.models.image import ImageResNet
from gcvideo.models.parts import BottleneckBlock, ResBlock, ResNetBasicStem

_NON_LOCAL = (("conv_out", "norm"),)

# Type of a module -> (convolution, norm right after it), by the names of its descendants. By type and not by name:
# where one comes before the other in names alone, as in a pre-activation ResNet, folding would be silently wrong.
PAIRS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    ResNetBasicStem: (("conv", "norm"),),
    ResBlock: (("branch1_conv", "branch1_norm"),),
    BottleneckBlock: (("conv_a", "norm_a"), ("conv_b", "norm_b"), ("conv_c", "norm_c")),
    BasicBlock: (("conv_a", "norm_a"), ("conv_b", "norm_b")),
    ImageResNet: (("conv1", "bn1"),),
    Bottleneck: (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("downsample.0", "downsample.1")),
    NonLocalBlock1d: _NON_LOCAL,
    NonLocalBlock2d: _NON_LOCAL,
    NonLocalBlock3d: _NON_LOCAL,
}


def fuse(model: nn.Module) -> nn.Module:
    """A copy of `model` for inference, with the batch norms of its residual and NL blocks folded away.

    It computes what `model` computes in evaluation mode, up to rounding, in less time. Inserted blocks stay, and so
    does what `PAIRS` does not know. The copy is in evaluation mode, its state-dict keys differ, and hooks that you
    register on the model afterwards are not called in it.

    Example:
        >>> from gcvideo import create_model, fuse
        >>> fast = fuse(create_model("slowonly_tiny", "gc_all"))
        >>> [name for name in fast.state_dict() if "norm_a" in name]
        []
    """
    fused = copy.deepcopy(model).eval()
    for module in list(fused.modules()):
        for conv_name, norm_name in PAIRS.get(type(module), ()):
            conv, norm = _descendant(module, conv_name), _descendant(module, norm_name)
            if _can_fold(conv, norm):
                parent, _, child = conv_name.rpartition(".")
                folded = fuse_conv_bn_eval(cast(nn.Conv3d, conv), cast(nn.BatchNorm3d, norm))
                setattr(module.get_submodule(parent), child, folded)
                _make_identity(cast(nn.Module, norm))
    return fused


def is_fusible(model: nn.Module) -> bool:
    """Whether `fuse` may fold a batch norm of it, and no hook of the user would be called in the copy instead."""
    return any(type(module) in PAIRS for module in model.modules()) and not has_other_hooks(model)


def _descendant(module: nn.Module, name: str) -> nn.Module | None:
    """None where the module has none: a shortcut without a convolution, an NL block without a norm."""
    for part in name.split("."):
        module = getattr(module, part, None)  # type: ignore[assignment]
    return module


def _can_fold(conv: nn.Module | None, norm: nn.Module | None) -> bool:
    if not isinstance(conv, CONVS) or not isinstance(norm, _BatchNorm):
        return False
    if "weight" not in conv._parameters:  # computed from others: a parametrization, pruning
        return False
    # What is between the two, or between the norm and its input, is not linear. A hook after the norm does not matter.
    between = {**conv._forward_hooks, **norm._forward_pre_hooks}
    return norm.running_var is not None and not between


def _make_identity(norm: nn.Module) -> None:
    """Turn a norm into an identity, in place: it keeps its hooks and its child, an inserted block."""
    norm._parameters.clear()
    norm._buffers.clear()
    norm.__class__ = nn.Identity
