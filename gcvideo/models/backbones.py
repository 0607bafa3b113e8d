"""3D ResNets assembled from pytorchvideo's builders: slow-only, I3D and C2D are rows of one table.

Sources: "SlowFast Networks" (arXiv:1812.03982) for slow-only, "Non-local Neural Networks" (arXiv:1711.07971) for C2D
and inflated I3D in the variant of PySlowFast and pytorchvideo (`I3D_8x8_R50`, `C2D_8x8_R50`). Module and parameter
names are those of pytorchvideo's hub models, so their checkpoints load.

Difference: the head pools adaptively, so any number of frames and any image size works. pytorchvideo's hub models
pool by a fixed 8x7x7 window; both give the same logits at 8x224x224. Larger images: see `gcvideo.models.head`.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import nn

from gcvideo.blocks.layers import FAST, add_to_branch
from gcvideo.models.basic import BasicBlock, create_basic_block
from gcvideo.models.parts import (
    BottleneckBlock,
    Net,
    ResBlock,
    create_bottleneck_block,
    create_res_basic_head,
    create_res_basic_stem,
    create_res_stage,
)


class TemporalKernels(NamedTuple):
    """How a network treats time.

    Args:
        stem: temporal kernel size of the first convolution.
        stages: temporal kernel sizes of conv_a in res2..res5; each tuple is repeated over the blocks of its stage.
        pool: whether a max-pool after res2 halves time.
    """

    stem: int
    stages: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    pool: bool


# `_TEMPORAL_KERNEL_BASIS` and `_POOL1` of PySlowFast.
TEMPORAL_KERNELS: dict[str, TemporalKernels] = {
    "slowonly": TemporalKernels(stem=1, stages=((1,), (1,), (3,), (3,)), pool=False),
    "i3d": TemporalKernels(stem=5, stages=((3,), (3, 1), (3, 1), (1, 3)), pool=True),
    "c2d": TemporalKernels(stem=1, stages=((1,), (1,), (1,), (1,)), pool=True),
    "c2d_nopool": TemporalKernels(stem=1, stages=((1,), (1,), (1,), (1,)), pool=False),
}


def resnet3d(
    temporal: str,
    depths: Sequence[int],
    num_classes: int,
    dropout: float = 0.5,
    width: int = 64,
    stem_kernel: int = 7,
    stem_stride: int = 2,
    stem_pool: bool = True,
    stem_temporal_stride: int = 1,
    spatial_kernels: Sequence[int] = (3, 3, 3, 3),
    spatial_strides: Sequence[int] = (1, 2, 2, 2),
    zero_init_final_norm: bool = True,
    basic: bool = False,
) -> Net:
    """ResNet: [B, 3, T, H, W] -> logits [B, num_classes].

    Args:
        temporal: row of `TEMPORAL_KERNELS`.
        depths: number of residual blocks in res2..res5; with three numbers the network ends after res4.
        dropout: probability before the classifier.
        width: channels of the stem; res2..res5 return 4, 8, 16, 32 times as many; `basic`, 1, 2, 4, 8 times.
        stem_kernel, stem_stride, stem_pool: spatial size and stride of the first convolution, and whether a 3x3
            max-pool of stride 2 follows.
        stem_temporal_stride: in time, of the first convolution and again of its max-pool.
        spatial_kernels, spatial_strides: of the middle convolution in res2..res5; the stride in its first block.
        zero_init_final_norm: start every residual branch at zero (gamma of its last norm), as the published recipes.
        basic: residual blocks of two 3 x 3 convolutions, as in ResNet-18, instead of bottlenecks.
    """
    kernels = TEMPORAL_KERNELS[temporal]
    blocks: list[nn.Module] = [
        create_res_basic_stem(
            in_channels=3,
            out_channels=width,
            conv_kernel_size=(kernels.stem, stem_kernel, stem_kernel),
            conv_stride=(stem_temporal_stride, stem_stride, stem_stride),
            # All kernels are odd, so a padding of half a kernel keeps the size.
            conv_padding=(kernels.stem // 2, stem_kernel // 2, stem_kernel // 2),
            pool=nn.MaxPool3d if stem_pool else None,
            pool_stride=(stem_temporal_stride, 2, 2),
        )
    ]
    channels = width
    for stage, depth in enumerate(depths):
        make = _basic_stage if basic else _stage
        out_channels = width * (1 if basic else 4) * 2**stage  # 256, 512, 1024, 2048 for width 64
        blocks.append(
            make(depth, channels, out_channels, kernels.stages[stage], spatial_kernels[stage], spatial_strides[stage])
        )
        if stage == 0 and kernels.pool:
            blocks.append(nn.MaxPool3d(kernel_size=(2, 1, 1), stride=(2, 1, 1)))
        channels = out_channels
    blocks.append(
        create_res_basic_head(
            in_features=channels, out_features=num_classes, pool=nn.AdaptiveAvgPool3d, dropout_rate=dropout
        )
    )
    net = Net(blocks=nn.ModuleList(blocks))
    for module in net.modules():
        # Here and not by arguments, because the builders take none for the convolution of a shortcut.
        module.__class__ = FAST.get(type(module), type(module))
        if isinstance(module, nn.Conv3d):
            # The builders leave NumPy numbers, which torch.compile (torch 2.11) takes for data.
            module.stride = cast(tuple[int, int, int], tuple(int(stride) for stride in module.stride))
        elif isinstance(module, ResBlock):
            module.branch_fusion = add_to_branch
        elif isinstance(module, BottleneckBlock) and not zero_init_final_norm:
            nn.init.ones_(module.norm_c.weight)  # pytorchvideo's Net has just set these gammas to 0
        elif isinstance(module, BasicBlock) and zero_init_final_norm:
            nn.init.zeros_(module.norm_b.weight)
    return net


def _stage(
    depth: int, in_channels: int, out_channels: int, temporal: Sequence[int], kernel: int, stride: int
) -> nn.Module:
    """Residual blocks of one stage: conv_a [t, 1, 1], conv_b [1, kernel, kernel], conv_c [1, 1, 1].

    The shortcut and conv_b of the first block have the stride. pytorchvideo repeats the list of temporal kernels over
    the blocks: (3, 1) becomes 3, 1, 3, 1, ...
    """
    return create_res_stage(
        depth=depth,
        dim_in=in_channels,
        dim_inner=out_channels // 4,  # a bottleneck expands by 4
        dim_out=out_channels,
        bottleneck=create_bottleneck_block,
        conv_a_kernel_size=[(t, 1, 1) for t in temporal],
        conv_a_stride=(1, 1, 1),
        conv_a_padding=[(t // 2, 0, 0) for t in temporal],
        conv_b_kernel_size=(1, kernel, kernel),
        conv_b_stride=(1, stride, stride),
        conv_b_padding=(0, kernel // 2, kernel // 2),
    )


def _basic_stage(
    depth: int, in_channels: int, out_channels: int, temporal: Sequence[int], kernel: int, stride: int
) -> nn.Module:
    """Residual blocks of one stage: conv_a [t, kernel, kernel], which has the stride, conv_b [1, 3, 3]."""
    return create_res_stage(
        depth=depth,
        dim_in=in_channels,
        dim_inner=out_channels,
        dim_out=out_channels,
        bottleneck=create_basic_block,
        conv_a_kernel_size=[(t, kernel, kernel) for t in temporal],
        conv_a_stride=(1, stride, stride),
        conv_a_padding=[(t // 2, kernel // 2, kernel // 2) for t in temporal],
        # The shortcut has the product of both strides.
        conv_b_stride=(1, 1, 1),
    )
