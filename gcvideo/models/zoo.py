"""Named models: a backbone, and the blocks in it."""

from typing import Any, Literal

from torch import nn

from gcvideo.insertion import Site
from gcvideo.models.backbones import resnet3d
from gcvideo.models.image import ImageResNet
from gcvideo.models.placement import BlocksName, Indices, insert_blocks

NetworkName = Literal[
    "slowonly_r50",
    "slowonly_r101",
    "i3d_r50",
    "i3d_32x2_r50",
    "i3d_r101",
    "c2d_r50",
    "c2d_r101",
    "resnet50",
    "resnet101",
    "slowonly_thin",
    "slowonly_tiny",
]


def slowonly_r50(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-50: the baseline of GCNet's Kinetics table."""
    return resnet3d("slowonly", (3, 4, 6, 3), num_classes, dropout)


def slowonly_r101(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-101."""
    return resnet3d("slowonly", (3, 4, 23, 3), num_classes, dropout)


def i3d_r50(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-50."""
    return resnet3d("i3d", (3, 4, 6, 3), num_classes, dropout)


def i3d_32x2_r50(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-50 for 32 frames: stem and max-pool halve time, as in mmaction2 and the Non-local paper.

    Tensors are those of `i3d_r50`, the function is not: a checkpoint of the one loads into the other without a word.
    """
    return resnet3d("i3d", (3, 4, 6, 3), num_classes, dropout, stem_temporal_stride=2)


def i3d_r101(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-101."""
    return resnet3d("i3d", (3, 4, 23, 3), num_classes, dropout)


def c2d_r50(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-50 on frames; time is only pooled."""
    return resnet3d("c2d", (3, 4, 6, 3), num_classes, dropout)


def c2d_r101(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-101 on frames; time is only pooled."""
    return resnet3d("c2d", (3, 4, 23, 3), num_classes, dropout)


def resnet50(num_classes: int, dropout: float) -> nn.Module:
    """2D ResNet-50 for images, [B, 3, 1, S, S]."""
    return ImageResNet((3, 4, 6, 3), num_classes, dropout)


def resnet101(num_classes: int, dropout: float) -> nn.Module:
    """2D ResNet-101 for images, [B, 3, 1, S, S]."""
    return ImageResNet((3, 4, 23, 3), num_classes, dropout)


def slowonly_thin(num_classes: int, dropout: float) -> nn.Module:
    """`slowonly_tiny` with as many blocks in res3 and res4 as a ResNet-50, so that every preset fits."""
    return _small(num_classes, dropout, (2, 4, 6, 1), (3, 1, 1, 1))


def slowonly_tiny(num_classes: int, dropout: float) -> nn.Module:
    """Small net for the demo and for tests; a unit of its last layer sees 21 x 21 pixels."""
    return _small(num_classes, dropout, (1, 1, 1, 1), (3, 3, 1, 1))


def _small(
    num_classes: int, dropout: float, depths: tuple[int, int, int, int], spatial_kernels: tuple[int, int, int, int]
) -> nn.Module:
    """Slow-only net of width 8 and a small receptive field.

    Its residual branches do not start at zero: zero-initialised norms *and* a zero-initialised block behind them make
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


NETWORKS = {
    "slowonly_r50": slowonly_r50,
    "slowonly_r101": slowonly_r101,
    "i3d_r50": i3d_r50,
    "i3d_32x2_r50": i3d_32x2_r50,
    "i3d_r101": i3d_r101,
    "c2d_r50": c2d_r50,
    "c2d_r101": c2d_r101,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "slowonly_thin": slowonly_thin,
    "slowonly_tiny": slowonly_tiny,
}


def create_model(
    name: NetworkName,
    blocks: BlocksName = "none",
    num_classes: int = 400,
    dropout: float = 0.5,
    at: Indices | None = None,
    site: Site | None = None,
    **block_options: Any,
) -> nn.Module:
    """Build a classifier with random weights: [B, 3, T, H, W] -> logits [B, num_classes]; T = 1 for image models.

    Any T, H and W that survive the strides work; the published models take 8 frames of 224 x 224 or 256 x 256.

    Args:
        name: key of `NETWORKS`.
        blocks: key of `PRESETS`. The paper's rows are "none", "nl5", "snl5", "gc5" (2 blocks in res3, 3 in res4) and
            "gc_all" (every block of res3-res5); "se_all" too. "gc5_even" and the like count 0,2 / 0,2,4 where "gc5"
            counts 1,3 / 1,3,5. "gc", "nl", "snl" and "se" stand where `at` says.
        num_classes: K, at least 1.
        dropout: probability before the classifier, in [0, 1).
        at: stage -> indices of its residual blocks, or "all", such as {"res4": "all", "res5": [2]}; instead of
            those of `blocks`.
        site: see `insert`; default the paper's: "after_block" for NL, "after_1x1" for the others.
        **block_options: of the block: see `ContextBlock3d`, `NonLocalBlock3d`, `SqueezeExcitation3d`; for example
            ratio=1/16, pooling_type="avg", fusion_types=("channel_mul",), bottleneck="relu", mode="dot_product".

    Raises:
        ValueError: unknown name, blocks, stage or index, an option that the block does not have, or a bad value.

    Example:
        >>> from gcvideo import create_model, inserted_blocks
        >>> model = create_model("slowonly_r50", "gc", at={"res5": "all"}, ratio=1 / 16)
        >>> len(inserted_blocks(model))
        3
    """
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {tuple(NETWORKS)}, got {name!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    model = NETWORKS[name](num_classes, dropout)
    insert_blocks(model, blocks, at, site, block_options)
    return model
