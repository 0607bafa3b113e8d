"""torch's layers with the same parameters and results, where torch takes a slow way with videos (docs/results.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that takes oneDNN's convolutions on one CPU thread, too.

    For kernels whose extent in H and W is 1, torch (2.11 to 2.15) takes other ones then, which are half as fast, and
    slower still in channels-last memory. It does not if there is a dilation. Between the values of a kernel of size 1
    there is nothing to dilate, so one in W changes no result.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_plain = self.kernel_size[2] > 1 or self.padding_mode != "zeros"
        if is_plain or x.device.type != "cpu" or torch.compiler.is_exporting():  # an exported graph may run elsewhere
            return super()._conv_forward(x, weight, bias)
        return F.conv3d(x, weight, bias, self.stride, self.padding, (*self.dilation[:2], 2), self.groups)


class BatchNorm3d(nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` that is fast in channels-last memory on CUDA, too.

    torch (2.11 to 2.15) has kernels there for channels-last memory of 4 axes only, and takes a general one for 5 axes,
    which is three times slower: 30 % of a training step of a slow-only ResNet-50. H and W are therefore passed as one
    axis.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        super()._check_input_dim(x)
        if x.is_cuda and x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x.flatten(3)).unflatten(3, x.shape[3:])  # [B, C, T, H*W], and back
        return super().forward(x)

    def _check_input_dim(self, x: Tensor) -> None:
        """Nothing more: `forward` has checked x before it joined two axes."""


class ReLU(nn.ReLU):
    """`torch.nn.ReLU`, in place on a CPU.

    There a new array costs a tenth of a training step. On CUDA it costs nothing, and what `BatchNorm3d` returns is a
    view, whose change in place autograd follows by copies.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x, inplace=not x.is_cuda)


FAST: dict[type[nn.Module], type[nn.Module]] = {nn.Conv3d: Conv3d, nn.BatchNorm3d: BatchNorm3d, nn.ReLU: ReLU}
"""torch's layer -> ours."""


def add_to_branch(shortcut: Tensor, branch: Tensor) -> Tensor:
    """Sum of a residual block, in place as in `ReLU`.

    The branch ends in a norm or in an inserted block, and neither needs its own output in the backward pass.
    """
    return branch + shortcut if branch.is_cuda else branch.add_(shortcut)
