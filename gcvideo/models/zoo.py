"""Named models: a backbone, and the blocks in it."""

import functools
from collections.abc import Sequence
from typing import Literal

from pytorchvideo.models.resnet import ResStage
from torch import nn

from gcvideo.blocks import ContextBlock3d
from gcvideo.insertion import Position, insert
from gcvideo.models.backbones import resnet3d

ModelName = Literal["slowonly_r50", "slowonly_r101", "i3d_r50", "i3d_r101", "c2d_r50", "slowonly_tiny"]
ContextName = Literal["none", "gc5", "gc_all"]

STAGES = ("res2", "res3", "res4", "res5")

# Which residual blocks of which stage refine their output; None stands for all of them. "gc5" is every other block of
# res3 and res4, counted from 0 as in the code of the Non-local paper (1,3 and 1,3,5). The index is not published.
CONTEXTS: dict[str, dict[str, tuple[int, ...] | None]] = {
    "none": {},
    "gc5": {"res3": (1, 3), "res4": (1, 3, 5)},
    "gc_all": {"res3": None, "res4": None, "res5": None},
}


def slowonly_r50(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-50: the baseline of GCNet's Kinetics table."""
    return resnet3d("slowonly", (3, 4, 6, 3), num_classes, dropout)


def slowonly_r101(num_classes: int, dropout: float) -> nn.Module:
    """Slow pathway of SlowFast, ResNet-101."""
    return resnet3d("slowonly", (3, 4, 23, 3), num_classes, dropout)


def i3d_r50(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-50."""
    return resnet3d("i3d", (3, 4, 6, 3), num_classes, dropout)


def i3d_r101(num_classes: int, dropout: float) -> nn.Module:
    """Inflated 3D ResNet-101."""
    return resnet3d("i3d", (3, 4, 23, 3), num_classes, dropout)


def c2d_r50(num_classes: int, dropout: float) -> nn.Module:
    """ResNet-50 on frames; time is only pooled."""
    return resnet3d("c2d", (3, 4, 6, 3), num_classes, dropout)


def slowonly_tiny(num_classes: int, dropout: float) -> nn.Module:
    """Small net for the demo and for tests; a unit of its last layer sees 21 x 21 pixels.

    Its residual branches do not start at zero: zero-initialised norms *and* a zero-initialised block behind them make
    a saddle of high order, which costs more epochs than the demo has (docs/results.md).
    """
    return resnet3d(
        "slowonly",
        (1, 1, 1, 1),
        num_classes,
        dropout,
        width=8,
        stem_kernel=5,
        stem_stride=4,
        stem_pool=False,
        spatial_kernels=(3, 3, 1, 1),
        spatial_strides=(1, 2, 1, 1),
        zero_init_final_norm=False,
    )


MODELS = {
    "slowonly_r50": slowonly_r50,
    "slowonly_r101": slowonly_r101,
    "i3d_r50": i3d_r50,
    "i3d_r101": i3d_r101,
    "c2d_r50": c2d_r50,
    "slowonly_tiny": slowonly_tiny,
}


def create_model(
    name: ModelName,
    context: ContextName = "none",
    num_classes: int = 400,
    dropout: float = 0.5,
    ratio: float = 1 / 4,
    position: Position = "after_1x1",
    pooling_type: str = "att",
    fusion_types: Sequence[str] = ("channel_add",),
) -> nn.Module:
    """Build a video classifier with random weights: [B, 3, T, H, W] -> logits [B, num_classes].

    Any T, H and W that survive the strides work; the published models take 8 frames of 224 x 224 or 256 x 256.

    Args:
        name: key of `MODELS`.
        context: key of `CONTEXTS`: "none", "gc5" (2 blocks in res3, 3 in res4) or "gc_all" (every block of res3-res5).
        num_classes: K, at least 1.
        dropout: probability before the classifier, in [0, 1).
        ratio, pooling_type, fusion_types: see `ContextBlock3d`.
        position: see `insert`.

    Raises:
        ValueError: unknown name or context, a context that the model is too short for, or a bad block argument.
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {tuple(MODELS)}, got {name!r}")
    if context not in CONTEXTS:
        raise ValueError(f"context must be one of {tuple(CONTEXTS)}, got {context!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    model = MODELS[name](num_classes, dropout)
    block = functools.partial(ContextBlock3d, ratio=ratio, pooling_type=pooling_type, fusion_types=fusion_types)
    names = _residual_blocks(model, CONTEXTS[context], f"context {context!r} in {name!r}")
    insert(model, dict.fromkeys(names, block), position=position)
    return model


def _residual_blocks(model: nn.Module, chosen: dict[str, tuple[int, ...] | None], what: str) -> list[str]:
    """Module names of the chosen residual blocks."""
    stages = [(name, m) for name, m in model.named_modules() if isinstance(m, ResStage)]
    names = []
    for (prefix, stage), stage_name in zip(stages, STAGES, strict=True):
        depth = len(stage.res_blocks)
        indices = chosen.get(stage_name, ())
        for index in range(depth) if indices is None else indices:
            if index >= depth:
                raise ValueError(f"{what} needs block {index} of {stage_name}, which has only {depth}")
            names.append(f"{prefix}.res_blocks.{index}")
    return names
