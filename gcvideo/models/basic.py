"""The residual branch of ResNet-18 and ResNet-34 in 3D: two convolutions, where the deeper networks have three.

"Deep Residual Learning" (arXiv:1512.03385), section 4.1. Time is in the first convolution, as in the bottlenecks of
`backbones`. The children are named as those of pytorchvideo's `BottleneckBlock`.
"""

from typing import Any

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """[B, dim_in, T, H, W] -> [B, dim_out, T, H', W'], before the addition of the shortcut.

    Args:
        dim_in, dim_out: channels.
        kernel, stride, padding: of the first convolution, (T, H, W); the second is 1 x 3 x 3.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int],
        padding: tuple[int, int, int],
    ):
        super().__init__()
        self.conv_a = nn.Conv3d(dim_in, dim_out, kernel, stride, padding, bias=False)
        self.norm_a = nn.BatchNorm3d(dim_out)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(dim_out, dim_out, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.act_a(self.norm_a(self.conv_a(x)))
        return self.norm_b(self.conv_b(x))


def create_basic_block(
    *,
    dim_in: int,
    dim_out: int,
    conv_a_kernel_size: tuple[int, int, int],
    conv_a_stride: tuple[int, int, int],
    conv_a_padding: tuple[int, int, int],
    **of_bottlenecks: Any,
) -> BasicBlock:
    """A `BasicBlock` for pytorchvideo's `create_res_stage`, which passes arguments of bottlenecks as well."""
    return BasicBlock(dim_in, dim_out, conv_a_kernel_size, conv_a_stride, conv_a_padding)
