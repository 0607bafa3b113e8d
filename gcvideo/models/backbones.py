"""3D ResNets assembled from pytorchvideo's builders: slow-only, I3D and C2D are rows of one table.

Sources: "SlowFast Networks" (arXiv:1812.03982) for slow-only, "Non-local Neural Networks" (arXiv:1711.07971) for C2D
and inflated I3D in the variant of PySlowFast and pytorchvideo (`I3D_8x8_R50`, `C2D_8x8_R50`). Module and parameter
names are those of pytorchvideo's hub models, so their checkpoints load.

Difference: the head pools adaptively, so any number of frames and any image size works. pytorchvideo's hub models
pool by a fixed 8x7x7 window; both give the same logits at 8x224x224.
"""

from collections.abc import Sequence

from torch import nn

from gcvideo.models.parts import (
    BottleneckBlock,
    Net,
    create_bottleneck_block,
    create_res_basic_head,
    create_res_basic_stem,
    create_res_stage,
)

# Temporal kernel sizes: stem, then conv_a of the blocks of res2..res5 (repeated over the stage), and whether time is
# halved by a max-pool behind res2 (`_TEMPORAL_KERNEL_BASIS` and `_POOL1` of PySlowFast).
TEMPORAL_KERNELS: dict[str, tuple[int, tuple[tuple[int, ...], ...], bool]] = {
    "slowonly": (1, ((1,), (1,), (3,), (3,)), False),
    "i3d": (5, ((3,), (3, 1), (3, 1), (1, 3)), True),
    "c2d": (1, ((1,), (1,), (1,), (1,)), True),
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
) -> Net:
    """Bottleneck ResNet: [B, 3, T, H, W] -> logits [B, num_classes].

    Args:
        temporal: row of `TEMPORAL_KERNELS`.
        depths: number of bottlenecks in res2..res5.
        dropout: probability before the classifier.
        width: channels of the stem; res2..res5 put out 4, 8, 16, 32 times as many.
        stem_kernel, stem_stride, stem_pool: spatial size and stride of the first convolution, and whether a 3x3
            max-pool of stride 2 follows.
        stem_temporal_stride: in time, of the first convolution and again of its max-pool.
        spatial_kernels, spatial_strides: of the middle convolution in res2..res5; the stride in its first block.
        zero_init_final_norm: start every residual branch at zero (gamma of its last norm), as the published recipes.
    """
    stem_temporal, stage_temporal, pool_time = TEMPORAL_KERNELS[temporal]
    blocks: list[nn.Module] = [
        create_res_basic_stem(
            in_channels=3,
            out_channels=width,
            conv_kernel_size=(stem_temporal, stem_kernel, stem_kernel),
            conv_stride=(stem_temporal_stride, stem_stride, stem_stride),
            conv_padding=(stem_temporal // 2, stem_kernel // 2, stem_kernel // 2),
            pool=nn.MaxPool3d if stem_pool else None,
            pool_stride=(stem_temporal_stride, 2, 2),
        )
    ]
    dim_in = width
    for stage, depth in enumerate(depths):
        dim_out = width * 4 * 2**stage
        kernel, stride = spatial_kernels[stage], spatial_strides[stage]
        blocks.append(
            create_res_stage(
                depth=depth,
                dim_in=dim_in,
                dim_inner=dim_out // 4,
                dim_out=dim_out,
                bottleneck=create_bottleneck_block,
                conv_a_kernel_size=[(t, 1, 1) for t in stage_temporal[stage]],
                conv_a_stride=(1, 1, 1),
                conv_a_padding=[(t // 2, 0, 0) for t in stage_temporal[stage]],
                conv_b_kernel_size=(1, kernel, kernel),
                conv_b_stride=(1, stride, stride),
                conv_b_padding=(0, kernel // 2, kernel // 2),
            )
        )
        if stage == 0 and pool_time:
            blocks.append(nn.MaxPool3d(kernel_size=(2, 1, 1), stride=(2, 1, 1)))
        dim_in = dim_out
    blocks.append(
        create_res_basic_head(
            in_features=dim_in, out_features=num_classes, pool=nn.AdaptiveAvgPool3d, dropout_rate=dropout
        )
    )
    net = Net(blocks=nn.ModuleList(blocks))
    if not zero_init_final_norm:
        for module in net.modules():
            if isinstance(module, BottleneckBlock):
                nn.init.ones_(module.norm_c.weight)
    return net
