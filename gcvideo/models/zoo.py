"""Named networks without blocks. Adding one is adding a function here; tables, choices and messages follow."""

import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import nn

from gcvideo.models.backbones import resnet3d
from gcvideo.models.image import ImageResNet

NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {}
"""Name -> function of (num_classes, dropout) that builds the network."""


def network(build: Callable[[int, float], nn.Module]) -> Callable[[int, float], nn.Module]:
    """Add a function to `NETWORKS` under its own name."""
    NETWORKS[build.__name__] = build
    return build


def list_models(pattern: str = "*") -> list[str]:
    """Names of networks for `create_model` that match a glob such as "slow*", in the order of the table."""
    return [name for name in NETWORKS if fnmatch.fnmatchcase(name, pattern)]


@network
def slowonly_r50(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-50: the baseline of GCNet's Kinetics table."""
    return resnet3d("slowonly", (3, 4, 6, 3), num_classes, dropout)


@network
def slowonly_r101(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-101."""
    return resnet3d("slowonly", (3, 4, 23, 3), num_classes, dropout)


@network
def slowonly_r18(num_classes: int, dropout: float) -> nn.Module:
    """Slow-only ResNet-18, for small data sets and machines; starts from torchvision's ResNet-18."""
    return resnet3d("slowonly", (2, 2, 2, 2), num_classes, dropout, basic=True)


@network
def slowonly_r18_res4(num_classes: int, dropout: float) -> nn.Module:
    """`slowonly_r18` without its last stage: a fifth of the parameters, and all of ImageNet's that small sets use."""
    return resnet3d("slowonly", (2, 2, 2), num_classes, dropout, basic=True)


@network
def i3d_r50(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-50."""
    return resnet3d("i3d", (3, 4, 6, 3), num_classes, dropout)


@network
def i3d_32x2_r50(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-50 for 32 frames: stem and max-pool halve time, as in mmaction2 and the Non-local paper.

    Its tensors are those of `i3d_r50`, its function is not: a checkpoint of one loads into the other without an error.
    """
    return resnet3d("i3d", (3, 4, 6, 3), num_classes, dropout, stem_temporal_stride=2)


@network
def i3d_r101(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-101."""
    return resnet3d("i3d", (3, 4, 23, 3), num_classes, dropout)


@network
def c2d_r50(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-50 on frames; time is only pooled."""
    return resnet3d("c2d", (3, 4, 6, 3), num_classes, dropout)


@network
def c2d_nopool_r50(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-50 on frames, whose scores are averaged: the C2D that PySlowFast publishes.

    Its tensors are those of `c2d_r50`, its function is not.
    """
    return resnet3d("c2d_nopool", (3, 4, 6, 3), num_classes, dropout)


@network
def c2d_r101(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-101 on frames; time is only pooled."""
    return resnet3d("c2d", (3, 4, 23, 3), num_classes, dropout)


@network
def resnet50(num_classes: int, dropout: float) -> nn.Module:
    """2D ResNet-50 for images, [B, 3, 1, S, S]."""
    return ImageResNet((3, 4, 6, 3), num_classes, dropout)


@network
def resnet101(num_classes: int, dropout: float) -> nn.Module:
    """2D ResNet-101 for images, [B, 3, 1, S, S]."""
    return ImageResNet((3, 4, 23, 3), num_classes, dropout)


@network
def slowonly_thin(num_classes: int, dropout: float) -> nn.Module:
    """`slowonly_tiny` with as many blocks in res3 and res4 as a ResNet-50, so that every preset fits."""
    return _small(num_classes, dropout, (2, 4, 6, 1), (3, 1, 1, 1))


@network
def slowonly_tiny(num_classes: int, dropout: float) -> nn.Module:
    """Small net for the demo and for tests; a unit of its last layer sees 21 x 21 pixels."""
    # The 5 x 5 stem strides by 4, so each of the two 3 x 3 kernels adds 2 * 4 pixels: 5 + 8 + 8 = 21. In validation and
    # test, the objects of the demo are at least 22.2 pixels apart: only a block relates them (docs/results.md).
    return _small(num_classes, dropout, (1, 1, 1, 1), (3, 3, 1, 1))


def _small(
    num_classes: int, dropout: float, depths: tuple[int, int, int, int], spatial_kernels: tuple[int, int, int, int]
) -> nn.Module:
    """Slow-only net of width 8 and a small receptive field.

    Its residual branches do not start at zero: zero-initialised norms *and* a zero-initialised block after them make
    a saddle of high order, which costs more epochs than the demo has (docs/results.md).
    """
    return resnet3d(
        "slowonly",
        depths,
        num_classes,
        dropout,
        width=8,
        stem_kernel=5,
        stem_stride=4,
        stem_pool=False,
        spatial_kernels=spatial_kernels,
        spatial_strides=(1, 2, 1, 1),
        zero_init_final_norm=False,
    )


if TYPE_CHECKING:
    NetworkName = str
else:  # a Literal made from the table, so that the command line lists and checks the names
    NetworkName = Literal[tuple(NETWORKS)]
